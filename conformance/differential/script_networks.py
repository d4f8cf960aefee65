"""Networks: what is told of them and of containers on them, whatever their state; and what is refused."""

from typing import Any

from conformance.differential.recorder import IMAGE, PREFIX, Recorder

CREATE = "/networks/create"


def _network(r: Recorder, name: str, prefix: str = "", **fields: Any) -> str:
    """Make a network and keep the answer; its full name."""
    if prefix:
        fields["IPAM"] = {"Config": [{"Subnet": prefix, "Gateway": prefix.replace(".0/24", ".254")}]}
    full = PREFIX + name
    answer = r.ask(f"make {name}", "POST", CREATE, {"Name": full, **fields})
    if answer.status == 201:
        r.names.learn(answer.json()["Id"], f"<{name}>")
    return full


def _on(r: Recorder, name: str, network: str, **settings: Any) -> str:
    """A container on a network. The name of its ID keeps its events out: their order is chance."""
    full = PREFIX + name
    body: dict[str, Any] = {
        "Image": IMAGE,
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"NetworkMode": network},
    }
    if settings:
        body["NetworkingConfig"] = {"EndpointsConfig": {network: settings}}
    answer = r.ask(f"create {name}", "POST", "/containers/create", body, name=full)
    if answer.status == 201:
        r.names.learn(answer.json()["Id"], f"id of {name}")
    return full


def _settings(r: Recorder, label: str, container: str) -> None:
    r.ask(label, "GET", f"/containers/{container}/json", take=_settings_only)


def _settings_only(found: dict[str, Any]) -> dict[str, Any]:
    settings = found["NetworkSettings"]
    if settings["SandboxKey"].endswith("/netns/default"):
        settings["SandboxKey"] = "<default>"
    return {"NetworkSettings": settings}


def _change(r: Recorder, what: str, container: str, network: str, **body: Any) -> None:
    """Connect or disconnect."""
    label = f"{what} {container.removeprefix(PREFIX)} {network.removeprefix(PREFIX)}"
    number = sum(key.startswith(f"{r.part}: {label}") for key in r.steps)
    r.ask(
        f"{label} {number}" if number else label,
        "POST",
        f"/networks/{network}/{what}",
        {"Container": container, **body},
    )


def networks(r: Recorder) -> None:
    plain = _network(r, "plain", "10.191.0.0/24", Labels={"df": "1"})
    full = _network(
        r,
        "full",
        EnableIPv6=True,
        Internal=True,
        Attachable=True,
        Labels={"df": "2", "e": ""},
        Options={"com.docker.network.bridge.name": "df-full0", "com.docker.network.driver.mtu": "1400"},
        IPAM={
            "Driver": "default",
            "Options": {"k": "v"},
            "Config": [
                {
                    "Subnet": "10.192.0.0/16",
                    "IPRange": "10.192.7.0/24",
                    "Gateway": "10.192.7.254",
                    "AuxiliaryAddresses": {"router": "10.192.7.1"},
                },
                {"Subnet": "fd00:192::/64", "Gateway": "fd00:192::9"},
            ],
        },
    )
    for name in (plain, full):
        r.ask(f"inspect {name}", "GET", f"/networks/{name}")
    r.ask("inspect verbose", "GET", f"/networks/{plain}", verbose=True)
    for label, filters in (
        ("all", {}),
        ("label", {"label": ["df"]}),
        ("label and value", {"label": ["df=1"]}),
        ("driver", {"driver": ["bridge"], "label": ["df"]}),
        ("type", {"type": ["custom"], "label": ["df"]}),
        ("scope", {"scope": ["swarm"]}),
    ):
        r.ask(f"list {label}", "GET", "/networks", take=_ours, filters=filters)
    r.ask("list old", "GET", "/networks", version="1.24", take=_ours, filters={"label": ["df"]})
    source = _network(r, "source", ConfigOnly=True, Labels={"a": "b"})
    _network(r, "copy", ConfigFrom={"Network": source})
    r.ask("inspect copy", "GET", f"/networks/{PREFIX}copy", take=lambda n: {**n, "IPAM": None})
    r.ask("remove used source", "DELETE", f"/networks/{source}")
    r.ask("remove copy", "DELETE", f"/networks/{PREFIX}copy")
    r.ask("remove source", "DELETE", f"/networks/{source}")
    r.ask("prune none", "POST", "/networks/prune", filters={"label": ["df=9"]})
    r.ask("prune one", "POST", "/networks/prune", filters={"label": ["df=2"]})
    r.ask("remove", "DELETE", f"/networks/{plain}")
    r.ask("remove again", "DELETE", f"/networks/{plain}")


def _ours(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mine = [n for n in found if n["Name"].startswith(PREFIX)]
    return sorted(mine, key=lambda n: str(n["Name"]))


def endpoints(r: Recorder) -> None:
    one, two = _network(r, "one", "10.193.0.0/24"), _network(r, "two", "10.194.0.0/24")
    asked = {"IPAMConfig": {"IPv4Address": "10.193.0.50"}, "Aliases": ["an-alias"]}
    box = _on(r, "on-one", one, **asked)
    _settings(r, "before", box)
    r.ask("start", "POST", f"/containers/{box}/start")
    _settings(r, "running", box)
    r.ask("network in use", "GET", f"/networks/{one}")
    r.ask("remove in use", "DELETE", f"/networks/{one}")
    second = _on(r, "second", one, **asked)
    r.ask("start second", "POST", f"/containers/{second}/start")
    _settings(r, "second after failure", second)
    _change(r, "connect", box, one)
    _change(r, "connect", box, two, EndpointConfig={"IPAMConfig": {"IPv4Address": "10.194.0.9"}})
    _settings(r, "on two", box)
    r.ask("listed", "GET", "/containers/json", take=_networks, filters={"network": [two]})
    _change(r, "connect", box, "none")
    _change(r, "connect", box, "no-such")
    _change(r, "disconnect", box, "bridge")
    _change(r, "disconnect", box, "no-such")
    _change(r, "disconnect", box, one)
    _settings(r, "off one", box)
    r.ask("kill", "POST", f"/containers/{box}/kill")
    r.ended(box)
    _settings(r, "ended", box)
    _change(r, "connect", box, one, EndpointConfig={"Aliases": ["later"]})
    _settings(r, "connected while ended", box)
    r.ask("start again", "POST", f"/containers/{box}/start")
    _settings(r, "on both", box)
    for name in (box, second):
        r.ask(f"remove {name}", "DELETE", f"/containers/{name}", force=True)
    for name in (one, two):
        r.ask(f"remove network {name}", "DELETE", f"/networks/{name}")


def _networks(found: list[dict[str, Any]]) -> list[Any]:
    return [c["NetworkSettings"] for c in found]


def without_networks(r: Recorder) -> None:
    """Modes host, none and container: what may be connected and what not."""
    name = _network(r, "net", "10.195.0.0/24")
    for mode in ("host", "none"):
        box = _on(r, f"in-{mode}", mode)
        _change(r, "connect", box, name)
        r.ask(f"start {mode}", "POST", f"/containers/{box}/start")
        _settings(r, f"running {mode}", box)
        _change(r, "connect", box, name)
        _change(r, "disconnect", box, name)
    shares = _on(r, "shares", f"container:{PREFIX}in-none")
    r.ask("start shares", "POST", f"/containers/{shares}/start")
    _settings(r, "running shares", shares)
    _change(r, "connect", shares, name)
    _change(r, "disconnect", f"{PREFIX}in-none", "none")
    _settings(r, "without any", f"{PREFIX}in-none")
    for box in (shares, f"{PREFIX}in-none", f"{PREFIX}in-host"):
        r.ask(f"remove {box}", "DELETE", f"/containers/{box}", force=True)
    r.ask("remove net", "DELETE", f"/networks/{name}")


BODIES: dict[str, dict[str, Any]] = {
    "predefined": {"Name": "bridge"},
    "driver": {"Driver": "nope"},
    "second host": {"Driver": "host"},
    "overlay": {"Driver": "overlay"},
    "swarm": {"Scope": "swarm"},
    "ingress": {"Ingress": True},
    "ipam driver": {"IPAM": {"Driver": "nope"}},
    "config from": {"ConfigFrom": {"Network": "nope"}},
    "config only internal": {"ConfigOnly": True, "Internal": True},
    "host bits": {"IPAM": {"Config": [{"Subnet": "10.196.0.1/24"}]}},
    "gateway": {"IPAM": {"Config": [{"Subnet": "10.196.0.0/24", "Gateway": "10.1.0.1"}]}},
    "range": {"IPAM": {"Config": [{"Subnet": "10.196.0.0/24", "IPRange": "10.1.0.0/28"}]}},
    "auxiliary": {"IPAM": {"Config": [{"Subnet": "10.196.0.0/24", "AuxiliaryAddresses": {"a": "10.1.0.1"}}]}},
    "two subnets": {"IPAM": {"Config": [{"Subnet": "10.196.0.0/24"}, {"Subnet": "10.197.0.0/24"}]}},
    "mtu": {"Options": {"com.docker.network.driver.mtu": "x"}},
    "icc": {"Options": {"com.docker.network.bridge.enable_icc": "x"}},
    "macvlan mode": {"Driver": "macvlan", "Options": {"macvlan_mode": "x"}},
    "macvlan parent": {"Driver": "macvlan", "Options": {"parent": "no-such"}},
    "ipvlan mode": {"Driver": "ipvlan", "Options": {"ipvlan_mode": "x"}},
}


def networks_refused(r: Recorder) -> None:
    for label, body in BODIES.items():
        r.ask(label, "POST", CREATE, {"Name": f"{PREFIX}never", **body})
    r.ask("inspect", "GET", "/networks/no-such")
    r.ask("remove", "DELETE", "/networks/no-such")
    r.ask("remove bridge", "DELETE", "/networks/bridge")
    r.ask("connect", "POST", "/networks/bridge/connect", {"Container": "no-such"})
    r.ask("disconnect", "POST", "/networks/bridge/disconnect", {"Container": "no-such"})
    r.ask("disconnect force", "POST", "/networks/bridge/disconnect", {"Container": "no-such", "Force": True})
    r.ask("list", "GET", "/networks", filters={"no-such": ["x"]})
    r.ask("list dangling", "GET", "/networks", filters={"dangling": ["x"]})
    r.ask("prune", "POST", "/networks/prune", filters={"no-such": ["x"]})

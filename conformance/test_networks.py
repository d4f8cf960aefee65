"""Networks themselves: made, listed, inspected, removed, pruned; and what is refused."""

import ipaddress
import json
import re
import time
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.networks import OVERLAP, Made, sleeper


@pytest.mark.operation("NetworkCreate", "NetworkInspect", "NetworkList")
def test_bare_network(engine: Engine, made: Made) -> None:
    """A name is enough: a bridge with a subnet of the pools."""
    name = engine.name("net")
    answer = made.ask(Name=name)
    assert answer.status == 201
    created = answer.json()
    assert sorted(created) == ["Id", "Warning"] and created["Warning"] == ""
    assert re.fullmatch("[0-9a-f]{64}", created["Id"])
    found = made.inspect(name)
    assert found["Id"] == created["Id"] and found["Name"] == name
    assert (found["Driver"], found["Scope"], found["EnableIPv6"]) == ("bridge", "local", False)
    assert found["Internal"] is found["Attachable"] is found["Ingress"] is found["ConfigOnly"] is False
    assert found["ConfigFrom"] == {"Network": ""}
    assert found["Options"] == found["Labels"] == found["Containers"] == {}
    assert (found["IPAM"]["Driver"], found["IPAM"]["Options"]) == ("default", None)
    (pool,) = found["IPAM"]["Config"]
    subnet = ipaddress.IPv4Network(pool["Subnet"])
    assert ipaddress.IPv4Address(pool["Gateway"]) == subnet.network_address + 1
    bridge, _ = engine.bridge()
    assert not subnet.overlaps(bridge)
    (listed,) = engine.wire.get("/networks", filters={"id": [created["Id"]]})
    assert listed["Created"] == found["Created"] and "T" in found["Created"]


@pytest.mark.operation("NetworkCreate", "NetworkInspect")
def test_every_field(engine: Engine, made: Made) -> None:
    bridge = "cf" + engine.run_id[:6] + "x"
    options = {"com.docker.network.bridge.name": bridge, "com.docker.network.driver.mtu": "1400"}
    config = [
        {
            "Subnet": "10.141.0.0/16",
            "IPRange": "10.141.5.0/24",
            "Gateway": "10.141.5.254",
            "AuxiliaryAddresses": {"router": "10.141.5.1", "other": "10.141.9.9"},
        },
        {"Subnet": "fd00:141::/64", "Gateway": "fd00:141::9"},
    ]
    name = made.create(
        Driver="bridge",
        CheckDuplicate=True,
        Scope="local",
        Attachable=True,
        Internal=True,
        EnableIPv6=True,
        Labels={"a": "1", "b": ""},
        Options=options,
        IPAM={"Driver": "default", "Options": {"k": "v"}, "Config": config},
    )
    found = made.inspect(name)
    assert found["Attachable"] is found["Internal"] is found["EnableIPv6"] is True
    assert found["Labels"] == {"a": "1", "b": ""}
    assert found["Options"] == options
    assert found["IPAM"] == {"Driver": "default", "Options": {"k": "v"}, "Config": config}
    box = sleeper(engine, name)
    mine = engine.inspect(box)["NetworkSettings"]["Networks"][name]
    assert mine["IPAddress"] == "10.141.5.0"  # the range begins there; 5.1 is somebody else's
    second = sleeper(engine, name)
    assert engine.inspect(second)["NetworkSettings"]["Networks"][name]["IPAddress"] == "10.141.5.2"
    assert "mtu 1400" in engine.exec(box, "ip", "link", "show", "eth0").out


@pytest.mark.operation("NetworkCreate", "NetworkDelete", "NetworkInspect")
def test_configuration_networks(engine: Engine, made: Made) -> None:
    options = {"com.docker.network.driver.mtu": "1300"}
    ipam = {"Config": [{"Subnet": "10.145.0.0/24"}]}
    source = made.create(ConfigOnly=True, Labels={"a": "b"}, Options=options, IPAM=ipam)
    found = made.inspect(source)
    assert (found["ConfigOnly"], found["Driver"], found["Scope"]) == (True, "null", "local")
    name = made.create(ConfigFrom={"Network": source})
    found = made.inspect(name)
    assert (found["ConfigFrom"], found["Driver"]) == ({"Network": source}, "bridge")
    assert (found["Labels"], found["Options"]) == ({"a": "b"}, options)
    assert found["IPAM"]["Config"][0]["Subnet"] == "10.145.0.0/24"
    answer = made.ask(ConfigFrom={"Network": source}, Options={"x": "y"})
    assert (answer.status, answer.message) == (
        403,
        "network driver options are not supported if the network depends on a configuration network",
    )
    assert made.ask(ConfigFrom={"Network": source}, Labels={"x": "y"}).status == 403
    answer = engine.wire.request("DELETE", f"/networks/{source}")
    assert (answer.status, answer.message) == (
        403,
        f'error while removing network: configuration network "{source}" is in use',
    )
    for which in (name, source):
        assert engine.wire.request("DELETE", f"/networks/{which}").status == 204


@pytest.mark.operation("NetworkDelete")
def test_removing(engine: Engine, made: Made) -> None:
    name = made.create()
    id = made.inspect(name)["Id"]
    box = sleeper(engine, name, engine.name("on"))
    answer = engine.wire.request("DELETE", f"/networks/{name}")
    assert answer.status == 403
    assert re.match(
        rf"error while removing network: network {name} (id {id} )?has active endpoints", answer.message
    )
    if engine.at_least("1.52"):
        endpoint = engine.inspect(box)["NetworkSettings"]["Networks"][name]["EndpointID"][:12]
        shown = engine.inspect(box)["Name"][1:]
        assert answer.message.endswith(f'has active endpoints (name:"{shown}" id:"{endpoint}")')
    engine.wire.post(f"/containers/{box}/kill", status=204)
    engine.wait(box)
    assert engine.wire.request("DELETE", f"/networks/{id[:12]}").status == 204  # a stopped one is not on it
    answer = engine.wire.request("DELETE", f"/networks/{name}")
    assert (answer.status, answer.message) == (404, f"network {name} not found")
    answer = engine.wire.request("DELETE", "/networks/none")
    assert (answer.status, answer.message) == (403, "none is a pre-defined network and cannot be removed")


@pytest.mark.operation("NetworkInspect")
def test_inspecting_by_any_reference(engine: Engine, made: Made) -> None:
    name = made.create()
    id = made.inspect(name)["Id"]
    assert made.inspect(id)["Name"] == made.inspect(id[:9])["Name"] == name
    assert made.inspect(name, verbose=True)["Id"] == made.inspect(name, scope="local")["Id"] == id
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"scope": "swarm"}, 404, f"network {name} not found"),
        (
            {"verbose": "x"},
            400,
            'invalid value for verbose: x: strconv.ParseBool: parsing "x": invalid syntax',
        ),
    )
    for query, status, message in cases:
        answer = engine.wire.request("GET", f"/networks/{name}", **query)
        assert (answer.status, answer.message) == (status, message)


@pytest.mark.operation("NetworkInspect")
@pytest.mark.since("1.52")
def test_status(engine: Engine, made: Made) -> None:
    name = made.subnet("10.146.0.0/24", {"Subnet": "fd00:146::/64"}, EnableIPv6=True)
    sleeper(engine, name)
    assert made.inspect(name)["Status"]["IPAM"]["Subnets"] == {
        "10.146.0.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 252},
        "fd00:146::/64": {"IPsInUse": 3, "DynamicIPsAvailable": 2**64 - 3},
    }
    assert "Status" not in made.inspect(name, version="1.51")


@pytest.mark.operation("NetworkList")
def test_list_filters(engine: Engine, made: Made) -> None:
    one = made.create(Labels={"cf": "1"})
    two = made.create(Labels={"cf": "2"}, Internal=True)
    sleeper(engine, two)

    def listed(**filters: list[str]) -> list[str]:
        found = engine.wire.get("/networks", filters=filters)
        return sorted(n["Name"] for n in found if n["Name"] in (one, two, "bridge", "host", "none"))

    assert listed() == sorted(["bridge", "host", "none", one, two])
    assert listed(label=["cf"]) == sorted([one, two])
    assert listed(label=["cf=1"]) == [one]
    assert listed(name=[one[:-2]]) == [one]
    assert listed(name=[f"^{one}$", two]) == sorted([one, two])
    assert listed(id=[made.inspect(two)["Id"][:10]]) == [two]
    assert listed(driver=["null"]) == ["none"]
    assert listed(driver=["bridge"], type=["custom"]) == sorted([one, two])
    assert listed(type=["builtin"]) == ["bridge", "host", "none"]
    assert listed(scope=["local"], label=["cf"]) == sorted([one, two])
    assert listed(scope=["swarm"]) == []
    if engine.at_least("1.48"):  # before, the list did not look for containers
        assert listed(dangling=["true"], label=["cf"]) == [one]
        assert listed(dangling=["false"], label=["cf"]) == [two]
    for filters in ({"bogus": ["x"]}, {"dangling": ["x"]}):
        assert engine.wire.request("GET", "/networks", filters=filters).status == 400


@pytest.mark.operation("NetworkList")
def test_old_clients_see_containers_in_the_list(engine: Engine, made: Made) -> None:
    name = made.create()
    box = sleeper(engine, name)
    found = {n["Name"]: n for n in engine.wire.get("/networks", version="1.27")}
    assert list(found[name]["Containers"]) == [box] and "Status" not in found[name]
    assert not {n["Name"]: n for n in engine.wire.get("/networks")}[name].get("Containers")


@pytest.mark.operation("NetworkPrune")
def test_prune(engine: Engine, made: Made) -> None:
    unused = made.create(Labels={"cf-prune": "1"})
    kept = made.create(Labels={"cf-prune": "keep"})
    used = made.create(Labels={"cf-prune": "1"})
    box = sleeper(engine, used)

    def prune(**filters: list[str]) -> list[str]:
        answer = engine.wire.post("/networks/prune", status=200, filters=filters)
        return answer.json()["NetworksDeleted"] or []

    assert prune(**{"label": ["cf-prune"], "label!": ["cf-prune=keep"], "until": ["24h"]}) == []
    assert prune(**{"label": ["cf-prune"], "label!": ["cf-prune=keep"]}) == [unused]
    assert prune(label=["cf-prune=1"]) == []
    assert prune(label=["cf-prune=keep"]) == [kept]
    engine.remove(box)
    soon = str(int(time.time()) + 3600)  # a duration would be cut to whole seconds: too early, by chance
    assert prune(label=["cf-prune"], until=[soon]) == [used]
    for filters in ({"name": ["x"]}, {"until": ["soon"]}, {"until": ["1h", "2h"]}):
        answer = engine.wire.request("POST", "/networks/prune", filters=filters)
        assert answer.status == (400 if engine.at_least("1.42") or "name" in filters else 500)


@pytest.mark.operation("NetworkCreate", "NetworkList", "NetworkInspect", "NetworkDelete", "NetworkPrune")
def test_command_line(engine: Engine, made: Made, cli: Cli) -> None:
    name = engine.name("net")
    made.names.append(name)
    id = cli.text("network", "create", "--label", "cf=1", "--subnet", "10.147.0.0/24", "-o", "a=b", name)
    assert re.fullmatch("[0-9a-f]{64}", id)
    assert cli.text("network", "ls", "-q", "--no-trunc", "--filter", f"name={name}") == id
    assert cli.text("network", "ls", "--filter", f"name={name}", "--format", "{{.Driver}}") == "bridge"
    (found,) = json.loads(cli.text("network", "inspect", name))
    assert found["Id"] == id and found["Options"] == {"a": "b"} and found["Labels"] == {"cf": "1"}
    out = cli.text("run", "--rm", "--network", name, "--ip", "10.147.0.77", engine.image, "ip", "-o", "addr")
    assert "inet 10.147.0.77/24" in out
    done = cli("network", "create", "--subnet", "10.147.0.0/24", name + "x", check=False)
    assert done.code == 1 and engine.pick(OVERLAP) in done.err
    assert cli.text("network", "rm", name) == name
    done = cli("network", "rm", name, check=False)
    assert done.code == 1 and re.search(f"network {name} not found|No such network: {name}", done.err)

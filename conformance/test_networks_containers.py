"""Containers that are made on networks: modes, addresses, several at once, what is refused."""

import re
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.networks import (
    Made,
    addresses,
    ask_create,
    create,
    default_routes,
    links,
    on,
    sleeper,
)

START = ("ContainerCreate", "ContainerStart", "ContainerInspect")


@pytest.mark.operation(*START)
def test_network_settings(engine: Engine, made: Made) -> None:
    name = made.subnet("10.151.0.0/24")
    box = sleeper(engine, name)
    settings = engine.inspect(box)["NetworkSettings"]
    assert list(settings["Networks"]) == [name]
    mine = settings["Networks"][name]
    assert mine["NetworkID"] == made.inspect(name)["Id"]
    assert re.fullmatch("[0-9a-f]{64}", mine["EndpointID"])
    assert (mine["IPAddress"], mine["IPPrefixLen"], mine["Gateway"]) == ("10.151.0.2", 24, "10.151.0.1")
    assert mine["GlobalIPv6Address"] == mine["IPv6Gateway"] == "" and mine["GlobalIPv6PrefixLen"] == 0
    assert re.fullmatch("[0-9a-f]{64}", settings["SandboxID"])
    assert settings["SandboxKey"].endswith("/" + settings["SandboxID"][:12])
    if not engine.at_least("1.52"):
        assert settings["IPAddress"] == settings["EndpointID"] == ""  # of the default bridge only
    assert links(engine, box) == ["eth0"]
    assert addresses(engine, box, "eth0") == ["10.151.0.2/24"]
    assert default_routes(engine, box) == [("10.151.0.1", "eth0")]
    assert mine["MacAddress"] in engine.exec(box, "ip", "link", "show", "eth0").out
    found = made.inspect(name)["Containers"][box]
    assert found["EndpointID"] == mine["EndpointID"] and found["IPv4Address"] == "10.151.0.2/24"


@pytest.mark.operation(*START)
def test_network_by_id(engine: Engine, made: Made) -> None:
    name = made.create()
    id = made.inspect(name)["Id"]
    for mode in (id, id[:10]):
        box = create(engine, mode, {})
        assert engine.inspect(box)["HostConfig"]["NetworkMode"] == mode
        assert list(on(engine, box)) == [name]
        engine.start(box)
        assert list(on(engine, box)) == [name]
    listed = engine.wire.get("/containers/json", filters={"network": [name]})
    assert len(listed) == 2 == len(engine.wire.get("/containers/json", filters={"network": [id]}))


@pytest.mark.operation(*START)
def test_before_and_after(engine: Engine, made: Made) -> None:
    """What a container keeps of its network: what was asked for, and the network's ID after a start."""
    name = made.subnet("10.152.0.0/24")
    asked = {"IPAMConfig": {"IPv4Address": "10.152.0.50"}, "Aliases": ["an-alias"]}
    box = create(engine, name, {name: asked})
    before = on(engine, box)[name]
    assert before["IPAMConfig"] == asked["IPAMConfig"] and "an-alias" in before["Aliases"]
    assert before["NetworkID"] == before["EndpointID"] == before["IPAddress"] == before["Gateway"] == ""
    engine.start(box)
    assert on(engine, box)[name]["IPAddress"] == "10.152.0.50"
    engine.wire.post(f"/containers/{box}/kill", status=204)
    engine.wait(box)
    after = on(engine, box)[name]
    assert after == {**before, "NetworkID": made.inspect(name)["Id"], "DNSNames": after.get("DNSNames")} or (
        engine.api == "1.41" and after["NetworkID"]
    )
    engine.start(box)
    assert on(engine, box)[name]["IPAddress"] == "10.152.0.50"


@pytest.mark.operation(*START)
def test_address_that_is_taken(engine: Engine, made: Made) -> None:
    name = made.subnet("10.153.0.0/24")
    asked: dict[str, Any] = {"IPAMConfig": {"IPv4Address": "10.153.0.50"}}
    first = sleeper(engine, name, **asked)
    second = create(engine, name, {name: asked})
    answer = engine.wire.request("POST", f"/containers/{second}/start")
    assert answer.status == 403 and answer.message.endswith("Address already in use")
    assert second not in made.inspect(name)["Containers"]
    engine.remove(first)
    engine.start(second)
    third = sleeper(engine, name)
    assert on(engine, third)[name]["IPAddress"] == "10.153.0.2"


@pytest.mark.operation(*START)
def test_pool_that_is_empty(engine: Engine, made: Made) -> None:
    name = made.subnet("10.154.0.0/30")
    first = sleeper(engine, name)
    second = create(engine, name, {})
    answer = engine.wire.request("POST", f"/containers/{second}/start")
    assert answer.status == 500
    assert "no available IPv4 addresses on this network's address pools: " + name in answer.message
    engine.remove(first)
    engine.start(second)
    assert on(engine, second)[name]["IPAddress"] == "10.154.0.2"


@pytest.mark.operation(*START)
def test_address_outside(engine: Engine, made: Made) -> None:
    name = made.subnet("10.155.0.0/24")
    asked = {"IPAMConfig": {"IPv4Address": "10.99.0.50"}}
    answer = ask_create(engine, name, {name: asked})
    if engine.at_least("1.44"):
        text = engine.pick(
            {
                "1.44": "no configured subnet or ip-range contain the IP address 10.99.0.50",
                "1.52": "no configured subnet contains IP address 10.99.0.50",
            }
        )
        expected = f"invalid config for network {name}: invalid endpoint settings:\n{text}"
        assert (answer.status, answer.message) == (400, expected)
        return
    answer = engine.wire.request("POST", f"/containers/{answer.json()['Id']}/start")
    assert (answer.status, answer.message) == (
        500,
        "Invalid address 10.99.0.50: It does not belong to any of this network's subnets",
    )


@pytest.mark.operation(*START)
@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        (
            {"IPAMConfig": {"IPv4Address": "172.17.0.50"}},
            {
                "1.24": "user specified IP address is supported on user defined networks only",
                "1.52": "user-specified IP address is supported on user-defined networks only",
            },
        ),
        (
            {"Aliases": ["x"]},
            {
                "1.24": "network-scoped alias is supported only for containers in user defined networks",
                "1.52": "network-scoped aliases are only supported for user-defined networks",
            },
        ),
    ],
)
def test_not_on_the_default_bridge(engine: Engine, settings: dict[str, Any], texts: dict[str, str]) -> None:
    answer = ask_create(engine, "bridge", {"bridge": settings})
    if not engine.at_least("1.44"):
        assert answer.status == 201
        answer = engine.wire.request("POST", f"/containers/{answer.json()['Id']}/start")
    assert answer.status == 400 and engine.pick(texts) in answer.message
    if engine.at_least("1.44"):
        assert answer.message.startswith("invalid config for network bridge: invalid endpoint settings:\n")


@pytest.mark.operation(*START)
def test_network_that_is_gone(engine: Engine, made: Made) -> None:
    """Create does not mind; start does."""
    name = made.create()
    box = create(engine, name, {name: {}})
    assert engine.wire.request("DELETE", f"/networks/{name}").status == 204
    for _ in range(2):
        answer = engine.wire.request("POST", f"/containers/{box}/start")
        assert answer.status == 404 and answer.message.endswith(f"network {name} not found")
    assert engine.state(box)["Status"] == "created"
    made.create(Name=name)
    engine.start(box)
    assert on(engine, box)[name]["NetworkID"] == made.inspect(name)["Id"]


@pytest.mark.operation(*START)
def test_network_made_anew(engine: Engine, made: Made) -> None:
    """A container keeps to the network that it was on, not to one of the same name."""
    name = made.create()
    box = sleeper(engine, name)
    old = on(engine, box)[name]["NetworkID"]
    engine.wire.post(f"/containers/{box}/kill", status=204)
    engine.wait(box)
    assert engine.wire.request("DELETE", f"/networks/{name}").status == 204
    made.create(Name=name)
    answer = engine.wire.request("POST", f"/containers/{box}/start")
    assert answer.status == 404 and answer.message.endswith(f"network {old} not found")


@pytest.mark.operation(*START)
def test_mac_address(engine: Engine, made: Made) -> None:
    name = made.create()
    mac = "02:42:99:00:00:07"
    if engine.at_least("1.44"):
        box = sleeper(engine, name, MacAddress=mac)
    else:
        box = create(engine, name, {name: {}}, MacAddress=mac)
        engine.start(box)
    for _ in range(2):
        assert on(engine, box)[name]["MacAddress"] == mac
        assert mac in engine.exec(box, "ip", "link", "show", "eth0").out
        engine.wire.post(f"/containers/{box}/restart", status=204, t=0)


@pytest.mark.operation(*START)
@pytest.mark.since("1.44")
def test_several_networks_at_once(engine: Engine, made: Made) -> None:
    first, second = made.subnet("10.156.0.0/24"), made.subnet("10.157.0.0/24")
    asked = {
        first: {"IPAMConfig": {"IPv4Address": "10.156.0.40"}, "MacAddress": "02:42:99:00:00:08"},
        second: {"IPAMConfig": {"IPv4Address": "10.157.0.40"}, "Aliases": ["other"]},
    }
    box = create(engine, first, asked)
    engine.start(box)
    found = on(engine, box)
    assert sorted(found) == sorted([first, second])
    assert found[first]["IPAddress"] == "10.156.0.40" and found[second]["IPAddress"] == "10.157.0.40"
    assert found[first]["MacAddress"] == "02:42:99:00:00:08"
    assert links(engine, box) == ["eth0", "eth1"]
    here = {a for i in ("eth0", "eth1") for a in addresses(engine, box, i)}
    assert here == {"10.156.0.40/24", "10.157.0.40/24"}
    # dockerd's rule: of networks alike the one whose name comes first has the default route.
    winner = min(first, second)
    assert [gateway for gateway, _ in default_routes(engine, box)] == [found[winner]["Gateway"]]
    engine.wire.post(f"/containers/{box}/restart", status=204, t=0)
    assert {n: e["IPAddress"] for n, e in on(engine, box).items()} == {
        first: "10.156.0.40",
        second: "10.157.0.40",
    }


@pytest.mark.operation("ContainerCreate")
def test_several_networks_of_old_clients(engine: Engine, made: Made) -> None:
    body = {
        "Image": engine.image,
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {}, "some": {}}},
    }
    answer = engine.wire.request("POST", "/containers/create", body, version="1.41")
    assert answer.status == 400
    assert re.fullmatch(
        "Container cannot be (connected to|created with multiple) network endpoints: "
        "(bridge|some), (bridge|some)",
        answer.message,
    )


@pytest.mark.operation(*START)
@pytest.mark.since("1.48")
def test_gateway_priority(engine: Engine, made: Made) -> None:
    low, high = sorted([made.create(), made.create()])
    box = create(engine, low, {low: {"GwPriority": -5}, high: {"GwPriority": 9}})
    engine.start(box)
    found = on(engine, box)
    assert (found[low]["GwPriority"], found[high]["GwPriority"]) == (-5, 9)
    assert [gateway for gateway, _ in default_routes(engine, box)] == [found[high]["Gateway"]]


@pytest.mark.operation(*START)
@pytest.mark.since("1.48")
def test_interface_name_and_sysctls(engine: Engine, made: Made) -> None:
    name = made.create(Options={"com.docker.network.container_iface_prefix": "lan"})
    other = made.create()
    options = {
        "com.docker.network.endpoint.ifname": "wan7",
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1,"
        "net.ipv4.conf.IFNAME.forwarding=0",
    }
    box = create(engine, name, {name: {}, other: {"DriverOpts": options}})
    engine.start(box)
    assert links(engine, box) == ["lan0", "wan7"]
    assert engine.exec(box, "cat", "/proc/sys/net/ipv4/conf/wan7/log_martians").out == "1\n"
    assert engine.exec(box, "cat", "/proc/sys/net/ipv4/conf/lan0/log_martians").out == "0\n"
    bad = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.log_martians=1"}
    answer = ask_create(engine, other, {other: {"DriverOpts": bad}})
    assert answer.status == 400 and "unrecognised network interface sysctl" in answer.message


@pytest.mark.operation(*START)
def test_interface_prefix(engine: Engine, made: Made) -> None:
    name = made.create(Options={"com.docker.network.container_iface_prefix": "lan"})
    assert links(engine, sleeper(engine, name)) == ["lan0"]


@pytest.mark.operation(*START)
def test_link_local_addresses(engine: Engine, made: Made) -> None:
    name = made.subnet("10.158.0.0/24")
    box = sleeper(engine, name, IPAMConfig={"LinkLocalIPs": ["169.254.8.8"]})
    assert on(engine, box)[name]["IPAMConfig"] == {"LinkLocalIPs": ["169.254.8.8"]}
    assert "169.254.8.8/16" in addresses(engine, box, "eth0")
    box = create(engine, name, {name: {"IPAMConfig": {"LinkLocalIPs": ["10.1.1.1"]}}})
    answer = engine.wire.request("POST", f"/containers/{box}/start")
    assert answer.status == engine.pick({"1.24": 500, "1.44": 400})
    assert answer.message.endswith("invalid link local IP address: 10.1.1.1")


@pytest.mark.operation(*START)
def test_ipv6(engine: Engine, made: Made) -> None:
    name = made.subnet("10.159.0.0/24", {"Subnet": "fd00:159::/64"}, EnableIPv6=True)
    box = sleeper(engine, name, IPAMConfig={"IPv6Address": "fd00:159::77"})
    mine = on(engine, box)[name]
    assert (mine["GlobalIPv6Address"], mine["GlobalIPv6PrefixLen"]) == ("fd00:159::77", 64)
    assert mine["IPv6Gateway"] == "fd00:159::1"
    assert "fd00:159::77/64" in addresses(engine, box, "eth0")
    assert default_routes(engine, box, "-6") == [("fd00:159::1", "eth0")]
    assert made.inspect(name)["Containers"][box]["IPv6Address"] == "fd00:159::77/64"
    other = sleeper(engine, name)
    assert on(engine, other)[name]["GlobalIPv6Address"].startswith("fd00:159::")
    out = engine.exec(other, "ping", "-6", "-c", "1", "-W", "10", "fd00:159::77")
    assert out.code == 0, out


@pytest.mark.operation("NetworkCreate", *START)
@pytest.mark.since("1.47")
def test_ipv6_of_the_engines_own_pool(engine: Engine, made: Made) -> None:
    name = made.create(EnableIPv6=True)
    four, six = (pool["Subnet"] for pool in made.inspect(name)["IPAM"]["Config"])
    assert "." in four and re.fullmatch(r"fd[0-9a-f]{2}:\S+::/64|fd[0-9a-f]{2}:\S+/64", six)


@pytest.mark.operation("NetworkCreate", *START)
@pytest.mark.since("1.48")
def test_without_ipv4(engine: Engine, made: Made) -> None:
    name = made.create(EnableIPv4=False, EnableIPv6=True)
    found = made.inspect(name)
    assert (found["EnableIPv4"], found["EnableIPv6"], len(found["IPAM"]["Config"])) == (False, True, 1)
    box = sleeper(engine, name)
    mine = on(engine, box)[name]
    assert mine["IPAddress"] == mine["Gateway"] == "" and mine["GlobalIPv6Address"]
    assert addresses(engine, box, "eth0") == [f"{mine['GlobalIPv6Address']}/64"]
    answer = made.ask(EnableIPv4=False)
    assert (answer.status, answer.message) == (400, "IPv4 or IPv6 must be enabled")


@pytest.mark.operation(*START)
def test_network_disabled(engine: Engine) -> None:
    box = engine.run("sleep", "1000", NetworkDisabled=True)
    assert links(engine, box) == []


@pytest.mark.operation(*START)
def test_command_line(engine: Engine, made: Made, cli: Cli) -> None:
    name = made.subnet("10.160.0.0/24")
    options = ("--network", name, "--ip", "10.160.0.9", "--network-alias", "one", "--network-alias", "two")
    box = cli.text("run", "-d", *options, engine.image, "sleep", "1000")
    mine = on(engine, box)[name]
    assert mine["IPAddress"] == "10.160.0.9" and {"one", "two"} <= set(mine["Aliases"])
    done = cli("run", "-d", "--network", name, "--ip", "10.160.0.9", engine.image, "true", check=False)
    assert done.code == 125 and "Address already in use" in done.err

"""Connecting and disconnecting containers that run, are paused, or do not run; what is refused."""

import time
from typing import Any

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.networks import (
    Made,
    addresses,
    create,
    default_routes,
    links,
    on,
    sleeper,
)
from conformance.until import until

BOTH = ("NetworkConnect", "NetworkDisconnect")
HOST = {
    "1.24": "container cannot be disconnected from host network or connected to host network",
    "1.52": "cannot connect container to host network - container must be created in host network mode",
}
SHARED = (
    "container sharing network namespace with another container or host "
    "cannot be connected to any other network"
)
NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


@pytest.mark.operation(*BOTH)
def test_running_container(engine: Engine, made: Made) -> None:
    first, second = made.subnet("10.161.0.0/24"), made.subnet("10.162.0.0/24")
    box = sleeper(engine, first)
    made.connect(second, box, IPAMConfig={"IPv4Address": "10.162.0.9"}, Aliases=["there"])
    found = on(engine, box)
    assert sorted(found) == sorted([first, second])
    mine = found[second]
    assert (
        mine["NetworkID"] == made.inspect(second)["Id"] and mine["IPAMConfig"]["IPv4Address"] == "10.162.0.9"
    )
    assert mine["IPAddress"] == "10.162.0.9" and "there" in mine["Aliases"]
    assert links(engine, box) == ["eth0", "eth1"]
    assert addresses(engine, box, "eth1") == ["10.162.0.9/24"]
    assert mine["MacAddress"] in engine.exec(box, "ip", "link", "show", "eth1").out
    assert box in made.inspect(second)["Containers"]
    other = sleeper(engine, second)
    assert engine.exec(other, "ping", "-c", "1", "-W", "10", "10.162.0.9").code == 0
    made.disconnect(second, box)
    assert list(on(engine, box)) == [first] and links(engine, box) == ["eth0"]
    assert box not in made.inspect(second)["Containers"]
    assert default_routes(engine, box) == [("10.161.0.1", "eth0")]


@pytest.mark.operation(*BOTH)
def test_default_route(engine: Engine, made: Made) -> None:
    """Of networks alike the one whose name comes first has it, whenever it comes or goes."""
    low, high = sorted([made.create(), made.create()])
    inside = made.create(Internal=True)
    box = sleeper(engine, high)
    high_gateway = on(engine, box)[high]["Gateway"]
    made.connect(inside, box)
    assert [g for g, _ in default_routes(engine, box)] == [high_gateway]
    made.connect(low, box)
    low_gateway = on(engine, box)[low]["Gateway"]
    assert [g for g, _ in default_routes(engine, box)] == [low_gateway]
    made.disconnect(low, box)
    assert [g for g, _ in default_routes(engine, box)] == [high_gateway]
    made.disconnect(high, box)
    if engine.at_least("1.42"):  # before, internal networks had a gateway, too
        assert default_routes(engine, box) == []
    made.connect(low, box)
    assert [g for g, _ in default_routes(engine, box)] == [on(engine, box)[low]["Gateway"]]


@pytest.mark.operation("NetworkConnect")
@pytest.mark.since("1.48")
def test_priority_of_a_later_network(engine: Engine, made: Made) -> None:
    low, high = sorted([made.create(), made.create()])
    box = sleeper(engine, low)
    made.connect(high, box, GwPriority=1)
    assert [g for g, _ in default_routes(engine, box)] == [on(engine, box)[high]["Gateway"]]


@pytest.mark.operation(*BOTH)
def test_ipv6_on_the_fly(engine: Engine, made: Made) -> None:
    plain = made.create()
    six = made.subnet("10.163.0.0/24", {"Subnet": "fd00:163::/64"}, EnableIPv6=True)
    box = sleeper(engine, plain)
    made.connect(six, box, IPAMConfig={"IPv6Address": "fd00:163::9"})
    assert "fd00:163::9/64" in addresses(engine, box, "eth1")
    assert default_routes(engine, box, "-6") == [("fd00:163::1", "eth1")]
    made.disconnect(six, box)
    assert default_routes(engine, box, "-6") == []


@pytest.mark.operation(*BOTH)
def test_last_network(engine: Engine, made: Made) -> None:
    """Without any network a container has loopback, also after its next start."""
    name = made.create()
    box = sleeper(engine, name)
    made.disconnect(name, box)
    assert on(engine, box) == {} and links(engine, box) == []
    engine.wire.post(f"/containers/{box}/restart", status=204, t=0)
    assert on(engine, box) == {} and links(engine, box) == []
    assert engine.inspect(box)["HostConfig"]["NetworkMode"] == name
    made.connect(name, box)
    assert links(engine, box) == ["eth0"]
    engine.wire.post(f"/containers/{box}/restart", status=204, t=0)
    assert list(on(engine, box)) == [name]


@pytest.mark.operation(*BOTH)
def test_stopped_container(engine: Engine, made: Made) -> None:
    first, second = made.create(), made.subnet("10.164.0.0/24")
    box = create(engine, first, {})
    made.connect(second, box, IPAMConfig={"IPv4Address": "10.164.0.9"}, Aliases=["there"])
    found = on(engine, box)[second]
    assert found["IPAMConfig"] == {"IPv4Address": "10.164.0.9"} and "there" in found["Aliases"]
    assert found["IPAddress"] == found["EndpointID"] == found["NetworkID"] == ""
    assert box not in made.inspect(second)["Containers"]
    made.connect(second, box)  # again: nothing changes
    assert on(engine, box)[second]["IPAMConfig"] == {"IPv4Address": "10.164.0.9"}
    engine.start(box)
    assert on(engine, box)[second]["IPAddress"] == "10.164.0.9"
    assert links(engine, box) == ["eth0", "eth1"]
    engine.wire.post(f"/containers/{box}/kill", status=204)
    engine.wait(box)
    made.disconnect(second, box)
    assert list(on(engine, box)) == [first]
    status, message = made.refused(second, box, "disconnect")
    assert (status, message) == (500, f"container {box} is not connected to the network {second}")
    engine.start(box)
    assert links(engine, box) == ["eth0"]


@pytest.mark.operation("NetworkConnect")
def test_stopped_container_and_a_network_to_come(engine: Engine, made: Made) -> None:
    name, other = made.create(), engine.name("net")
    box = create(engine, name, {})
    made.connect(other, box)
    assert sorted(on(engine, box)) == sorted([name, other])
    answer = engine.wire.request("POST", f"/containers/{box}/start")
    assert answer.status == 404 and answer.message.endswith(f"network {other} not found")
    assert box not in made.inspect(name)["Containers"]
    made.create(Name=other)
    engine.start(box)
    assert links(engine, box) == ["eth0", "eth1"]


@pytest.mark.operation(*BOTH)
def test_paused_container(engine: Engine, made: Made) -> None:
    first, second = made.create(), made.create()
    box = sleeper(engine, first)
    engine.wire.post(f"/containers/{box}/pause", status=204)
    made.connect(second, box)
    assert sorted(on(engine, box)) == sorted([first, second])
    engine.wire.post(f"/containers/{box}/unpause", status=204)
    assert links(engine, box) == ["eth0", "eth1"]
    engine.wire.post(f"/containers/{box}/pause", status=204)
    made.disconnect(first, box)
    engine.wire.post(f"/containers/{box}/unpause", status=204)
    assert links(engine, box) == ["eth1"] and list(on(engine, box)) == [second]


@pytest.mark.operation(*BOTH)
def test_refused(engine: Engine, made: Made) -> None:
    name, other = made.subnet("10.165.0.0/24"), made.create()
    box = sleeper(engine, name, engine.name("box"))
    shown = engine.inspect(box)["Name"][1:]
    taken = {"IPAMConfig": {"IPv4Address": on(engine, box)[name]["IPAddress"]}}
    second = sleeper(engine, other)
    cases: tuple[tuple[str, str, dict[str, Any], int, str], ...] = (
        (name, shown, {}, 403, f"endpoint with name {shown} already exists in network {name}"),
        (name, second, {"EndpointConfig": taken}, 403, "Address already in use"),
        ("nope", box, {}, 404, "network nope not found"),
        (name, "nope", {}, 404, "No such container: nope"),
        ("host", box, {}, 400, engine.pick(HOST)),
        ("none", box, {}, 400, NONE),
    )
    for network, container, body, status, message in cases:
        assert made.refused(network, container, **body) == (status, message)
    message = f"container {box} is not connected to network {other}"
    assert made.refused(other, box, "disconnect") == (500, message)
    assert made.refused("nope", box, "disconnect") == (404, "network nope not found")
    assert made.refused(name, "nope", "disconnect") == (404, "No such container: nope")
    assert made.refused(name, "nope", "disconnect", Force=True) == (404, "endpoint nope not found")
    assert links(engine, second) == links(engine, box) == ["eth0"]


@pytest.mark.operation(*BOTH)
def test_containers_without_a_network_of_their_own(engine: Engine, made: Made) -> None:
    name = made.create()
    host = engine.sleeper(host={"NetworkMode": "host"})
    none = engine.sleeper(host={"NetworkMode": "none"})
    shares = engine.sleeper(host={"NetworkMode": f"container:{none}"})
    assert made.refused(name, host) == (400, SHARED)
    assert made.refused(name, shares) == (400, SHARED)
    assert made.refused(name, none) == (400, NONE)
    status, message = made.refused("host", host, "disconnect")
    assert status == 400 and message == engine.pick(
        {
            "1.24": HOST["1.24"],
            "1.52": "cannot disconnect container from host network - "
            "container was created in host network mode",
        }
    )
    made.disconnect("none", none)
    made.connect(name, none)
    assert list(on(engine, none)) == [name] and links(engine, shares) == ["eth0"]


@pytest.mark.operation(*BOTH)
def test_published_ports_follow_the_default_route(engine: Engine, made: Made) -> None:
    low, high = sorted([made.create(), made.create()])
    inside = made.create(Internal=True)
    script = "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp"
    host = {"PortBindings": {"80/tcp": [{"HostPort": ""}]}}
    box = create(engine, high, {}, Cmd=["sh", "-c", script], ExposedPorts={"80/tcp": {}}, host=host)
    engine.start(box)

    def port() -> int:
        bound: list[dict[str, Any]] = engine.inspect(box)["NetworkSettings"]["Ports"].get("80/tcp") or []
        return int(next((b["HostPort"] for b in bound if b["HostIp"] == "0.0.0.0"), 0))

    assert until(lambda: netns.fetch("127.0.0.1", port())) == b"hello\n"
    made.connect(low, box)  # now the default route, and the port, are there
    assert until(lambda: netns.fetch("127.0.0.1", port())) == b"hello\n"
    made.disconnect(high, box)
    assert until(lambda: netns.fetch("127.0.0.1", port())) == b"hello\n"
    made.connect(inside, box)
    last = port()
    made.disconnect(low, box)
    if not engine.at_least("1.42"):
        return  # an internal network was a way out
    assert port() == 0
    with pytest.raises(OSError):
        netns.connect("127.0.0.1", last, 3).close()
    made.connect(high, box)
    assert until(lambda: netns.fetch("127.0.0.1", port())) == b"hello\n"


@pytest.mark.operation("NetworkConnect", "SystemEvents")
def test_events(engine: Engine, made: Made) -> None:
    name = engine.name("net")
    made.create(Name=name, Labels={"a": "b"})
    id = made.inspect(name)["Id"]
    box = engine.sleeper()
    made.connect(name, box)
    made.disconnect(name, box)
    engine.remove(box)
    engine.wire.request("DELETE", f"/networks/{name}")
    filters = {"type": ["network"], "network": [id]}
    found = [
        (e["Action"], e["Actor"]["Attributes"], e["scope"])
        for e in engine.wire.lines("/events", since=0, until=f"{time.time():.9f}", filters=filters)
    ]
    if not engine.at_least("1.48"):  # told twice, by then
        found.remove(found[2])
    plain = {"name": name, "type": "bridge"}
    assert found == [
        ("create", plain, "local"),
        ("connect", {"container": box, **plain}, "local"),
        ("disconnect", {"container": box, **plain}, "local"),
        ("destroy", plain, "local"),
    ]


@pytest.mark.operation(*BOTH)
def test_renamed_container(engine: Engine, made: Made) -> None:
    name = made.create()
    box = sleeper(engine, name, engine.name("old"))
    new = engine.name("new")
    engine.wire.post(f"/containers/{box}/rename", status=204, name=new)
    assert made.inspect(name)["Containers"][box]["Name"] == new
    if engine.at_least("1.45"):
        assert on(engine, box)[name]["DNSNames"][0] == new


@pytest.mark.operation(*BOTH)
def test_command_line(engine: Engine, made: Made, cli: Cli) -> None:
    name = made.subnet("10.166.0.0/24")
    box = engine.sleeper()
    cli.text("network", "connect", "--ip", "10.166.0.9", "--alias", "an-alias", name, box)
    mine = on(engine, box)[name]
    assert mine["IPAddress"] == "10.166.0.9" and "an-alias" in mine["Aliases"]
    done = cli("network", "connect", name, box, check=False)
    assert done.code == 1 and "already exists in network" in done.err
    cli.text("network", "disconnect", name, box)
    assert name not in on(engine, box)
    done = cli("network", "disconnect", name, box, check=False)
    assert done.code == 1 and f"is not connected to network {name}" in done.err


@pytest.mark.operation(*BOTH, "NetworkCreate", "NetworkList", "NetworkPrune", "NetworkDelete")
def test_docker_py(engine: Engine, made: Made) -> None:
    import docker  # type: ignore[import-untyped]

    name = engine.name("net")
    made.names.append(name)
    pool = docker.types.IPAMPool(subnet="10.167.0.0/24", gateway="10.167.0.254")
    network = engine.docker.networks.create(
        name, driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels={"cf": "1"}
    )
    assert [n.id for n in engine.docker.networks.list(names=[name])] == [network.id]
    box = engine.docker.containers.run(engine.image, ["sleep", "1000"], detach=True, network=name)
    network.reload()
    assert network.containers == [box]
    network.disconnect(box)
    network.connect(box, ipv4_address="10.167.0.9", aliases=["an-alias"])
    box.reload()
    assert box.attrs["NetworkSettings"]["Networks"][name]["IPAddress"] == "10.167.0.9"
    with pytest.raises(docker.errors.APIError):
        network.remove()
    box.remove(force=True)
    assert engine.docker.networks.prune({"label": "cf=1"})["NetworksDeleted"] == [name]
    with pytest.raises(docker.errors.NotFound):
        engine.docker.networks.get(name)

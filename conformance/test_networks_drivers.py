"""What drivers and their options do: internal networks, icc, MTU, bridges of one's own, macvlan, ipvlan."""

import contextlib
import re
import subprocess
from collections.abc import Iterator

import pytest

from conformance.engine import Engine
from conformance.networks import Made, addresses, create, default_routes, host_ip, links, on, sleeper
from conformance.until import until

START = ("NetworkCreate", "ContainerStart")


@contextlib.contextmanager
def parent(engine: Engine) -> Iterator[str]:
    """A link on the engine's machine whose other end is `…p`, up, both removed at the end."""
    name = "cf" + engine.run_id[:7]
    host_ip("link", "add", name, "type", "veth", "peer", "name", name + "p")
    try:
        for end in (name, name + "p"):
            host_ip("link", "set", end, "up")
        yield name
    finally:
        host_ip("link", "del", name)


def kernel_has(kind: str, *options: str) -> bool:
    """Whether links of that kind can be made here."""
    host_ip("link", "add", "cfprobe", "type", "veth", "peer", "name", "cfprobe2")
    try:
        host_ip("link", "add", "link", "cfprobe", "name", "cfprobe3", "type", kind, *options)
    except subprocess.CalledProcessError:
        return False
    finally:
        host_ip("link", "del", "cfprobe")
    return True


@pytest.mark.operation(*START)
@pytest.mark.local
def test_internal(engine: Engine, made: Made) -> None:
    """Its containers reach each other, and nobody else; nothing is published."""
    name = made.create(Internal=True)
    ports = {"PortBindings": {"80/tcp": [{"HostPort": ""}]}}
    one = create(engine, name, {}, ExposedPorts={"80/tcp": {}}, host=ports)
    engine.start(one)
    two = sleeper(engine, name)
    assert not engine.inspect(one)["NetworkSettings"]["Ports"].get("80/tcp")
    address = on(engine, two)[name]["IPAddress"]
    assert engine.exec(one, "ping", "-c", "1", "-W", "10", address).code == 0
    box = engine.sleeper()
    elsewhere = on(engine, box)["bridge"]["IPAddress"]
    assert engine.exec(one, "ping", "-c", "1", "-W", "2", elsewhere).code != 0
    if engine.at_least("1.42"):
        assert default_routes(engine, one) == [] and on(engine, one)[name]["Gateway"] == ""


@pytest.mark.operation(*START)
def test_networks_are_apart(engine: Engine, made: Made) -> None:
    """Containers on different bridges do not reach each other's addresses."""
    one, two = sleeper(engine, made.create()), sleeper(engine, made.create())
    (there,) = on(engine, two).values()
    assert engine.exec(one, "ping", "-c", "1", "-W", "2", there["IPAddress"]).code != 0
    assert engine.exec(one, "ping", "-c", "1", "-W", "10", on_gateway(engine, one)).code == 0


def on_gateway(engine: Engine, box: str) -> str:
    (here,) = on(engine, box).values()
    return str(here["Gateway"])


@pytest.mark.operation(*START)
@pytest.mark.local
def test_bridge_of_that_name(engine: Engine, made: Made) -> None:
    bridge = "cf" + engine.run_id[:6] + "b"
    options = {"com.docker.network.bridge.name": bridge}
    name = made.subnet("10.171.0.0/24", Options=options)
    assert "10.171.0.1/24" in host_ip("-o", "addr", "show", "dev", bridge)
    answer = made.ask(Options=options)
    assert answer.status == 403 and answer.message.endswith("networks have same bridge name")
    assert engine.wire.request("DELETE", f"/networks/{name}").status == 204
    assert bridge not in host_ip("-o", "link")
    host_ip("link", "add", bridge, "type", "bridge")
    try:
        name = made.subnet("10.171.0.0/24", Options=options)
        box = sleeper(engine, name)
        assert on(engine, box)[name]["Gateway"] == "10.171.0.1"
        engine.remove(box)
        assert engine.wire.request("DELETE", f"/networks/{name}").status == 204
        assert bridge in host_ip("-o", "link")  # it is somebody else's
    finally:
        host_ip("link", "del", bridge)


@pytest.mark.operation(*START, "NetworkDelete")
@pytest.mark.local
def test_bridge_comes_and_goes_with_the_network(engine: Engine, made: Made) -> None:
    name = made.create()
    bridge = "br-" + made.inspect(name)["Id"][:12]
    assert bridge in host_ip("-o", "link", "show", "type", "bridge")
    assert engine.wire.request("DELETE", f"/networks/{name}").status == 204
    assert bridge not in host_ip("-o", "link")


@pytest.mark.operation(*START)
def test_ports_at_an_address_of_the_network(engine: Engine, made: Made) -> None:
    name = made.create(Options={"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    ports = {"PortBindings": {"80/tcp": [{"HostPort": ""}]}}
    box = create(engine, name, {}, ExposedPorts={"80/tcp": {}}, host=ports)
    engine.start(box)
    (bound,) = engine.inspect(box)["NetworkSettings"]["Ports"]["80/tcp"]
    assert bound["HostIp"] == "127.0.0.1" and int(bound["HostPort"]) > 0


@pytest.mark.operation(*START)
@pytest.mark.since("1.48")
def test_routed_ports_have_no_host_port(engine: Engine, made: Made) -> None:
    name = made.create(Options={"com.docker.network.bridge.gateway_mode_ipv4": "routed"})
    ports = {"PortBindings": {"80/tcp": [{"HostPort": "8123"}]}}
    box = create(engine, name, {}, ExposedPorts={"80/tcp": {}}, host=ports)
    engine.start(box)
    bound = engine.inspect(box)["NetworkSettings"]["Ports"]["80/tcp"]
    assert {"HostIp": "0.0.0.0", "HostPort": ""} in bound
    (listed,) = engine.wire.get("/containers/json", filters={"id": [box]})
    assert {"IP": "0.0.0.0", "PrivatePort": 80, "Type": "tcp"} in listed["Ports"]
    answer = made.ask(Options={"com.docker.network.bridge.gateway_mode_ipv4": "isolated"})
    message = "gateway mode 'isolated' can only be used for an internal network"
    assert (answer.status, answer.message) == (500, message)


@pytest.mark.operation(*START)
@pytest.mark.local
def test_macvlan(engine: Engine, made: Made) -> None:
    """Interfaces of their own on the parent's network: the machine at its other end is reached."""
    if not kernel_has("macvlan"):
        pytest.skip("this kernel has no macvlan")
    with parent(engine) as link:
        host_ip("addr", "add", "10.172.0.100/24", "dev", link + "p")
        name = made.subnet("10.172.0.0/24", Driver="macvlan", Options={"parent": link})
        found = made.inspect(name)
        assert (found["Driver"], found["Options"]) == ("macvlan", {"parent": link})
        mac = {"MacAddress": "02:42:99:00:00:11"} if engine.at_least("1.44") else {}
        one = sleeper(engine, name, IPAMConfig={"IPv4Address": "10.172.0.9"}, **mac)
        two = sleeper(engine, name)
        assert links(engine, one) == ["eth0"]
        assert addresses(engine, one, "eth0") == ["10.172.0.9/24"]
        if mac:
            assert mac["MacAddress"] in engine.exec(one, "ip", "link", "show", "eth0").out
        assert on(engine, one)[name]["IPAddress"] == "10.172.0.9"
        there = on(engine, two)[name]["IPAddress"]
        for address in (there, "10.172.0.100"):
            until(lambda a=address: engine.exec(one, "ping", "-c", "1", "-W", "5", a).code == 0)  # type: ignore[misc]
        engine.wire.post(f"/containers/{two}/kill", status=204)
        engine.remove(two)
        box = engine.sleeper()
        made.connect(name, box, IPAMConfig={"IPv4Address": "10.172.0.10"})
        assert addresses(engine, box, "eth1") == ["10.172.0.10/24"]
        until(lambda: engine.exec(box, "ping", "-c", "1", "-W", "5", "10.172.0.9").code == 0)
        made.disconnect(name, box)
        assert links(engine, box) == ["eth0"]
        made.remove()
        assert link in host_ip("-o", "link")


@pytest.mark.operation(*START)
@pytest.mark.local
@pytest.mark.since("1.47")
def test_macvlan_with_ranges_shares_a_subnet(engine: Engine, made: Made) -> None:
    if not kernel_has("macvlan"):
        pytest.skip("this kernel has no macvlan")
    with parent(engine) as link:
        options = {"parent": link, "macvlan_mode": "bridge"}
        names = [
            made.create(
                Driver="macvlan",
                Options=options,
                IPAM={"Config": [{"Subnet": "10.173.0.0/24", "IPRange": part, "Gateway": gateway}]},
            )
            for part, gateway in (("10.173.0.32/28", "10.173.0.1"), ("10.173.0.64/28", "10.173.0.2"))
        ]
        boxes = [sleeper(engine, name) for name in names]
        found = [on(engine, box)[name] for box, name in zip(boxes, names, strict=True)]
        assert [f["IPAddress"] for f in found] == ["10.173.0.32", "10.173.0.64"]
        assert default_routes(engine, boxes[0]) == [("10.173.0.1", "eth0")]
        answer = made.ask(Driver="macvlan", Options={**options, "macvlan_mode": "passthru"})
        assert answer.status == 500
        assert re.fullmatch(
            "cannot use mode passthru, macvlan network [0-9a-f]{64} is already using parent interface "
            + link,
            answer.message,
        )
        made.remove()


@pytest.mark.operation(*START)
@pytest.mark.local
@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_ipvlan(engine: Engine, made: Made, mode: str) -> None:
    if not kernel_has("ipvlan", "mode", mode):
        pytest.skip(f"this kernel has no ipvlan in mode {mode}")
    with parent(engine) as link:
        name = made.subnet("10.174.0.0/24", Driver="ipvlan", Options={"parent": link, "ipvlan_mode": mode})
        one, two = sleeper(engine, name), sleeper(engine, name)
        there = on(engine, two)[name]["IPAddress"]
        until(lambda: engine.exec(one, "ping", "-c", "1", "-W", "5", there).code == 0)
        answer = made.ask(Driver="ipvlan", Options={"parent": link})
        assert answer.status == 500 and "is already using parent interface" in answer.message
        made.remove()

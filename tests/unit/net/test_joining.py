"""Containers on several networks: addresses, order, default routes, ports; the kernel is a fake."""

from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.errors import EngineError, Forbidden, InvalidParameter, NotFound
from compatd.engine.networks.model import Move
from tests.unit.net.netkit import World, bindings, subnet

SYSCTLS = "com.docker.network.endpoint.sysctls"
IFNAME = "com.docker.network.endpoint.ifname"


def parts(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A plan's endpoints by interface."""
    return {part["name"]: part for part in plan["endpoints"]}


def join(world: World, which: SimpleNamespace, network: str, **request: Any) -> Move:
    move = world.networks.join(which, network, request)
    for sock in move.holds:
        sock.close()
    return move


def leave(world: World, which: SimpleNamespace, network: str) -> Move:
    move = world.networks.leave(which, network)
    world.networks.left(move)
    return move


def held(world: World) -> set[tuple[str, int, str]]:
    return {(b.host_ip, b.host_port, b.container_ip) for b in world.firewall.ports}


def test_several_networks(world: World) -> None:
    world.create("low", IPAM=subnet("10.1.0.0/24"))
    world.create("high", IPAM=subnet("10.2.0.0/24"))
    world.create("inside", IPAM=subnet("10.3.0.0/24"), Internal=True)
    on = {"inside": {}, "low": {"Aliases": ["x"]}, "high": {"IPAMConfig": {"IPv4Address": "10.2.0.9"}}}
    lease = world.plan("box", on, NetworkMode="low")
    made = parts(lease.plan)
    assert [made[f"eth{n}"]["addresses"] for n in range(3)] == [
        ["10.2.0.9/24"], ["10.1.0.2/24"], ["10.3.0.2/24"],
    ]  # fmt: skip
    # of networks alike the first by name has the default route; internal ones have none
    assert [made[f"eth{n}"]["gateway"] for n in range(3)] == ["10.2.0.1", None, None]
    shown = lease.settings["Networks"]
    assert {n: e["Gateway"] for n, e in shown.items()} == {
        "low": "10.1.0.1", "high": "10.2.0.1", "inside": "",
    }  # fmt: skip
    assert shown["low"]["DNSNames"][:2] == ["box", "x"]
    assert sorted(world.seen()[3:]) == [("connect", "high"), ("connect", "inside"), ("connect", "low")]


def test_priority_beats_the_name(world: World) -> None:
    for name in ("one", "two"):
        world.create(name)
    lease = world.plan("box", {"one": {"GwPriority": 1}, "two": {"GwPriority": 2}}, NetworkMode="one")
    assert [e["gateway"] for e in lease.plan["endpoints"]] == ["172.19.0.1", None]


def test_families_may_go_different_ways(world: World) -> None:
    world.create("four", IPAM=subnet("10.1.0.0/24"))
    world.create("six", EnableIPv4=False, EnableIPv6=True, IPAM=subnet("fd00::/64"))
    ports = bindings("80/tcp", ("", "8080"))
    lease = world.plan("box", {"four": {}, "six": {}}, NetworkMode="four", PortBindings=ports)
    made = lease.plan["endpoints"]
    assert [(e["gateway"], e["gateway6"]) for e in made] == [("10.1.0.1", None), (None, "fd00::1")]
    assert held(world) == {("0.0.0.0", 8080, "10.1.0.2"), ("::", 8080, "fd00::2")}


def test_what_a_container_is_given_back(world: World) -> None:
    world.create("one", IPAM=subnet("10.1.0.0/29"))
    world.create("two")
    before = (dict(world.tables.endpoints.rows), list(world.events.seen))
    on = {"one": {"IPAMConfig": {"IPv4Address": "10.1.0.3"}}, "two": {}, "nope": {}}
    with pytest.raises(NotFound, match="network nope not found"):
        world.plan("box", on, NetworkMode="one")
    assert (world.tables.endpoints.rows, world.events.seen) == before
    boxes = [world.container(f"box{n}", NetworkMode="one") for n in range(5)]
    for box in boxes:
        world.start(box)
    last = world.container("last", NetworkMode="one")
    with pytest.raises(
        EngineError, match=r"no available IPv4 addresses on this network's address pools: one"
    ):
        world.start(last)
    world.networks.release(boxes[2].id)
    assert world.start(last).settings["Networks"]["one"]["IPAddress"] == "10.1.0.4"


def test_address_of_another(world: World) -> None:
    world.create("one", IPAM=subnet("10.1.0.0/24"))
    asked = {"one": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}}}
    world.plan("first", asked, NetworkMode="one")
    with pytest.raises(Forbidden, match=r"^failed to set up container networking: Address already in use$"):
        world.plan("second", asked, NetworkMode="one")


def test_interfaces_by_name(world: World) -> None:
    world.create("lan", Options={"com.docker.network.container_iface_prefix": "lan"})
    world.create("wan")
    options = {IFNAME: "wan7", SYSCTLS: "net.ipv4.conf.ifname.log_martians=1"}
    lease = world.plan("box", {"lan": {}, "wan": {"DriverOpts": options}}, NetworkMode="lan")
    made = parts(lease.plan)
    assert sorted(made) == ["lan0", "wan7"]
    assert made["wan7"]["sysctls"] == {"net.ipv4.conf.IFNAME.log_martians": "1"}
    with pytest.raises(EngineError, match="file exists"):
        same = {"DriverOpts": {IFNAME: "x0"}}
        world.plan("twice", {"lan": {**same}, "wan": {**same}}, NetworkMode="lan")


def test_mode_by_the_beginning_of_an_id(world: World) -> None:
    id = world.create("mine")
    box = world.container("box", NetworkMode=id[:8])
    assert list(world.networks.idle_settings(box)["Networks"]) == ["mine"]
    world.start(box)
    assert box.host_config["NetworkMode"] == id and list(box.networking) == ["mine"]
    by_id = world.container("other", {id: {"Aliases": ["x"]}}, NetworkMode=id)
    world.networks.configure(by_id)
    assert by_id.networking == {"mine": {"Aliases": ["x"]}} and by_id.host_config["NetworkMode"] == id


def test_join_and_leave(world: World) -> None:
    world.create("one", IPAM=subnet("10.1.0.0/24"))
    world.create("two", IPAM=subnet("10.2.0.0/24"))
    box = world.container("box", NetworkMode="two")
    world.start(box)
    move = join(world, box, "one", IPAMConfig={"IPv4Address": "10.1.0.9"}, Aliases=["x"])
    assert move.part is not None and move.part["name"] == "eth1"
    assert (move.routes["device"], move.routes["gateway"]) == ("eth1", "10.1.0.1")
    assert sorted(world.networks.running_settings(box)["Networks"]) == ["one", "two"]
    assert box.networking["one"]["NetworkID"] == world.networks.inspect("one")["Id"]
    for network, request, kind, text in (
        ("one", {}, Forbidden, "endpoint with name box already exists in network one"),
        ("host", {}, InvalidParameter, "cannot connect container to host network"),
        ("none", {}, InvalidParameter, "one of the networks in private .none. mode"),
        ("nope", {}, NotFound, "network nope not found"),
    ):
        with pytest.raises(kind, match=text):
            join(world, box, network, **request)
    move = leave(world, box, "two")
    assert move.endpoint.interface == "eth0" and "two" not in box.networking
    assert (move.routes["device"], move.routes["gateway"]) == ("eth1", "10.1.0.1")
    again = join(world, box, "two")
    assert again.endpoint.interface == "eth0"  # the lowest number that is free
    leave(world, box, "one")
    move = leave(world, box, "two")
    assert move.routes["device"] is None
    with pytest.raises(EngineError, match=r"is not connected to network two$"):
        leave(world, box, "two")
    assert world.tables.endpoints.rows == {}
    assert world.networks.running_settings(box)["Networks"] == {}


def test_ports_follow_the_default_route(world: World) -> None:
    world.create("one", IPAM=subnet("10.1.0.0/24"))
    world.create("two", IPAM=subnet("10.2.0.0/24"))
    world.create("inside", IPAM=subnet("10.3.0.0/24"), Internal=True)
    ports = bindings("80/tcp", ("127.0.0.1", "8080"))
    box = world.container("box", NetworkMode="two", PortBindings=ports)
    world.start(box)
    assert held(world) == {("127.0.0.1", 8080, "10.2.0.2")}
    move = join(world, box, "one")
    assert held(world) == {("127.0.0.1", 8080, "10.1.0.2")} and not move.holds and not move.gone
    assert not leave(world, box, "two").gone
    assert held(world) == {("127.0.0.1", 8080, "10.1.0.2")}
    join(world, box, "inside")
    move = leave(world, box, "one")
    assert held(world) == set() and [p.host_port for p in move.gone] == [8080]
    assert len(join(world, box, "two").holds) <= 1 and held(world) == {("127.0.0.1", 8080, "10.2.0.2")}
    world.networks.release(box.id)
    assert held(world) == set()


def test_failed_join_leaves_nothing(world: World) -> None:
    world.create("one")
    world.create("two")
    taken = bindings("80/tcp", ("", "8080"))
    world.plan("other", PortBindings=taken)
    box = world.container("box", NetworkMode="none", PortBindings=taken)
    box.host_config["NetworkMode"] = "one"
    box.host_config["PortBindings"] = {}
    world.start(box)
    box.host_config["PortBindings"] = taken
    before = (dict(world.tables.endpoints.rows), held(world), dict(box.networking))
    leave_one = world.networks.running_settings(box)
    with pytest.raises(EngineError, match="port is already allocated"):
        join(world, box, "two")
    assert (world.tables.endpoints.rows, held(world), box.networking) == before
    assert world.networks.running_settings(box) == leave_one


def test_containers_that_do_not_run(world: World) -> None:
    id = world.create("one", IPAM=subnet("10.1.0.0/24"))
    box = world.container("box", NetworkMode="bridge")
    box.network_settings = world.networks.idle_settings(box)
    world.networks.connect_idle(box, id[:9], {"Aliases": ["x"]})
    world.networks.connect_idle(box, "one", {"Aliases": ["y"]})  # it is on it: nothing happens
    world.networks.connect_idle(box, "to-come", {})
    assert box.networking["one"]["Aliases"] == ["x"] and "to-come" in box.networking
    with pytest.raises(InvalidParameter, match=r"no configured subnet contains IP address 10\.9\.0\.1"):
        world.networks.connect_idle(box, "one", {"IPAMConfig": {"IPv4Address": "10.9.0.1"}})
    for name in ("to-come", id, "bridge"):
        world.networks.disconnect_idle(box, name)
    with pytest.raises(EngineError, match=r"is not connected to the network one$"):
        world.networks.disconnect_idle(box, "one")
    assert world.networks.idle_settings(box)["Networks"] == {}
    box.network_settings = world.networks.idle_settings(box)
    assert world.start(box).plan["endpoints"] == []  # off its last network it has none


def test_links_with_icc_off(world: World) -> None:
    world = World(world.tables, icc=False)
    child = world.container("child", exposed={"80/tcp": {}})
    parent = world.container("parent")
    world.start(child)
    world.start(parent)
    linked: list[Any] = []
    rules = world.networks.rules
    assert rules is not None
    rules.link = lambda id, found: linked.append((id, list(found)))  # type: ignore[method-assign]
    world.networks.link(parent, [child])
    ((id, ((source, target, protocol, port),)),) = linked
    assert id == parent.id and (target, source) == ("172.17.0.2", "172.17.0.3")
    assert (protocol, port) == ("tcp", 80)
    world.close()


def test_renamed(world: World) -> None:
    world.create("one")
    box = world.container("old", NetworkMode="one")
    world.start(box)
    box.name = "new"
    world.networks.renamed(box)
    assert world.networks.inspect("one")["Containers"][box.id]["Name"] == "new"
    assert world.networks.running_settings(box)["Networks"]["one"]["DNSNames"][0] == "new"

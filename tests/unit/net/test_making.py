"""Networks are made, removed and pruned; the kernel is a fake."""

import asyncio
from typing import Any

import pytest

from compatd.engine.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from tests.unit.net import netkit
from tests.unit.net.netkit import Kernel, World, subnet


def test_bridge_network(world: World, kernel: Kernel) -> None:
    id = world.create("mine", Labels={"a": "b"}, Options={"com.docker.network.driver.mtu": "1400"})
    bridge = "br-" + id[:12]
    assert kernel.links[bridge] == ["172.18.0.1/16"]
    found = world.networks.inspect("mine")
    assert found["Id"] == id and found["Labels"] == {"a": "b"} and found["Scope"] == "local"
    assert found["IPAM"]["Config"] == [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
    assert {n.bridge for n in world.firewall.networks} == {"docker0", bridge}
    assert world.seen() == [("create", "mine")]
    world.remove(id[:9])
    assert bridge not in kernel.links and {n.bridge for n in world.firewall.networks} == {"docker0"}
    assert world.seen() == [("create", "mine"), ("destroy", "mine")]
    assert list(world.tables.networks.rows) == [n["Id"] for n in world.networks.list()]
    world.create("again")
    assert world.networks.inspect("again")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16"


def test_what_the_firewall_is_told(world: World) -> None:
    prefix = "com.docker.network.bridge."
    options = {
        prefix + "enable_icc": "false",
        prefix + "enable_ip_masquerade": "0",
        prefix + "gateway_mode_ipv6": "routed",
        prefix + "trusted_host_interfaces": "eth1:eth2",
        "com.docker.network.host_ipv4": "198.51.100.7",
        prefix + "name": "own0",
    }
    world.create("mine", EnableIPv6=True, Options=options, IPAM=subnet("10.0.0.0/24"))
    (found,) = [n for n in world.firewall.networks if n.bridge == "own0"]
    assert found.subnets[0] == "10.0.0.0/24" and found.subnets[1].startswith("fd")
    assert (found.icc, found.masquerade, found.internal) == (False, False, False)
    assert (found.gateway_mode4, found.gateway_mode6) == ("nat", "routed")
    assert (found.host_ip4, found.trusted) == ("198.51.100.7", ("eth1", "eth2"))


def test_addresses_of_the_bridge(world: World, kernel: Kernel) -> None:
    names = {"com.docker.network.bridge.name": "own0"}
    config = {"Config": [{"Subnet": "fd00::/64", "Gateway": "fd00::9"}, {"Subnet": "10.0.0.0/24"}]}
    world.create("both", EnableIPv6=True, Options=names, IPAM=config)
    assert kernel.links["own0"] == ["10.0.0.1/24", "fd00::9/64"]
    inhibited = {"com.docker.network.bridge.inhibit_ipv4": "true", "com.docker.network.bridge.name": "own1"}
    world.create("bare", Options=inhibited)
    assert kernel.links["own1"] == []
    isolated = {
        "com.docker.network.bridge.gateway_mode_ipv4": "isolated",
        "com.docker.network.bridge.name": "own2",
    }
    world.create("apart", Options=isolated, Internal=True, IPAM=subnet("10.0.2.0/24"))
    assert kernel.links["own2"] == []
    assert world.networks.inspect("apart")["IPAM"]["Config"] == [{"Subnet": "10.0.2.0/24"}]
    with pytest.raises(EngineError, match="gateway mode 'isolated' can only be used for an internal network"):
        world.create("open", Options={**isolated, "com.docker.network.bridge.name": "own3"})


def test_bridge_of_somebody_else_stays(world: World, kernel: Kernel) -> None:
    kernel.links["theirs0"] = []
    world.create("mine", Options={"com.docker.network.bridge.name": "theirs0"})
    world.remove("mine")
    assert "theirs0" in kernel.links


def test_failure_leaves_nothing(world: World, kernel: Kernel) -> None:
    before = (dict(world.tables.networks.rows), dict(kernel.links))
    kernel.fail = OSError(95, "add bridge")
    with pytest.raises(EngineError, match=r"^operation not supported$"):
        world.create("mine", IPAM=subnet("10.0.0.0/24"))
    kernel.fail = None
    assert (world.tables.networks.rows, kernel.links) == before
    assert world.seen() == []
    world.create("mine", IPAM=subnet("10.0.0.0/24"))


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ({"Name": ""}, InvalidParameter, "invalid name: name is empty"),
        ({"Name": "there"}, Conflict, "network with name there already exists"),
        ({"Name": "none"}, Forbidden, "operation is not permitted on predefined none network "),
        ({"Driver": "nope"}, NotFound, 'plugin "nope" not found'),
        ({"Driver": "overlay"}, Forbidden, "This node is not a swarm manager."),
        ({"EnableIPv4": False}, InvalidParameter, "IPv4 or IPv6 must be enabled"),
        ({"IPAM": {"Driver": "null"}}, InvalidParameter, "ipv4 pool is empty"),
        ({"IPAM": subnet("nope")}, InvalidParameter, "invalid JSON: netip.ParsePrefix"),
        ({"IPAM": subnet("10.0.0.0/33")}, InvalidParameter, "prefix length out of range"),
        ({"IPAM": subnet("10.0.0.0/24", Gateway="x")}, InvalidParameter, "unable to parse IP"),
        (
            {"IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}},
            InvalidParameter,
            "parent subnet invalid Prefix doesn't contain this address",
        ),
        (
            {"IPAM": subnet("10.0.0.0/24", Gateway="10.0.0.0")},
            EngineError,
            r"failed to allocate gateway \(10.0.0.0\): Address already in use",
        ),
        ({"IPAM": subnet("ff00::/64"), "EnableIPv6": True}, InvalidParameter, "multicast subnet"),
        ({"IPAM": subnet("fe80::/80"), "EnableIPv6": True}, InvalidParameter, "clashes with the Link-Local"),
        ({"Options": {"com.docker.network.enable_ipv6": "x"}}, InvalidParameter, "is not a valid bool"),
        (
            {"Options": {"com.docker.network.advertise_addr_nmsgs": "9"}},
            EngineError,
            "must be in the range 0 to 3",
        ),
    ],
)
def test_requests(world: World, body: dict[str, Any], kind: type[Exception], text: str) -> None:
    world.create("there")
    before = dict(world.tables.networks.rows)
    request = {"Name": "fresh", **body}
    with pytest.raises(kind, match=text):
        asyncio.run(world.networks.create(request))
    assert world.tables.networks.rows == before
    world.create("fresh", IPAM=subnet("10.0.0.0/24"))


def test_default_options_of_the_daemon(kernel: Kernel) -> None:
    defaults = {"bridge": {"com.docker.network.driver.mtu": "1234", "com.docker.network.enable_ipv6": "true"}}
    world = World(default_network_opts=defaults)
    world.create("mine", Options={"com.docker.network.driver.mtu": "1300"})
    found = world.networks.inspect("mine")
    assert found["Options"]["com.docker.network.driver.mtu"] == "1300" and found["EnableIPv6"] is True
    world.create("four", EnableIPv6=False)
    found = world.networks.inspect("four")
    assert found["EnableIPv6"] is False and "com.docker.network.enable_ipv6" not in found["Options"]


def test_configuration_networks(world: World, kernel: Kernel) -> None:
    links = dict(kernel.links)
    world.create("source", ConfigOnly=True, IPAM=subnet("10.0.0.0/24"), Labels={"a": "b"})
    assert kernel.links == links and world.networks.inspect("source")["Driver"] == "null"
    world.create("real", ConfigFrom={"Network": "source"}, Internal=True)
    found = world.networks.inspect("real")
    assert found["Labels"] == {"a": "b"} and found["Internal"] is True
    assert found["IPAM"]["Config"][0]["Subnet"] == "10.0.0.0/24"
    with pytest.raises(Forbidden, match='configuration network "source" is in use'):
        world.remove("source")
    with pytest.raises(Forbidden, match="user-specified configurations are not supported"):
        world.create("x", ConfigFrom={"Network": "source"}, EnableIPv6=True)
    with pytest.raises(Forbidden, match="cannot create endpoint on configuration-only network"):
        world.plan("box", NetworkMode="source")
    world.remove("real")
    world.remove("source")
    assert ("destroy", "source") not in world.seen()


def test_in_use(world: World) -> None:
    world.create("mine")
    box = world.container("box", NetworkMode="mine")
    endpoint = world.start(box).settings["Networks"]["mine"]["EndpointID"]
    with pytest.raises(Forbidden) as raised:
        world.remove("mine")
    assert raised.value.message == (
        f'error while removing network: network mine has active endpoints (name:"box" id:"{endpoint[:12]}")'
    )
    world.networks.release(box.id)
    world.remove("mine")


def test_prune(world: World) -> None:
    for name in ("one", "two", "used"):
        world.create(name, Labels={"n": name})
    world.create("source", ConfigOnly=True)
    world.plan("box", NetworkMode="used")
    assert asyncio.run(world.networks.prune({"label!": ["n=two"]})) == ["one"]
    assert asyncio.run(world.networks.prune({"until": ["10h"]})) == []
    assert asyncio.run(world.networks.prune({})) == ["two"]
    world.networks._making._pruning = True
    with pytest.raises(Conflict, match="a prune operation is already running"):
        asyncio.run(world.networks.prune({}))
    kind, action, actor, attributes = world.events.seen[-1]
    assert (kind, action, actor, attributes) == ("network", "prune", "", {"reclaimed": "0"})
    assert [n["Name"] for n in world.networks.list({"type": ["custom"]})] == ["used", "source"]


def test_macvlan_parents(world: World, kernel: Kernel) -> None:
    ranges = [subnet("10.0.0.0/24", IPRange=part) for part in ("10.0.0.0/28", "10.0.0.16/28")]
    options = {"parent": "eth0.7"}
    world.create("one", Driver="macvlan", Options=options, IPAM=ranges[0])
    world.create("two", Driver="macvlan", Options=options, IPAM=ranges[1])
    assert "eth0.7" in kernel.links
    assert world.networks.inspect("one")["IPAM"]["Config"] == [
        {"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.0/28"}
    ]
    world.remove("one")
    assert "eth0.7" in kernel.links  # the second one still needs it
    world.remove("two")
    assert "eth0.7" not in kernel.links and "eth0" in kernel.links
    id = world.create("dummy", Driver="macvlan")
    assert f"dm-{id[:12]}" in kernel.links
    world.remove("dummy")
    assert f"dm-{id[:12]}" not in kernel.links


def test_ipvlan_has_a_parent_for_itself(world: World) -> None:
    id = world.create("one", Driver="ipvlan", Options={"parent": "eth0"})
    with pytest.raises(EngineError, match=f"network di-{id[:12]} is already using parent interface eth0"):
        world.create("two", Driver="ipvlan", Options={"parent": "eth0"})


def test_daemon_that_starts_again(kernel: Kernel) -> None:
    first = World()
    ids = {name: first.create(name) for name in ("kept", "half", "gone")}
    for name, state in (("half", "creating"), ("gone", "deleting")):
        first.tables.networks.rows[ids[name]]["state"] = state
    del kernel.links["br-" + ids["kept"][:12]]
    before = first.networks.inspect("kept")
    second = World(first.tables)
    assert second.networks.inspect("kept") == before
    assert sorted(kernel.links) == sorted(["docker0", "eth0", "br-" + ids["kept"][:12]])
    assert [n["Name"] for n in second.networks.list({"type": ["custom"]})] == ["kept"]
    with pytest.raises(Forbidden, match="overlaps"):
        second.create("x", IPAM=subnet("172.18.0.0/24"))
    second.create("next")
    assert second.networks.inspect("next")["IPAM"]["Config"][0]["Subnet"] == "172.19.0.0/16"


def test_default_bridge_as_configured(kernel: Kernel) -> None:
    world = World(bip="10.9.0.1/24", fixed_cidr="10.9.0.128/25", default_gateway="10.9.0.7", ipv6=True,
                  fixed_cidr_v6="fd00:9::/64")  # fmt: skip
    four, six = world.networks.inspect("bridge")["IPAM"]["Config"]
    assert four == {
        "Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25", "Gateway": "10.9.0.1",
        "AuxiliaryAddresses": {"DefaultGatewayIPv4": "10.9.0.7"},
    }  # fmt: skip
    assert six["Subnet"] == six["IPRange"] == "fd00:9::/64"
    lease = world.plan("box")
    assert lease.settings["IPAddress"] == "10.9.0.128" and lease.settings["Gateway"] == "10.9.0.7"
    assert lease.settings["GlobalIPv6Address"] == "fd00:9::2"
    kernel.links["docker0"] = ["172.30.0.1/16"]
    assert World().networks.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.30.0.0/16"


def test_killed_while_the_bridge_is_made(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store has at that moment is enough to undo it."""
    first = World()
    rows: list[dict[str, Any]] = []
    real = kernel.ensure_bridge

    def note(name: str, addresses: list[str], mtu: int = 0, *, keep_ipv4: bool = False) -> int:
        rows.extend(row for row in first.tables.networks.rows.values() if row["state"] == "creating")
        return real(name, addresses, mtu, keep_ipv4=keep_ipv4)

    monkeypatch.setattr(netkit.bridge, "ensure_bridge", note)
    id = first.create("mine")
    (row,) = rows
    first.tables.networks.rows[id] = {**row, "state": "creating"}
    second = World(first.tables)
    assert "br-" + id[:12] not in kernel.links
    assert [n["Name"] for n in second.networks.list({"type": ["custom"]})] == []

"""What the firewall's tables are told; the kernel is a fake."""

from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.networks import hostchains, rules
from compatd.engine.networks.model import Endpoint, Publication
from runtime.net import bridge, conntrack, forward, nft
from tests.integration.net_lab import config

SIX = nft.Network("br-six", ("172.19.0.0/16", "fd00::/64"))


class Kernel:
    """Stands for `nft.Firewall`; what it is told is kept."""

    port_id = 1

    def __init__(self, table: str, families: tuple[int, ...]) -> None:
        self.table, self.families = table, families
        self.ports: set[nft.Binding] = set()
        self.links: set[nft.Link] = set()
        self.rebuilt = 0
        self.fail: OSError | None = None

    def rebuild(self, networks: Any, bindings: Any, links: Any, *, options: nft.Options) -> None:
        self.networks, self.ports, self.links = networks, set(bindings), set(links)
        self.options = options
        self.rebuilt += 1

    def publish(self, bindings: Any, links: Any) -> None:
        if self.fail:
            raise self.fail
        self.ports |= set(bindings)
        self.links |= set(links)

    def withdraw(self, bindings: Any, links: Any = ()) -> None:
        self.ports -= set(bindings)
        self.links -= set(links)

    def close(self) -> None:
        pass


class World:
    """Rules with what they stand on."""

    def __init__(self, endpoints: list[Endpoint] | None = None, **changes: Any) -> None:
        self.networks = [nft.Network("docker0", ("172.17.0.0/16",))]
        self.endpoints = endpoints or []
        self.rules = rules.Rules(self, config(**changes), table="compatd")
        self.kernel: Any = self.rules._firewall

    def firewall_networks(self) -> list[nft.Network]:
        return self.networks

    def all_endpoints(self) -> list[Endpoint]:
        return self.endpoints


@pytest.fixture(autouse=True)
def forwarding(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is switched on, `on`, and what the host's own chains are told, `bridges`."""
    state = SimpleNamespace(on={4, 6}, bridges=[], forgotten=[], prepared=[])

    def enable(version: int = 4) -> bool:
        was = version in state.on
        state.on.add(version)
        return not was

    def forget(ports: set[int], addresses: set[str], *, still: Any) -> int:
        state.forgotten.append((ports, {a for a in addresses if still(a)}))
        return 0

    monkeypatch.setattr(nft, "Firewall", Kernel)
    monkeypatch.setattr(bridge, "allow_loopback", state.prepared.append)
    monkeypatch.setattr(bridge, "isolate", lambda name, *, on: state.prepared.append((name, on)))
    monkeypatch.setattr(bridge, "enable_forwarding", enable)
    monkeypatch.setattr(bridge, "has_ipv6", lambda: True)
    monkeypatch.setattr(conntrack, "forget", forget)
    monkeypatch.setattr(forward, "chains", list)
    monkeypatch.setattr(
        hostchains.HostChains, "ensure", lambda self, bridges: state.bridges.append(list(bridges))
    )
    return state


def endpoint(number: int, *publications: Publication, six: bool = False) -> Endpoint:
    made = Endpoint(f"e{number}", "c", "web", "n", "net", "s", "k", address=f"172.17.0.{number}")
    made.publications = list(publications)
    if six:
        made.address6 = f"fd00::{number}"
    return made


def test_host_that_forwards_for_us_only_is_no_router(
    monkeypatch: pytest.MonkeyPatch, forwarding: SimpleNamespace
) -> None:
    assert World().kernel.options.router4
    forwarding.on.discard(4)
    assert not World().kernel.options.router4
    monkeypatch.setattr(forward, "chains", lambda: [forward.Chain("ip", "compatd", "forward", True)])
    assert not World().kernel.options.router4  # as before the restart
    assert World().kernel.options.router6
    forwarding.on.discard(4)
    World(ip_forward=False)
    assert 4 not in forwarding.on


def test_ipv6_is_forwarded_from_the_first_network_with_it(forwarding: SimpleNamespace) -> None:
    forwarding.on.discard(6)
    world = World()
    assert 6 not in forwarding.on
    world.networks.append(SIX)
    world.rules.networks_changed()
    assert 6 in forwarding.on and not world.kernel.options.router6
    assert world.kernel.networks[-1] == SIX
    assert forwarding.bridges[-1] == ["docker0", "br-six"]


def test_bridges_are_prepared_once(forwarding: SimpleNamespace) -> None:
    world = World()
    world.rules.networks_changed()
    assert forwarding.prepared == ["docker0", ("docker0", False)]
    world.networks = [world.networks[0]._replace(icc=False)]
    world.rules.networks_changed()
    assert forwarding.prepared[2:] == ["docker0", ("docker0", True)]


@pytest.mark.parametrize(
    ("changes", "families"),
    [({}, (4, 6)), ({"ip6tables": False}, (4,)), ({"iptables": False}, ())],
)
def test_families_by_the_options(changes: dict[str, Any], families: tuple[int, ...]) -> None:
    assert World(**changes).kernel.families == families


def test_options_of_the_tables() -> None:
    assert World().kernel.options == nft.Options(relayed=True)
    world = World(firewall="respect-host", userland_proxy=False, allow_direct_routing=True)
    assert world.kernel.options == nft.Options(respect_host=True)
    assert world.kernel.networks[0].trusted == ("*",)


def test_bindings_are_in_the_family_of_both_sides() -> None:
    here = [Publication("0.0.0.0", 8080, "tcp", 80), Publication("::", 8080, "tcp", 80)]
    assert rules.bindings(endpoint(2, *here)) == [
        nft.Binding("0.0.0.0", "tcp", 8080, "172.17.0.2", 80, "web")
    ]


def test_ports_of_a_start_come_and_go_and_survive_a_flush(forwarding: SimpleNamespace) -> None:
    first = endpoint(2, Publication("0.0.0.0", 8080, "tcp", 80))
    world = World([first])
    assert len(world.kernel.ports) == 1
    second = endpoint(3, Publication("0.0.0.0", 53, "udp", 53))
    before = world.kernel.rebuilt
    world.kernel.fail = FileNotFoundError()  # the table is gone
    world.rules.publish(second)
    assert world.kernel.rebuilt == before + 1 and len(world.kernel.ports) == 2
    world.rules.withdraw(second)
    world.rules.finish_forgetting()
    assert {b.host_port for b in world.kernel.ports} == {8080}
    assert forwarding.forgotten[0][0] == {53}
    assert forwarding.forgotten[-1][1] == {"172.17.0.3"}


def test_what_cannot_be_published_is_not_remembered() -> None:
    world = World()
    world.kernel.fail = PermissionError()
    with pytest.raises(PermissionError):
        world.rules.publish(endpoint(2, Publication("0.0.0.0", 8080, "tcp", 80)))
    world.rules.refresh()
    assert world.kernel.ports == set()


def test_flows_to_an_address_that_is_used_again_are_kept(forwarding: SimpleNamespace) -> None:
    old = endpoint(2, Publication("0.0.0.0", 8080, "tcp", 80))
    new = endpoint(2, Publication("0.0.0.0", 8081, "tcp", 80))
    new.id = "new"
    world = World([old])
    world.rules.publish(new)
    world.rules.withdraw(old)
    world.rules.finish_forgetting()
    assert forwarding.forgotten[-1][1] == set()


def test_links_that_two_containers_share_go_with_the_last() -> None:
    world = World()
    link = nft.Link("172.17.0.2", "172.17.0.3", "tcp", 5432)
    world.rules.link("one", [link])
    world.rules.link("two", [link])
    world.rules.unlink("one")
    assert world.kernel.links == {link}
    world.rules.refresh()
    assert world.kernel.links == {link}
    world.rules.unlink("two")
    world.rules.unlink("two")
    assert world.kernel.links == set()


def test_marks() -> None:
    assert rules.parse_mark("") is None
    assert rules.parse_mark("1") == (1, 0xFFFFFFFF)
    assert rules.parse_mark("0x1/0x3") == (1, 3)
    assert rules.parse_mark("010/0b11") == (8, 3)
    assert World(bridge_accept_fwmark="2").kernel.options.accept_mark == (2, 0xFFFFFFFF)


def test_what_the_shim_carries() -> None:
    two = [Publication("0.0.0.0", 8080, "tcp", 80), Publication("::", 8080, "tcp", 80)]
    four, both = endpoint(2, *two), endpoint(3, *two, six=True)
    routed = endpoint(4, Publication("0.0.0.0", 0, "tcp", 80))
    world = World()
    assert world.rules.relays([four]) == [
        ("tcp", "0.0.0.0", 8080, "172.17.0.2", 80),
        ("tcp", "::", 8080, "172.17.0.2", 80),
    ]
    assert world.rules.relays([both, routed])[1:] == [("tcp", "::", 8080, "fd00::3", 80)]
    assert World(userland_proxy=False).rules.relays([four, both]) == []
    # Nobody else would serve these then.
    assert len(World(firewall="respect-host", userland_proxy=False).rules.relays([four])) == 2


def test_a_host_that_is_to_stay_a_router(forwarding: SimpleNamespace) -> None:
    forwarding.on.discard(4)
    assert World(ip_forward_no_drop=True).kernel.options.router4

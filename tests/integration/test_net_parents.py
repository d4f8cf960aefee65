"""macvlan and ipvlan with real packets, VLANs and dummy links as parents; published SCTP ports. Needs root.

Where the kernel has no such things these are for the guest (`scripts/test-vm`).
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.net import bridge, live, plan, rtnetlink, vlan
from tests.integration import net_lab
from tests.integration.net_lab import Lab, serve, talk, unreachable
from tests.integration.test_net_modes import World, published, shim

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[Lab]:
    with net_lab.host_lab() as lab:
        yield lab


def need(kind: str) -> None:
    """Skips where the kernel cannot make such links; in the guest it can."""
    with rtnetlink.open_route() as sock:
        try:
            probe = {
                "dummy": lambda: rtnetlink.add_dummy("probe0"),
                "vlan": lambda: rtnetlink.add_vlan("probe0", socket.if_nametoindex("uplink"), 99),
            }[kind]()
            sock.run([probe])
            sock.run([rtnetlink.delete_link("probe0")])
        except OSError as e:
            if e.errno != 95:  # EOPNOTSUPP: no such kind
                raise
            pytest.skip(f"this kernel has no {kind} links; the guest's has")


def started(lab: Lab, kind: str, number: int, mode: str, parent: str = "uplink", **changes: Any) -> int:
    """A container's namespace."""
    fd = lab.new_namespace()
    endpoint = {
        "kind": kind, "name": "eth0", "parent": parent, "mode": mode,
        "addresses": [f"198.51.100.{number}/24", f"2001:db8:100::{number}/64"], "mtu": 1500, **changes,
    }  # fmt: skip
    try:
        plan.apply({"mode": "new", "endpoints": [endpoint]}, fd)
    except OSError as e:
        if e.errno == 95:
            pytest.skip(f"this kernel has no {kind}; the guest's has")
        raise
    return fd


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa"])
def test_macvlan(lab: Lab, mode: str) -> None:
    one = started(lab, "macvlan", 11, mode, mac="02:42:c6:33:64:0b")
    two = started(lab, "macvlan", 12, mode)
    with lab.inside(one), rtnetlink.open_route() as sock:
        server, modern = serve(80), serve(81, address="::")
        (link,) = [link for link in rtnetlink.links(sock) if link["name"] == "eth0"]
        assert (link["mac"], link["kind"]) == ("02:42:c6:33:64:0b", "macvlan")
    with server, modern:
        with lab.inside(lab.outside):  # whoever is on the parent's wire
            assert talk(server, ("198.51.100.11", 80)) == "198.51.100.2"
            assert talk(modern, ("2001:db8:100::11", 81)) == "2001:db8:100::2"
        with lab.inside(two):
            if mode == "bridge":
                assert talk(server, ("198.51.100.11", 80)) == "198.51.100.12"
                assert talk(modern, ("2001:db8:100::11", 81)) == "2001:db8:100::12"
            else:
                assert unreachable(("198.51.100.11", 80))
        assert unreachable(("198.51.100.11", 80))  # the host and its own macvlans do not meet


def test_macvlan_takes_the_parent_whole(lab: Lab) -> None:
    one = started(lab, "macvlan", 11, "passthru")
    with lab.inside(one):
        server = serve(80)
    with server, lab.inside(lab.outside):
        assert talk(server, ("198.51.100.11", 80)) == "198.51.100.2"
    with pytest.raises(OSError, match="add macvlan eth0"):
        started(lab, "macvlan", 12, "passthru")


@pytest.mark.parametrize(("flag", "meet"), [("bridge", True), ("private", False), ("vepa", False)])
def test_ipvlan_on_layer_2(lab: Lab, flag: str, meet: bool) -> None:
    one = started(lab, "ipvlan", 11, "l2", ipvlan_flag=flag)
    two = started(lab, "ipvlan", 12, "l2", ipvlan_flag=flag)
    with lab.inside(one):
        server, modern = serve(80), serve(81, address="::")
    with server, modern:
        with lab.inside(lab.outside):
            assert talk(server, ("198.51.100.11", 80)) == "198.51.100.2"
            assert talk(modern, ("2001:db8:100::11", 81)) == "2001:db8:100::2"
        with lab.inside(two):
            if meet:
                assert talk(server, ("198.51.100.11", 80)) == "198.51.100.12"
            else:
                assert unreachable(("198.51.100.11", 80))


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_ipvlan_on_layer_3(lab: Lab, mode: str) -> None:
    """The default routes lead to the link itself; the world has a route to the parent's address."""
    ends = {"default_device": True, "default_device6": True}
    one = started(lab, "ipvlan", 2, mode, addresses=["10.7.0.2/24", "fd00:7::2/64"], **ends)
    two = started(lab, "ipvlan", 2, mode, addresses=["10.8.0.2/24", "fd00:8::2/64"], **ends)
    with lab.inside(one):
        server, modern = serve(80), serve(81, address="::")
    with lab.inside(lab.outside):
        net_lab.route("198.51.100.1", "10.0.0.0/8")
        net_lab.route("2001:db8:100::1", "fd00::/8")
    with server, modern:
        with lab.inside(two):  # other subnets of the same parent
            assert talk(server, ("10.7.0.2", 80)) == "10.8.0.2"
            assert talk(modern, ("fd00:7::2", 81)) == "fd00:8::2"
        with lab.inside(lab.outside):
            assert talk(server, ("10.7.0.2", 80)) == "198.51.100.2"


def test_vlans_are_apart(lab: Lab) -> None:
    need("vlan")
    assert vlan.ensure_parent("uplink.5") and vlan.ensure_parent("uplink.6")
    assert not vlan.ensure_parent("uplink.5")
    with lab.inside(lab.outside):
        assert vlan.ensure_parent("eth0.5")
        with rtnetlink.open_route() as sock:
            sock.run([rtnetlink.add_address(socket.if_nametoindex("eth0.5"), "10.5.0.1/24")])
    five = started(lab, "macvlan", 2, "bridge", "uplink.5", addresses=["10.5.0.2/24"])
    six = started(lab, "macvlan", 3, "bridge", "uplink.6", addresses=["10.5.0.3/24"])
    with lab.inside(five):
        server = serve(80)
    with server:
        with lab.inside(lab.outside):
            assert talk(server, ("10.5.0.2", 80)) == "10.5.0.1"
        with lab.inside(six):
            assert unreachable(("10.5.0.2", 80))
    bridge.delete_link("uplink.5")
    assert bridge.find_link("uplink.5") is None


def test_dummy_parents_lead_nowhere(lab: Lab) -> None:
    need("dummy")
    assert vlan.ensure_dummy("dm-123456789abc") and not vlan.ensure_dummy("dm-123456789abc")
    assert bridge.find_link("dm-123456789abc") == "dummy"
    one = started(lab, "macvlan", 2, "bridge", "dm-123456789abc", addresses=["10.9.0.2/24"])
    two = started(lab, "macvlan", 3, "bridge", "dm-123456789abc", addresses=["10.9.0.3/24"])
    with lab.inside(one), serve(80) as server, lab.inside(two):
        assert talk(server, ("10.9.0.2", 80)) == "10.9.0.3"


def test_running_containers_come_and_go(lab: Lab) -> None:
    one = started(lab, "macvlan", 11, "bridge")
    two = lab.new_namespace()
    plan.apply({"mode": "new", "endpoints": []}, two)
    endpoint = {"kind": "macvlan", "name": "eth1", "parent": "uplink", "addresses": ["198.51.100.12/24"]}
    live.connect({"endpoint": endpoint, "default": None}, [two])
    with lab.inside(one), serve(80) as server, lab.inside(two):
        assert talk(server, ("198.51.100.11", 80)) == "198.51.100.12"
    live.disconnect({"name": "eth1", "default": None}, [two])
    with lab.inside(two), rtnetlink.open_route() as sock:
        assert [link["name"] for link in rtnetlink.links(sock)] == ["lo"]


def test_sctp(lab: Lab) -> None:
    """By the kernel from outside, by the relay from `::1`."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        pytest.skip("this kernel has no SCTP; the guest's has")
    world = World(lab)
    web = world.start("web", **published(("80/sctp", "", "8080")))
    with lab.inside(web.fd):
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        server.settimeout(net_lab.TIMEOUT)
        server.bind(("0.0.0.0", 80))
        server.listen(5)
    with server, shim(web.lease):
        with lab.inside(lab.outside):
            assert sctp_talk(server, "198.51.100.1") == "198.51.100.2"
        assert sctp_talk(server, "::1") == "172.17.0.1"


def sctp_talk(server: socket.socket, address: str) -> str:
    with socket.socket(net_lab.family_of(address), socket.SOCK_STREAM, socket.IPPROTO_SCTP) as client:
        client.settimeout(net_lab.TIMEOUT)
        client.connect((address, 8080))
        client.sendall(b"word")
        peer, seen = server.accept()
        with peer:
            peer.settimeout(net_lab.TIMEOUT)
            assert peer.recv(100) == b"word"
            peer.sendall(b"answer")
            assert client.recv(100) == b"answer"
    return str(seen[0])

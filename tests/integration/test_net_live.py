"""Networks of running containers, and what must not come in: spoofed router advertisements. Needs root."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.net import bridge, conntrack, live, nft, plan, rtnetlink, vlan
from tests.integration import net_lab
from tests.integration.net_lab import Lab, serve, talk

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[Lab]:
    with net_lab.host_lab() as lab:
        yield lab


def endpoint(number: int, name: str = "eth0", **changes: Any) -> dict[str, Any]:
    subnet = {"eth0": 17, "eth1": 18}[name]
    return {
        "kind": "bridge", "host_name": f"veth{subnet}x{number}", "name": name, "bridge": f"br{subnet}",
        "mac": None, "addresses": [f"172.{subnet}.0.{number}/16", f"fd00:{subnet}::{number}/64"],
        "gateway": f"172.{subnet}.0.1", "gateway6": f"fd00:{subnet}::1", "mtu": 1500, **changes,
    }  # fmt: skip


def bridges() -> None:
    for subnet in (17, 18):
        bridge.ensure_bridge(f"br{subnet}", [f"172.{subnet}.0.1/16", f"fd00:{subnet}::1/64"])


def state(lab: Lab, fd: int) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Names of the links, and both default routes as interface and gateway."""
    with lab.inside(fd), rtnetlink.open_route() as sock:
        names = {link["index"]: link["name"] for link in rtnetlink.links(sock)}
        found = [r for f in (socket.AF_INET, socket.AF_INET6) for r in rtnetlink.routes(sock, f)]
    default = [(names[r["index"]], r["gateway"]) for r in found if r["destination"].endswith("/0")]
    return sorted(names.values()), default


BEFORE = (["eth0", "lo"], [("eth0", "172.17.0.1"), ("eth0", "fd00:17::1")])


@pytest.fixture
def running(lab: Lab) -> int:
    """A container's namespace, connected to br17."""
    bridges()
    fd = lab.new_namespace()
    plan.apply({"mode": "new", "endpoints": [endpoint(2)]}, fd)
    assert state(lab, fd) == BEFORE
    return fd


def test_connect_and_disconnect(lab: Lab, running: int) -> None:
    second = endpoint(2, "eth1", gateway=None, gateway6=None)
    default = {"device": "eth1", "gateway": "172.18.0.1", "device6": "eth0", "gateway6": "fd00:17::1"}
    made = live.connect({"endpoint": second, "default": default}, [running])
    assert (made["name"], made["host_name"]) == ("eth1", "veth18x2")
    routes = [("eth1", "172.18.0.1"), ("eth0", "fd00:17::1")]
    assert state(lab, running) == (["eth0", "eth1", "lo"], routes)
    with lab.inside(running), serve(80) as server, lab.inside(lab.host):
        assert talk(server, ("172.18.0.2", 80)) == "172.18.0.1"
    back = {"device": "eth0", "gateway": "172.17.0.1", "gateway6": "fd00:17::1"}
    live.disconnect({"name": "eth1", "default": back}, [running])
    assert state(lab, running) == BEFORE
    assert bridge.find_link("veth18x2") is None
    live.disconnect({"name": "eth1", "default": None}, [running])  # again: no error
    assert state(lab, running) == BEFORE


def test_without_gateways_there_is_no_default_route(lab: Lab, running: int) -> None:
    live.default_route({"device": None, "gateway": None, "gateway6": None}, [running])
    assert state(lab, running)[1] == []
    live.default_route({"device": "eth0", "default_device": True, "default_device6": True}, [running])
    assert state(lab, running)[1] == [("eth0", None), ("eth0", None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"gateway": "10.9.9.9"},
        {"sysctls": {"net.ipv4.conf.IFNAME.no_such": "1"}},
        {"addresses": ["172.18.0.2/16"], "gateway6": "fd00:99::1"},
        {"name": "eth0"},
        {"bridge": "gone0"},
    ],
)
def test_connect_that_fails_changes_nothing(lab: Lab, running: int, changes: dict[str, Any]) -> None:
    with pytest.raises(OSError):
        live.connect({"endpoint": {**endpoint(2, "eth1"), **changes}, "default": None}, [running])
    assert state(lab, running) == BEFORE
    assert bridge.find_link("veth18x2") is None


def test_default_route_that_cannot_be_changes_nothing(lab: Lab, running: int) -> None:
    for routes in (
        {"device": "eth0", "gateway": "10.9.9.9", "gateway6": "fd00:17::1"},
        {"device": "eth0", "gateway": "172.17.0.9", "gateway6": "2001:db8::1"},
        {"device": "eth7", "gateway": "172.17.0.1"},
    ):
        with pytest.raises(OSError):
            live.default_route(routes, [running])
        assert state(lab, running) == BEFORE
    with pytest.raises(OSError, match="delete link lo"):
        live.disconnect({"name": "lo", "default": None}, [running])


def test_endpoint_sysctls_and_names(lab: Lab) -> None:
    bridges()
    fd = lab.new_namespace()
    sysctls = {"net.ipv4.conf.IFNAME.log_martians": "1", "net.ipv6.conf.IFNAME.accept_ra": "0"}
    plan.apply(
        {"mode": "new", "endpoints": [endpoint(2, name="eth0") | {"name": "lan.7", "sysctls": sysctls}]}, fd
    )
    with lab.inside(fd):
        assert Path("/proc/sys/net/ipv4/conf/lan.7/log_martians").read_text() == "1\n"


def test_cve_2020_13401_spoofed_router_advertisements_change_nothing(lab: Lab) -> None:
    """An evil neighbour says that it is the router; neither containers nor the host's bridge believe it."""
    bridges()
    evil, victims = lab.new_namespace(), [lab.new_namespace() for _ in range(2)]
    plan.apply({"mode": "new", "endpoints": [endpoint(2)]}, evil)
    plan.apply({"mode": "new", "endpoints": [endpoint(3)]}, victims[0])
    four = endpoint(4, addresses=["172.17.0.4/16"], gateway6=None)
    plan.apply({"mode": "new", "endpoints": [four]}, victims[1])
    believer = lab.new_namespace()  # shows that the advertisement would work
    plan.apply({"mode": "new", "endpoints": [endpoint(5)]}, believer)
    with lab.inside(believer):
        plan.write_sysctl("net/ipv6/conf/eth0/accept_ra", "2")
    before = [routes6(lab, fd) for fd in (*victims, lab.host)]

    def believed() -> bool:
        with lab.inside(evil):
            advertise("eth0")
        return any("2001:db8:bad::" in r for r in routes6(lab, believer))

    net_lab.wait_until(believed)
    assert [routes6(lab, fd) for fd in (*victims, lab.host)] == before


def routes6(lab: Lab, fd: int) -> list[str]:
    with lab.inside(fd), rtnetlink.open_route() as sock:
        found = rtnetlink.routes(sock, socket.AF_INET6)
    return sorted(f"{r['destination']} {r['gateway']}" for r in found if "fe80" not in r["destination"])


def advertise(interface: str) -> None:
    """A router advertisement (RFC 4861) with a lifetime and a prefix for addresses of one's own making."""
    prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + prefix
    packet = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 9000, 0, 0) + option
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        try:
            sock.sendto(packet, ("ff02::1", 0, 0, socket.if_nametoindex(interface)))
        except OSError:
            pass  # its link-local address is not there yet


def test_bridge_options(lab: Lab) -> None:
    index = bridge.ensure_bridge("br9", ["10.9.0.1/24", "fd00:9::1/64"], 1400)
    with rtnetlink.open_route() as sock:
        assert {"10.9.0.1/24", "fd00:9::1/64"} <= set(rtnetlink.addresses(sock, index))
        (link,) = [link for link in rtnetlink.links(sock) if link["name"] == "br9"]
        assert link["mtu"] == 1400 and link["up"]
        # inhibit_ipv4: an administrator's own address stays; the network's IPv6 one is changed.
        assert bridge.ensure_bridge("br9", ["fd00:9::2/64"], keep_ipv4=True) == index
        addresses = set(rtnetlink.addresses(sock, index))
    assert "10.9.0.1/24" in addresses and "fd00:9::1/64" not in addresses and "fd00:9::2/64" in addresses
    for name, expected in (("accept_ra", "0"), ("disable_ipv6", "0")):
        assert Path(f"/proc/sys/net/ipv6/conf/br9/{name}").read_text().strip() == expected


def test_flows_to_a_container_are_forgotten_whole(lab: Lab) -> None:
    bridges()
    fd = lab.new_namespace()
    plan.apply({"mode": "new", "endpoints": [endpoint(2)]}, fd)
    with nft.Firewall() as firewall:
        ports = [
            nft.Binding("0.0.0.0", "tcp", 8080, "172.17.0.2", 80),
            nft.Binding("::", "udp", 5353, "fd00:17::2", 53),
        ]
        networks = [nft.Network("br17", ("172.17.0.0/16", "fd00:17::/64"))]
        bridge.enable_forwarding(4)
        bridge.enable_forwarding(6)
        firewall.rebuild(networks, ports)
        with lab.inside(fd):
            server, names = serve(80), serve(53, socket.SOCK_DGRAM, "::")
        with server, names, lab.inside(lab.outside):
            talk(server, ("198.51.100.1", 8080))
            talk(names, ("2001:db8:100::1", 5353), socket.SOCK_DGRAM)
            with lab.inside(lab.host):
                # Not while somebody else has the address, and no other container's.
                assert conntrack.forget((), {"172.17.0.2"}, still=lambda address: False) == 0
                assert conntrack.forget((), {"172.17.0.3"}) == 0
                assert conntrack.forget((), {"172.17.0.2", "fd00:17::2"}) == 2


def test_parents_that_are_there_are_not_of_our_making(lab: Lab) -> None:
    assert vlan.ensure_parent("uplink") is False
    with pytest.raises(OSError, match=r"find link nosuch: No such device"):
        vlan.ensure_parent("nosuch.5")
    with pytest.raises(OSError, match="find link nosuch"):
        vlan.ensure_parent("nosuch")
    with pytest.raises(OSError, match="1 to 4094"):
        vlan.ensure_parent("uplink.4095")

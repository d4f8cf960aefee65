"""Real packets: containers, published ports, loopback, hairpin, the world outside. Needs root."""

import asyncio
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.networks import Networks
from runtime.net import nft, rtnetlink
from runtime.net.plan import write_sysctl
from tests.integration import net_lab
from tests.integration.net_lab import Lab, container, serve, talk, unreachable

pytestmark = pytest.mark.root
_CALL_IPTABLES = "/proc/sys/net/bridge/bridge-nf-call-iptables"


@pytest.fixture(params=["bridged frames unfiltered", "br_netfilter"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with net_lab.host_lab() as lab:
        wanted = "1" if request.param == "br_netfilter" else "0"
        if Path(_CALL_IPTABLES).exists():
            write_sysctl("net.bridge.bridge-nf-call-iptables", wanted)
        elif wanted == "1":
            pytest.skip("this kernel has no br_netfilter loaded")
        yield lab


def open_networks(**changes: Any) -> Networks:
    networks = Networks(net_lab.config(**changes), net_lab.Tables(), net_lab.Events())
    asyncio.run(networks.open())
    return networks


def published(*bindings: tuple[str, str, str]) -> dict[str, Any]:
    """HostConfig.PortBindings from (container port, host address, host port)."""
    ports: dict[str, Any] = {}
    for key, host_ip, host_port in bindings:
        ports.setdefault(key, []).append({"HostIp": host_ip, "HostPort": host_port})
    return {"PortBindings": ports}


def test_containers_reach_each_other_and_the_host(lab: Lab) -> None:
    networks = open_networks()
    (_, one), (_, two) = lab.start(networks, container("one")), lab.start(networks, container("two"))
    with lab.inside(one), serve(80) as server, lab.inside(two):
        assert talk(server, ("172.17.0.2", 80)) == "172.17.0.3"
    with serve(80) as server, lab.inside(one):
        assert talk(server, ("172.17.0.1", 80)) == "172.17.0.2"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_published_port_is_reached_from_everywhere(lab: Lab, kind: int) -> None:
    networks = open_networks()
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    web = container("web", **published((f"80/{protocol}", "", "8080")))
    _, inside = lab.start(networks, web)
    _, other = lab.start(networks, container("other"))
    with lab.inside(inside):
        server = serve(80, kind)
    with server:
        assert talk(server, ("127.0.0.1", 8080), kind) == "172.17.0.1"
        assert talk(server, ("172.17.0.1", 8080), kind) == "172.17.0.1"
        assert talk(server, ("198.51.100.1", 8080), kind) == "198.51.100.1"
        with lab.inside(lab.outside):
            assert talk(server, ("198.51.100.1", 8080), kind) == "198.51.100.2"
        with lab.inside(other):
            assert talk(server, ("172.17.0.1", 8080), kind) == "172.17.0.1"
            assert talk(server, ("198.51.100.1", 8080), kind) == "172.17.0.1"
        with lab.inside(inside):  # hairpin
            assert talk(server, ("198.51.100.1", 8080), kind) == "172.17.0.1"


def test_port_on_loopback_is_for_the_host_only(lab: Lab) -> None:
    networks = open_networks()
    _, inside = lab.start(networks, container("web", **published(("80/tcp", "127.0.0.1", "8080"))))
    with lab.inside(inside):
        server = serve(80)
    with server:
        assert talk(server, ("127.0.0.1", 8080)) == "172.17.0.1"
        with lab.inside(lab.outside):
            assert unreachable(("198.51.100.1", 8080))
            route_loopback_to_host("eth0", "198.51.100.1")
            assert unreachable(("127.0.0.1", 8080))
        with lab.inside(inside):
            assert unreachable(("172.17.0.1", 8080))


def route_loopback_to_host(interface: str, gateway: str) -> None:
    """What an attacker next door does: 127.0.0.1 is not local, but behind the gateway."""
    write_sysctl(f"net.ipv4.conf.{interface}.route_localnet", "1")
    index = socket.if_nametoindex(interface)
    lo = socket.if_nametoindex("lo")
    with rtnetlink.open_route() as sock:
        sock.run([rtnetlink.delete_address(lo, "127.0.0.1/8")])
        sock.run([rtnetlink.add_route(index, gateway, "127.0.0.0/8")])


def test_cve_2020_8558_containers_do_not_reach_the_hosts_loopback(lab: Lab) -> None:
    networks = open_networks()
    _, inside = lab.start(networks, container("evil"))
    with serve(6443, address="127.0.0.1"), lab.inside(inside):
        route_loopback_to_host("eth0", "172.17.0.1")
        assert unreachable(("127.0.0.1", 6443))


def test_containers_leave_by_the_hosts_address(lab: Lab) -> None:
    networks = open_networks()
    _, inside = lab.start(networks, container("one"))
    with lab.inside(lab.outside):
        server, datagrams = serve(80), serve(53, socket.SOCK_DGRAM)
    with server, datagrams, lab.inside(inside):
        assert talk(server, ("198.51.100.2", 80)) == "198.51.100.1"
        assert talk(datagrams, ("198.51.100.2", 53), socket.SOCK_DGRAM) == "198.51.100.1"


def test_without_masquerade_the_address_stays(lab: Lab) -> None:
    networks = open_networks(ip_masq=False)
    _, inside = lab.start(networks, container("one"))
    with lab.inside(lab.outside), rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_route(socket.if_nametoindex("eth0"), "198.51.100.1", "172.17.0.0/16")])
        server = serve(80)
    with server, lab.inside(inside):
        assert talk(server, ("198.51.100.2", 80)) == "172.17.0.2"


def test_unpublished_ports_are_closed_to_the_outside(lab: Lab) -> None:
    networks = open_networks()
    _, inside = lab.start(networks, container("one", **published(("80/tcp", "", "8080"))))
    with lab.inside(inside):
        server, hidden = serve(80), serve(81)
    with server, hidden, lab.inside(lab.outside), rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_route(socket.if_nametoindex("eth0"), "198.51.100.1", "172.17.0.0/16")])
        assert unreachable(("172.17.0.2", 81))
        assert unreachable(("172.17.0.2", 80))  # only by the published port
        assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"


def test_networks_are_apart(lab: Lab) -> None:
    first = open_networks()
    second = open_networks(bridge="other0")
    assert second.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16"
    _, one = lab.start(first, container("one", **published(("80/tcp", "", "8080"))))
    _, two = lab.start(second, container("two"))
    with lab.inside(one):
        server = serve(80)
    with server, lab.inside(two):
        assert unreachable(("172.17.0.2", 80))
        assert talk(server, ("172.18.0.1", 8080)) in ("172.17.0.1", "172.18.0.2")  # masqueraded or not


def test_icc_off_parts_containers_but_not_from_outside(lab: Lab) -> None:
    networks = open_networks(icc=False)
    _, one = lab.start(networks, container("one", **published(("80/tcp", "", "8080"))))
    _, two = lab.start(networks, container("two"))
    with lab.inside(one):
        server = serve(80)
    with lab.inside(lab.outside):
        beyond = serve(90)
    with server, beyond:
        with lab.inside(two):
            assert unreachable(("172.17.0.2", 80))
            assert talk(beyond, ("198.51.100.2", 90)) == "198.51.100.1"
        assert talk(server, ("127.0.0.1", 8080)) == "172.17.0.1"


def test_held_port_does_not_disturb_and_is_free_after_release(lab: Lab) -> None:
    networks = open_networks()
    web = container("web", **published(("80/tcp", "", "8080")))
    lease, inside = lab.start(networks, web)
    with pytest.raises(OSError, match="in use"):
        serve(8080)
    reuser = socket.socket()
    reuser.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with reuser, pytest.raises(OSError, match="in use"):
        reuser.bind(("0.0.0.0", 8080))
    with lab.inside(inside), serve(80) as server, lab.inside(lab.host):
        assert talk(server, ("127.0.0.1", 8080)) == "172.17.0.1"
    # IPv6 has no way in; a client that tries it first must fall back at once.
    with socket.socket(socket.AF_INET6) as client, pytest.raises(ConnectionRefusedError):
        client.connect(("::1", 8080))
    networks.release(web.id)
    lease.close()
    serve(8080).close()


def test_udp_client_that_never_stops_finds_the_new_container(lab: Lab) -> None:
    networks = open_networks()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, lab.inside(lab.host):
        client.settimeout(net_lab.TIMEOUT)
        client.bind(("198.51.100.1", 0))
        client.sendto(b"too early", ("198.51.100.1", 5353))
        for name in ("first", "second"):
            which = container(name, **published(("53/udp", "", "5353")))
            keeper = container(f"keeper of an address for {name}")
            lease, inside = lab.start(networks, which)
            networks.finish_forgetting()
            with lab.inside(inside):
                server = serve(53, socket.SOCK_DGRAM)
            with server:
                client.sendto(name.encode(), ("198.51.100.1", 5353))
                assert server.recvfrom(100)[0] == name.encode()
            networks.release(which.id)
            lease.close()
            networks.plan(keeper)  # so that the next one has another address


def test_mac_and_addresses_inside(lab: Lab) -> None:
    networks = open_networks()
    lease, inside = lab.start(networks, container("one"))
    endpoint = lease.settings["Networks"]["bridge"]
    with lab.inside(inside), rtnetlink.open_route() as sock:
        links = {link["name"]: link for link in rtnetlink.links(sock)}
        assert set(links) == {"lo", "eth0"}
        assert links["eth0"]["mac"] == endpoint["MacAddress"] == "02:42:ac:11:00:02"
        assert links["eth0"]["mtu"] == 1500
        assert all(link["up"] for link in links.values())
        # no link-local address on eth0: IPv6 is off there, on for lo
        assert sorted(rtnetlink.addresses(sock)) == ["127.0.0.1/8", "172.17.0.2/16", "::1/128"]
        assert rtnetlink.routes(sock)[0] == {
            "destination": "0.0.0.0/0", "index": links["eth0"]["index"], "gateway": "172.17.0.1",
        }  # fmt: skip
    assert struct.unpack("!I", socket.inet_aton(endpoint["IPAddress"]))[0] == 0xAC110002


def test_host_that_forwarded_nothing_before_is_no_router(lab: Lab) -> None:
    networks = open_networks()  # switches forwarding on
    beyond = lab.new_namespace()
    with rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_veth("other", "eth0", netns_fd=beyond)])
        index = socket.if_nametoindex("other")
        sock.run([rtnetlink.add_address(index, "203.0.113.1/24"), rtnetlink.set_link("other", up=True)])
    with lab.inside(beyond), rtnetlink.open_route() as sock:
        index = socket.if_nametoindex("eth0")
        sock.run([rtnetlink.add_address(index, "203.0.113.2/24"), rtnetlink.set_link("eth0", up=True)])
        sock.run([rtnetlink.add_route(index, "203.0.113.1")])
        server = serve(80)
    _, inside = lab.start(networks, container("one"))
    with server, lab.inside(lab.outside), rtnetlink.open_route() as sock:
        sock.run([rtnetlink.add_route(socket.if_nametoindex("eth0"), "198.51.100.1")])
        assert unreachable(("203.0.113.2", 80))
        with lab.inside(inside):
            assert talk(server, ("203.0.113.2", 80)) == "203.0.113.1"
        with lab.inside(lab.host):
            open_networks()  # a restart changes nothing about it
        assert unreachable(("203.0.113.2", 80))
        with lab.inside(lab.host), nft.Firewall() as firewall:
            firewall.delete()
            open_networks()  # forwarding was on before this one: the host was a router already
        assert talk(server, ("203.0.113.2", 80)) == "198.51.100.2"


def test_forward_chain_of_iptables_that_drops(lab: Lab) -> None:
    iptables = shutil.which("iptables-nft")
    if iptables is None:
        pytest.skip("no iptables here to make such a chain with")

    def run(*arguments: str) -> str:
        return subprocess.run([iptables, *arguments], check=True, capture_output=True, text=True).stdout

    for arguments in (
        ["-P", "FORWARD", "DROP"],
        ["-N", "DOCKER-USER"],
        ["-A", "FORWARD", "-j", "DOCKER-USER"],
    ):
        run(*arguments)
    for _ in range(2):
        networks = open_networks()
        assert run("-S", "FORWARD").splitlines() == [
            "-P FORWARD DROP",
            "-A FORWARD -j DOCKER-USER",
            '-A FORWARD -o docker0 -m comment --comment "compatd docker0" -j ACCEPT',
            '-A FORWARD -i docker0 -m comment --comment "compatd docker0" -j ACCEPT',
        ]
    _, inside = lab.start(networks, container("web", **published(("80/tcp", "", "8080"))))
    with lab.inside(inside):
        server = serve(80)
    with lab.inside(lab.outside):
        beyond = serve(90)
    with server, beyond:
        with lab.inside(inside):
            assert talk(beyond, ("198.51.100.2", 90)) == "198.51.100.1"
        with lab.inside(lab.outside):
            assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"
        run("-I", "DOCKER-USER", "-i", "docker0", "-j", "DROP")
        with lab.inside(inside):
            assert unreachable(("198.51.100.2", 90))

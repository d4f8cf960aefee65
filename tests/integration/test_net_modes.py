"""Real packets over networks of users: both IP versions, gateway modes, isolation. Needs root."""

import asyncio
import contextlib
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.networks import Networks
from runtime.net import nfnetlink as nf
from runtime.net import nft_expressions as x
from runtime.net import rtnetlink
from runtime.net.netlink import attr, attr_be32, nested
from runtime.net.plan import write_sysctl
from runtime.shim.holds import Holds
from runtime.shim.loop import Loop
from tests.integration import net_lab
from tests.integration.net_lab import Lab, container, route, serve, talk, unreachable

pytestmark = pytest.mark.root
_BRIDGED = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
SIX = {"Config": [{"Subnet": "2001:db8:7::/64"}]}
MODE = "com.docker.network.bridge.gateway_mode_ipv"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with net_lab.host_lab() as lab:
        yield lab


@pytest.fixture(params=["0", "1"], ids=["bridged frames unfiltered", "br_netfilter"])
def both(request: pytest.FixtureRequest, lab: Lab) -> Lab:
    """The lab, with and without bridged frames shown to the firewall."""
    for name in _BRIDGED:
        if Path("/proc/sys/" + name.replace(".", "/")).exists():
            write_sysctl(name, request.param)
        elif request.param == "1":
            pytest.skip("this kernel has no br_netfilter loaded")
    return lab


class World:
    """A daemon's networks in a lab."""

    def __init__(self, lab: Lab, **changes: Any) -> None:
        self.lab = lab
        self.networks = Networks(net_lab.config(**changes), net_lab.Tables(), net_lab.Events())
        asyncio.run(self.networks.open())

    def create(self, name: str, **body: Any) -> str:
        """A network; its ID."""
        return asyncio.run(self.networks.create({"Name": name, **body}))

    def start(self, name: str, network: str = "bridge", **host_config: Any) -> "Started":
        """A container in its namespace."""
        which = container(name, NetworkMode=network, **host_config)
        lease, fd = self.lab.start(self.networks, which)
        parts = {e["name"]: e["addresses"] for e in lease.plan["endpoints"]}
        addresses = [a.partition("/")[0] for a in parts["eth0"]]
        four = next((a for a in addresses if ":" not in a), "")
        return Started(which, fd, four, next((a for a in addresses if ":" in a), ""), lease)


class Started(SimpleNamespace):
    """A container that runs: its namespace and addresses."""

    def __init__(self, which: Any, fd: int, four: str, six: str, lease: Any) -> None:
        super().__init__(which=which, fd=fd, four=four, six=six, lease=lease)


def published(*bindings: tuple[str, str, str]) -> dict[str, Any]:
    ports: dict[str, Any] = {}
    for key, host_ip, host_port in bindings:
        ports.setdefault(key, []).append({"HostIp": host_ip, "HostPort": host_port})
    return {"PortBindings": ports}


@contextlib.contextmanager
def serving(lab: Lab, started: Started, port: int, six: bool = False) -> Iterator[socket.socket]:
    with lab.inside(started.fd):
        server = serve(port, address="::" if six else "0.0.0.0")
    with server:
        yield server


@contextlib.contextmanager
def shim(lease: Any) -> Iterator[None]:
    """The part of a shim that holds ports and relays, in a thread of its own."""
    loop = Loop()
    folder = tempfile.TemporaryDirectory()
    holds = Holds(loop, folder.name)
    holds.change([sock.detach() for sock in lease.holds], [list(r) for r in lease.plan.get("relays", [])], [])
    stop = False

    def run() -> None:
        while not stop:
            loop.turn(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop = True
        thread.join()
        holds.close()
        folder.cleanup()


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_networks_are_apart_but_for_published_ports(both: Lab, six: bool) -> None:
    world = World(both)
    world.create("one", EnableIPv6=True)
    world.create("two", EnableIPv6=True)
    web = world.start("web", "one", **published(("80/tcp", "", "8080")))
    near, far = world.start("near", "one"), world.start("far", "two")
    address = web.six if six else web.four
    host = "2001:db8:100::1" if six else "198.51.100.1"
    with serving(both, web, 80, six) as server, serving(both, web, 81, six):
        with both.inside(near.fd):
            assert talk(server, (address, 80)) == (near.six if six else near.four)
            assert talk(server, (host, 8080))
        with both.inside(far.fd):
            assert unreachable((address, 80))
            assert unreachable((address, 81))
            assert talk(server, (host, 8080))
        with both.inside(web.fd):
            assert talk(server, (host, 8080))  # hairpin
        assert talk(server, (address, 80))  # the host may always


def test_ipv6_in_and_out(lab: Lab) -> None:
    world = World(lab)
    world.create("six", EnableIPv6=True)
    web = world.start("web", "six", **published(("80/tcp", "", "8080"), ("81/tcp", "2001:db8:100::1", "81")))
    with lab.inside(lab.outside):
        beyond = serve(90, address="::")
        route("2001:db8:100::1", "fd00::/8")
    with serving(lab, web, 80, six=True) as server, serving(lab, web, 81, six=True) as chosen, beyond:
        with lab.inside(lab.outside):
            assert talk(server, ("2001:db8:100::1", 8080)) == "2001:db8:100::2"
            assert talk(chosen, ("2001:db8:100::1", 81)) == "2001:db8:100::2"
            assert unreachable((web.six, 80))
        assert talk(server, ("2001:db8:100::1", 8080)) == "2001:db8:100::1"
        with lab.inside(web.fd):  # NAT66
            assert talk(beyond, ("2001:db8:100::2", 90)) == "2001:db8:100::1"


def test_ipv6_to_containers_without_it_and_from_the_loopback(lab: Lab) -> None:
    world = World(lab)
    world.create("six", EnableIPv6=True)
    old = world.start("old", **published(("80/tcp", "", "8080"), ("53/udp", "", "5353")))
    new = world.start("new", "six", **published(("80/tcp", "", "8081")))
    with lab.inside(old.fd):
        names = serve(53, socket.SOCK_DGRAM)
    with (
        serving(lab, old, 80) as server,
        serving(lab, new, 80, six=True) as modern,
        names,
        shim(old.lease),
        shim(new.lease),
    ):
        assert talk(server, ("::1", 8080)) == "172.17.0.1"
        assert talk(names, ("::1", 5353), socket.SOCK_DGRAM) == "172.17.0.1"
        assert talk(modern, ("::1", 8081))
        with lab.inside(lab.outside):
            assert talk(server, ("2001:db8:100::1", 8080)) == "172.17.0.1"
            assert talk(server, ("198.51.100.1", 8080)) == "198.51.100.2"
            assert talk(names, ("2001:db8:100::1", 5353), socket.SOCK_DGRAM) == "172.17.0.1"


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_internal_is_apart_from_everything(both: Lab, six: bool) -> None:
    world = World(both)
    world.create("inside", Internal=True, EnableIPv6=True)
    one, two = world.start("one", "inside"), world.start("two", "inside")
    world.create("other", EnableIPv6=True)
    web = world.start("web", "other", **published(("80/tcp", "", "8080")))
    with both.inside(both.outside):
        beyond = serve(90, address="::" if six else "0.0.0.0")
        route("2001:db8:100::1", "fd00::/8")
        route("198.51.100.1", "172.16.0.0/12")
    first = one.six if six else one.four
    target = web.six if six else web.four
    outside = "2001:db8:100::2" if six else "198.51.100.2"
    host = "2001:db8:100::1" if six else "198.51.100.1"
    with serving(both, one, 80, six) as server, serving(both, web, 80, six), beyond:
        with both.inside(two.fd):
            assert talk(server, (first, 80))
            assert unreachable((outside, 90))  # no route
            gateway = next(a for a in gateways(world, "inside") if (":" in a) == six)
            route(gateway, "::/0" if six else "0.0.0.0/0")  # who is root in a container may make one
            assert unreachable((outside, 90))
            assert unreachable((target, 80))
            assert unreachable((host, 8080))
        with both.inside(web.fd):
            assert unreachable((first, 80))
        with both.inside(both.outside):
            assert unreachable((first, 80))
        assert talk(server, (first, 80))  # the host may


def gateways(world: World, name: str) -> list[str]:
    return [c["Gateway"].partition("/")[0] for c in world.networks.inspect(name)["IPAM"]["Config"]]


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_icc_off(both: Lab, six: bool) -> None:
    world = World(both)
    options = {"com.docker.network.bridge.enable_icc": "false"}
    world.create("apart", EnableIPv6=True, Options=options)
    web = world.start("web", "apart", **published(("80/tcp", "", "8080")))
    other = world.start("other", "apart")
    host = "2001:db8:100::1" if six else "198.51.100.1"
    with serving(both, web, 80, six) as server, shim(web.lease):
        with both.inside(other.fd):
            assert unreachable((web.six if six else web.four, 80))
            assert talk(server, (host, 8080))
        with both.inside(both.outside):
            assert talk(server, (host, 8080))


def test_icc_off_with_a_link(both: Lab) -> None:
    world = World(both, icc=False)
    web = world.start("web", exposed={"80/tcp": {}})
    friend, other = world.start("friend"), world.start("other")
    world.networks.link(friend.which, [web.which])
    with serving(both, web, 80) as server, serving(both, web, 81), serving(both, friend, 80):
        with both.inside(friend.fd):
            assert talk(server, (web.four, 80)) == friend.four
            assert unreachable((web.four, 81))
        with both.inside(other.fd):
            assert unreachable((web.four, 80))
        with both.inside(web.fd):
            assert unreachable((friend.four, 80))
        world.networks.release(friend.which.id)
        with both.inside(friend.fd):
            assert unreachable((web.four, 80))


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("mode", ["nat", "nat-unprotected", "routed"])
def test_gateway_modes(lab: Lab, mode: str, six: bool) -> None:
    world = World(lab)
    options = {MODE + "4": mode, MODE + "6": mode}
    world.create("net", EnableIPv6=True, Options=options, IPAM=SIX)
    world.create("other", EnableIPv6=True)
    web = world.start("web", "net", **published(("80/tcp", "", "8080")))
    far = world.start("far", "other")
    address = web.six if six else web.four
    host = "2001:db8:100::1" if six else "198.51.100.1"
    outside = "2001:db8:100::2" if six else "198.51.100.2"
    with lab.inside(lab.outside):
        route("2001:db8:100::1", "2001:db8:7::/64")
        route("198.51.100.1", "172.16.0.0/12")
        beyond = serve(90, address="::" if six else "0.0.0.0")
    with serving(lab, web, 80, six) as server, serving(lab, web, 81, six) as hidden, beyond:
        with lab.inside(lab.outside):
            if mode == "routed":
                assert unreachable((host, 8080))
                assert talk(server, (address, 80)) == outside
            else:
                assert talk(server, (host, 8080)) == outside
            if mode == "nat-unprotected":
                assert talk(hidden, (address, 81)) == outside
            else:
                assert unreachable((address, 81))
            if mode == "nat":
                assert unreachable((address, 80))
        with lab.inside(web.fd):
            assert talk(beyond, (outside, 90)) == (address if mode == "routed" else host)
        with lab.inside(far.fd):
            for which, port, is_open in (
                (hidden, 81, mode == "nat-unprotected"),
                (server, 80, mode != "nat"),
            ):
                if is_open:
                    assert talk(which, (address, port))
                else:
                    assert unreachable((address, port))


def test_routed_containers_answer_pings_only_there(lab: Lab) -> None:
    world = World(lab)
    world.create("routed", Options={MODE + "4": "routed"})
    routed, plain = world.start("routed", "routed"), world.start("plain")
    with lab.inside(lab.outside):
        route("198.51.100.1", "172.16.0.0/12")
        assert ping(routed.four, net_lab.TIMEOUT)
        assert not ping(plain.four, net_lab.NO_ANSWER)


def ping(address: str, patience: float) -> bool:
    """Whether an ICMP echo is answered."""
    request = bytes((8, 0, 0xF7, 0xFF, 0, 0, 0, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(patience)
        sock.sendto(request, (address, 0))
        try:
            data, _ = sock.recvfrom(200)
        except TimeoutError:
            return False
    return data[20] == 0


def test_isolated_the_host_has_no_address(lab: Lab) -> None:
    world = World(lab)
    options = {MODE + "4": "isolated", MODE + "6": "isolated"}
    world.create("alone", Internal=True, EnableIPv6=True, Options=options)
    one, two = world.start("one", "alone"), world.start("two", "alone")
    with serving(lab, one, 80) as server, serving(lab, one, 81, six=True) as modern:
        with lab.inside(two.fd):
            assert talk(server, (one.four, 80)) == two.four
            assert talk(modern, (one.six, 81)) == two.six
        assert unreachable((one.four, 80))
        assert unreachable((one.six, 81))


def test_out_by_a_chosen_address(lab: Lab) -> None:
    world = World(lab)
    with rtnetlink.open_route() as sock:
        index = socket.if_nametoindex("uplink")
        sock.run([rtnetlink.add_address(index, a) for a in ("198.51.100.9/24", "2001:db8:100::9/64")])
    options = {
        "com.docker.network.host_ipv4": "198.51.100.9",
        "com.docker.network.host_ipv6": "2001:db8:100::9",
    }
    world.create("net", EnableIPv6=True, Options=options)
    one = world.start("one", "net")
    with lab.inside(lab.outside):
        four, six = serve(90), serve(91, address="::")
    with four, six, lab.inside(one.fd):
        assert talk(four, ("198.51.100.2", 90)) == "198.51.100.9"
        assert talk(six, ("2001:db8:100::2", 91)) == "2001:db8:100::9"


@pytest.mark.parametrize("how", ["trusted interface", "allow-direct-routing", "mark"])
def test_published_ports_at_the_containers_address(lab: Lab, how: str) -> None:
    changes = {"allow-direct-routing": {"allow_direct_routing": True}, "mark": {"bridge_accept_fwmark": "7"}}
    world = World(lab, **changes.get(how, {}))
    trusted = {"com.docker.network.bridge.trusted_host_interfaces": "uplink"}
    world.create("net", Options=trusted if how == "trusted interface" else {})
    web = world.start("web", "net", **published(("80/tcp", "", "8080")))
    if how == "mark":
        mark_everything()
    with lab.inside(lab.outside):
        route("198.51.100.1", "172.16.0.0/12")
        with serving(lab, web, 80) as server, serving(lab, web, 81) as hidden:
            assert talk(server, (web.four, 80)) == "198.51.100.2"
            if how == "mark":
                assert talk(hidden, (web.four, 81)) == "198.51.100.2"
            else:
                assert unreachable((web.four, 81))


def mark_everything() -> None:
    """As an administrator's own rules: mark 7 on all that comes in."""
    load = x.expression("immediate", attr_be32(1, x.REG), nested(2, attr(1, struct.pack("=I", 7))))
    mark = x.expression("meta", attr_be32(2, x.META_MARK), attr_be32(3, x.REG))
    with nf.NftSocket() as sock:
        chain = nf.new_chain("mine", "marks", "filter", nf.HOOK_PREROUTING, -150)
        sock.commit([nf.new_table("mine"), chain, nf.new_rule("mine", "marks", [load, mark])])

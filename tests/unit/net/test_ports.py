"""Host ports: what is asked for, what is given, and the errors as dockerd words them."""

import socket
from typing import Any

import pytest

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.networks import ports
from compatd.engine.networks.ports import PortAllocator, Request, requests

OWN = "127.83.12.9"  # a loopback address where no other program's ports are in the way


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> PortAllocator:
    """Holds nothing really, and has ten ports to give."""
    monkeypatch.setattr(ports, "hold", lambda ip, port, protocol: socket.socket())
    allocator = PortAllocator()
    allocator.begin, allocator.end = 40000, 40009
    allocator._reserved = set()
    return allocator


def tcp(*ips: str, first: int = 0, last: int | None = None, inside: int = 80) -> Request:
    return Request(ips, first, first if last is None else last, "tcp", inside)


def take(allocator: PortAllocator, request: Request) -> int:
    publications, sockets = allocator.allocate(request)
    for sock in sockets:
        sock.close()
    assert len(sockets) == len(publications) == len(request.host_ips)
    return publications[0].host_port


def test_explicit_port_once_per_address(allocator: PortAllocator) -> None:
    assert take(allocator, tcp("127.0.0.1", first=80)) == 80
    assert take(allocator, tcp("127.0.0.2", first=80)) == 80
    with pytest.raises(EngineError, match=r"^Bind for 127\.0\.0\.1:80 failed: port is already allocated$"):
        allocator.allocate(tcp("127.0.0.1", first=80))
    with pytest.raises(EngineError, match=r"^Bind for 0\.0\.0\.0:80 failed: port is already allocated$"):
        allocator.allocate(tcp("0.0.0.0", "::", first=80))


def test_any_address_excludes_each_one_of_its_family(allocator: PortAllocator) -> None:
    take(allocator, tcp("0.0.0.0", first=80))
    with pytest.raises(EngineError, match="already allocated"):
        allocator.allocate(tcp("127.0.0.1", first=80))
    assert take(allocator, tcp("::1", first=80)) == 80
    assert take(allocator, Request(("0.0.0.0",), 80, 80, "udp", 80)) == 80


def test_ephemeral_ports_go_round(allocator: PortAllocator) -> None:
    first = allocator.allocate(tcp("0.0.0.0", "::"))
    assert [p.host_port for p in first[0]] == [40000, 40000]
    assert take(allocator, tcp("0.0.0.0")) == 40001
    for publication in first[0]:
        allocator.release(publication)
    assert [take(allocator, tcp("0.0.0.0")) for _ in range(9)] == [*range(40002, 40010), 40000]
    with pytest.raises(EngineError, match="all ports are allocated"):
        allocator.allocate(tcp("0.0.0.0"))


def test_ranges(allocator: PortAllocator) -> None:
    assert [take(allocator, tcp("0.0.0.0", first=8000, last=8002)) for _ in range(3)] == [8000, 8001, 8002]
    with pytest.raises(EngineError, match="all ports are allocated"):
        allocator.allocate(tcp("0.0.0.0", first=8000, last=8002))


def test_ports_reserved_by_the_kernel_are_not_given_unasked(allocator: PortAllocator) -> None:
    allocator._reserved = {40000, 40001}
    assert take(allocator, tcp("0.0.0.0")) == 40002
    assert take(allocator, tcp("0.0.0.0", first=40000)) == 40000


def test_a_program_has_the_port() -> None:
    with socket.socket() as program:
        program.bind((OWN, 0))
        program.listen()
        port = program.getsockname()[1]
        allocator = PortAllocator()
        reason = rf"^failed to bind host port 127\.83\.12\.9:{port}/tcp: address already in use$"
        with pytest.raises(EngineError, match=reason):
            allocator.allocate(tcp(OWN, first=port))
    publications, sockets = allocator.allocate(tcp(OWN, first=port))  # nothing was left allocated
    sockets[0].close()
    assert publications[0].host_port == port


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_held_port_is_nobody_elses_and_refuses(protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with ports.hold(OWN, 0, protocol) as held, socket.socket(socket.AF_INET, kind) as other:
        if protocol == "tcp":
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with socket.socket() as client:
                assert client.connect_ex(held.getsockname()) == 111  # ECONNREFUSED
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())


def test_held_udp_port_takes_nothing_in() -> None:
    with ports.hold(OWN, 0, "udp") as held, socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"word", held.getsockname())
        held.setblocking(False)
        with pytest.raises(BlockingIOError):
            held.recv(10)


def test_port_is_held_in_spite_of_connections_in_time_wait() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers have it
        server.bind((OWN, 0))
        server.listen()
        address = server.getsockname()
        with socket.create_connection(address) as client:
            peer, _ = server.accept()
            peer.close()  # the side that closes first keeps TIME_WAIT
            assert client.recv(1) == b""
    with ports.hold(OWN, address[1], "tcp") as held, socket.socket() as other:
        assert held.getsockname() == address
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(address)


def wanted(host_config: dict[str, Any], *exposed: str, default: str = "0.0.0.0") -> list[Request]:
    return requests(host_config, exposed, default, ipv6=True)


def test_requests_of_a_host_config() -> None:
    found = wanted(
        {
            "PortBindings": {
                "90/udp": [{"HostIp": "", "HostPort": ""}],
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostPort": "8000-8010"}],
            }
        }
    )
    assert found == [
        Request(("127.0.0.1",), 8080, 8080, "tcp", 80),
        Request(("0.0.0.0", "::"), 8000, 8010, "tcp", 80),
        Request(("0.0.0.0", "::"), 0, 0, "udp", 90),
    ]


def test_publish_all_adds_exposed_ports_without_a_binding() -> None:
    host_config = {"PublishAllPorts": True, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}
    found = wanted(host_config, "80/tcp", "443/tcp")
    assert [(r.container_port, r.first) for r in found] == [(80, 8080), (443, 0)]
    assert wanted({"PortBindings": None}, "443/tcp") == []


def test_default_address_for_bindings_without_one() -> None:
    (request,) = wanted({"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}, default="192.0.2.1")
    assert request.host_ips == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("key", "binding", "message"),
    [
        ("x/tcp", {}, "invalid containerPort: x"),
        ("0/tcp", {}, "invalid containerPort: 0"),
        ("80/icmp", {}, "invalid proto: icmp"),
        ("80/tcp", {"HostPort": "99999"}, "invalid port specification: 99999"),
        ("80/tcp", {"HostPort": "9-8"}, "invalid port specification: 9-8"),
        ("80/tcp", {"HostIp": "here"}, "invalid IP address: here"),
    ],
)
def test_what_cannot_be_published(key: str, binding: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{message}$"):
        wanted({"PortBindings": {key: [binding]}})


def test_bindings_that_differ_in_the_address_get_one_port() -> None:
    (made,) = wanted({"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}, {"HostIp": "::1"}]}})
    assert made == Request(("127.0.0.1", "::1"), 0, 0, "tcp", 80)
    two = {"PortBindings": {"80/tcp": [{"HostPort": "8080"}, {"HostPort": "8081"}]}}
    assert [r.first for r in wanted(two)] == [8080, 8081]


def test_an_ipv4_address_written_as_ipv6_is_ipv4() -> None:
    (made,) = wanted({"PortBindings": {"80/tcp": [{"HostIp": "::ffff:127.0.0.1", "HostPort": "8080"}]}})
    assert made.host_ips == ("127.0.0.1",)

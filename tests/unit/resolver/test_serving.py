"""A container's sockets: datagrams, connections, and other servers, all on loopback."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from runtime.resolver import forwarding, message, serving
from runtime.resolver.records import Records
from tests.unit.resolver.dnskit import Served, query, read, record, sandbox, serve

Reply = Callable[[bytes], bytes | None]


class Upstream:
    """Another server: `reply` makes its answers, None for none. TCP and UDP on one port."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[tuple[str, bytes]] = []
        self.forged: list[bytes] = []  # sent before the answer
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for work in (self._datagrams, self._connections):
            threading.Thread(target=work, daemon=True).start()

    @property
    def server(self) -> list[object]:
        return ["127.0.0.1", True, self.port]

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, client = self._udp.recvfrom(65536)
                if not raw:
                    return  # closed
                self.asked.append(("udp", raw))
                for forged in self.forged:
                    self._udp.sendto(forged, client)
                if (answer := self.reply(raw)) is not None:
                    self._udp.sendto(answer, client)

    def _connections(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._tcp.accept()
                with client, contextlib.suppress(OSError):
                    raw = client.recv(65536)[2:]
                    self.asked.append(("tcp", raw))
                    if (answer := self.reply(raw)) is not None:
                        data = len(answer).to_bytes(2, "big") + answer
                        client.sendall(data[:1])
                        client.sendall(data[1:])

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@pytest.fixture
def upstream() -> Iterator[Callable[[Reply], Upstream]]:
    made: list[Upstream] = []

    def make(reply: Reply) -> Upstream:
        made.append(Upstream(reply))
        return made[-1]

    yield make
    for server in made:
        server.close()


def address(raw: bytes) -> bytes:
    """Every name is 192.0.2.1."""
    return message.records(message.parse(raw), [message.resource(1, 5, bytes((192, 0, 2, 1)))], limit=512)


def failing(code: int) -> Reply:
    return lambda raw: message.failure(message.parse(raw), code)


def silent(raw: bytes) -> None:
    return None


def dead_port() -> list[object]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return ["127.0.0.1", True, sock.getsockname()[1]]


@contextlib.contextmanager
def served(*servers: list[object], **fields: object) -> Iterator[Served]:
    known = Records()
    known.add(record("e", ["web"], "172.18.0.2"))
    with serve(known, sandbox("n1", servers=list(servers), **fields)) as found:
        yield found


def test_names_by_datagram_and_by_connection() -> None:
    with served() as here:
        for _ in range(2):
            assert read(here.ask(query("web"))).addresses == ["172.18.0.2"]
        with here.connect() as client:
            for _ in range(3):
                assert read(here.ask_tcp(client, query("web"))).addresses == ["172.18.0.2"]


def test_queries_at_once_on_a_connection_are_answered_in_order() -> None:
    with served() as here, here.connect() as client:
        raw = [query("web", id=i) for i in range(100)]
        client.send(b"".join(len(q).to_bytes(2, "big") + q for q in raw))
        data = b""
        while len(data) < 100 * (2 + len(raw[0]) + 16):
            data += here.wait(client)
        ids = [data[i + 2 : i + 4] for i in range(0, len(data), 2 + len(raw[0]) + 16)]
        assert ids == [q[:2] for q in raw]


def test_a_connection_brings_so_many_queries_and_no_more() -> None:
    with served() as here, here.connect() as client:
        for _ in range(128):
            here.ask_tcp(client, query("web"))
        assert here.wait(client) == b""


@pytest.mark.parametrize("data", [b"\0\0", b"\xff\xff", b"\0\3abc"])
def test_noise_ends_a_connection(data: bytes) -> None:
    with served() as here, here.connect() as client:
        client.send(data)
        assert here.wait(client) == b""


def test_a_client_that_half_closes_gets_its_answer(upstream: Callable[[Reply], Upstream]) -> None:
    with served(upstream(address).server) as here, here.connect() as client:
        raw = query("out.side")
        client.send(len(raw).to_bytes(2, "big") + raw)
        client.shutdown(socket.SHUT_WR)
        assert read(here.wait(client)[2:]).addresses == ["192.0.2.1"]


def test_one_connection_too_many_ends_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_CLIENTS", 2)
    with served() as here, here.connect() as one, here.connect() as two, here.connect() as three:
        assert here.wait(one) == b""
        for client in (two, three):
            assert read(here.ask_tcp(client, query("web"))).addresses == ["172.18.0.2"]


def test_idle_connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.1)
    with served() as here, here.connect() as client:
        assert here.wait(client) == b""


@pytest.mark.parametrize("by_tcp", [False, True])
def test_other_names_are_asked_elsewhere(upstream: Callable[[Reply], Upstream], by_tcp: bool) -> None:
    server = upstream(address)
    raw = query("out.side", size=1232)
    with served(server.server) as here, here.connect() as client:
        answer = here.ask_tcp(client, raw) if by_tcp else here.ask(raw)
    assert read(answer).addresses == ["192.0.2.1"] and read(answer).records[0][1] == 5
    assert server.asked == [("tcp" if by_tcp else "udp", raw)]  # byte for byte


@pytest.mark.parametrize("code", [message.SERVFAIL, message.REFUSED])
def test_the_next_server_is_asked_when_one_fails(upstream: Callable[[Reply], Upstream], code: int) -> None:
    with served(dead_port(), upstream(failing(code)).server, upstream(address).server) as here:
        assert read(here.ask(query("out.side"))).addresses == ["192.0.2.1"]
        with here.connect() as client:
            assert read(here.ask_tcp(client, query("out.side"))).addresses == ["192.0.2.1"]


def test_the_next_server_is_asked_when_one_is_silent(
    upstream: Callable[[Reply], Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "SECONDS", 0.1)
    mute = upstream(silent)
    with served(mute.server, upstream(address).server) as here:
        assert read(here.ask(query("out.side"))).addresses == ["192.0.2.1"]
    assert mute.asked
    with served(mute.server) as here:
        assert read(here.ask(query("out.side"))).code == message.SERVFAIL


def test_no_such_domain_is_an_answer(upstream: Callable[[Reply], Upstream]) -> None:
    second = upstream(address)
    with served(upstream(failing(message.NXDOMAIN)).server, second.server) as here:
        assert read(here.ask(query("out.side"))).code == message.NXDOMAIN
    assert not second.asked


def test_without_servers_it_fails() -> None:
    for servers in ([], [dead_port()]):
        with served(*servers) as here:
            answer = read(here.ask(query("out.side")))
            assert answer.code == message.SERVFAIL and not answer.flags & 0x0080


def test_internal_networks_ask_nobody_from_the_host(upstream: Callable[[Reply], Upstream]) -> None:
    server = upstream(address)
    with served(server.server, forward=False) as here:
        assert read(here.ask(query("secret.data.example"))).code == message.SERVFAIL
    assert not server.asked


def test_truncated_answers_are_handed_on_and_asked_again_by_tcp(
    upstream: Callable[[Reply], Upstream],
) -> None:
    many = [message.resource(1, 5, bytes((192, 0, 2, i))) for i in range(100)]
    asked = iter((512, 65535))
    server = upstream(lambda raw: message.records(message.parse(raw), many, limit=next(asked)))
    with served(server.server) as here, here.connect() as client:
        assert read(here.ask(query("out.side"))).flags & 0x0200
        assert len(read(here.ask_tcp(client, query("out.side"))).records) == 100


def test_somebody_elses_answer_is_not_heard(upstream: Callable[[Reply], Upstream]) -> None:
    server = upstream(address)
    raw = query("out.side")
    server.forged = [b"xx" + address(raw)[2:], address(query("other.side")), raw, b"", address(raw)[:11]]
    with served(server.server) as here:
        assert here.ask(raw) == address(raw)


def test_so_many_questions_at_once_and_then_some_wait(
    upstream: Callable[[Reply], Upstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "MOST_ASKED", 2)
    let_go = threading.Event()

    def slow(raw: bytes) -> bytes:
        let_go.wait(20)
        return address(raw)

    server = upstream(slow)
    with served(server.server) as here, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(5)]
        for i, client in enumerate(clients):
            client.setblocking(False)
            client.connect(here.udp)
            client.send(query("out.side", id=i))
        assert read(here.wait(clients[4])).code == message.REFUSED
        let_go.set()
        for i, client in enumerate(clients[:4]):
            answer = read(here.wait(client))
            assert (answer.id, answer.addresses) == (i, ["192.0.2.1"])


def test_all_that_wait_may_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "SECONDS", 0.3)
    with socket.socket(type=socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        with served(["127.0.0.1", True, mute.getsockname()[1]]) as here:
            got: list[bytes] = []
            view, lane = here.sandbox.view, here.sandbox._lane
            for _ in range(2048):
                asked = message.parse(query("out.side"))
                here.forwarder.ask(lane, asked, view.servers(), got.append, tcp=False)
            here.turn_until(lambda: len(got) == 2048)
            assert not lane.asked and not lane.waiting


def test_the_end_of_the_container_is_seen_and_everything_let_go(
    upstream: Callable[[Reply], Upstream],
) -> None:
    server = upstream(silent)
    with served(server.server) as here, here.connect() as client:
        raw = query("out.side")
        client.send(len(raw).to_bytes(2, "big") + raw)
        lane = here.sandbox._lane
        here.turn_until(lambda: lane.asked)
        here.end()
        here.turn_until(lambda: here.ended)
        assert here.ended == [here.sandbox]
        during = len(os.listdir("/proc/self/fd"))
        here.sandbox.close()
        # UDP, TCP, what stands for the process, the client's connection, the question's
        assert len(os.listdir("/proc/self/fd")) == during - 5
        assert not lane.asked
        assert client.recv(10) == b""

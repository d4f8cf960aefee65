"""The relay of host ports: real sockets on the loopback, the relay's loop in a thread."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.shim import holds, relay
from runtime.shim.loop import Loop

TIMEOUT = 60.0  # only reached when a test fails
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def bound(kind: int, address: str = "127.0.0.1", *, listening: bool = True) -> socket.socket:
    sock = socket.socket(relay.family_of(address), kind)
    sock.settimeout(TIMEOUT)
    sock.bind((address, 0))
    if kind == STREAM and listening:
        sock.listen(8)
    return sock


def has_ipv6() -> bool:
    try:
        bound(STREAM, "::1").close()
    except OSError:
        return False
    return True


class Threaded(relay.Relay):
    """Ends when told."""

    stop = False

    def run(self) -> None:
        while not self.stop:
            self.turn()


@contextlib.contextmanager
def running(port: socket.socket, target: socket.socket) -> Iterator[Threaded]:
    made = Threaded({os.dup(port.fileno()): target.getsockname()[:2]})
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.stop = True
        thread.join()


@pytest.mark.parametrize("way", [relay.Way, relay.SplicedWay])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_stream_both_ways_with_each_end_by_itself(
    host: str, way: type[relay.Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SplicedWay", way)  # what is not TCP is copied
    if host == "::1" and not has_ipv6():
        pytest.skip("no IPv6 here")
    data = os.urandom(3 << 20)
    with (
        bound(STREAM, host) as port,
        bound(STREAM) as server,
        running(port, server),
        socket.create_connection(port.getsockname()[:2], TIMEOUT) as client,
    ):
        peer, _ = server.accept()
        peer.settimeout(TIMEOUT)

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        with peer:
            assert b"".join(iter(lambda: peer.recv(1 << 16), b"")) == data
            peer.sendall(data[::-1])  # after the client's end
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")) == data[::-1]
        thread.join()


def test_container_that_refuses_is_a_reset() -> None:
    with (
        bound(STREAM) as port,
        bound(STREAM, listening=False) as nobody,
        running(port, nobody),
        pytest.raises(ConnectionResetError),  # at connect already, if the relay is quick
        socket.create_connection(port.getsockname(), TIMEOUT) as client,
    ):
        client.recv(1)


def test_client_that_leaves_ends_the_other_side() -> None:
    with bound(STREAM) as port, bound(STREAM) as server, running(port, server) as made:
        client = socket.create_connection(port.getsockname(), TIMEOUT)
        peer, _ = server.accept()
        peer.settimeout(TIMEOUT)
        client.close()
        with peer:
            assert peer.recv(1) == b""
        wait_until(lambda: not made.active)
        assert len(made.handlers) == 1


def test_datagrams_of_two_clients_are_kept_apart() -> None:
    with bound(DATAGRAM, "0.0.0.0") as port, bound(DATAGRAM) as server:
        holds._listen(port.fileno())
        with running(port, server), bound(DATAGRAM) as one, bound(DATAGRAM) as two:
            to = ("127.0.0.2", port.getsockname()[1])
            for client, word in ((one, b"one"), (two, b"two")):
                client.connect(to)  # answers from another address would not be received
                client.send(word)
                data, seen = server.recvfrom(100)
                server.sendto(b"got " + data, seen)
                assert client.recv(100) == b"got " + word


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


class Shim:
    """The part of the shim that the holds need, driven by the test."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.folder = folder
        self.holds = holds.Holds(self.loop, str(folder))

    def turn_until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT
        while not true():
            assert time.monotonic() < end, "it did not come"
            self.loop.turn(0.05)


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    made = Shim(tmp_path)
    try:
        yield made
    finally:
        made.holds.close()


def relays(port: tuple[str, str, int], server: socket.socket) -> list[list[object]]:
    return [[*port, *server.getsockname()[:2]]]


def test_first_client_starts_one_process_and_its_end_is_noticed(shim: Shim) -> None:
    port = bound(STREAM, listening=False)
    name = holds.name_of(port.fileno())
    assert name == ("tcp", "127.0.0.1", port.getsockname()[1])
    address = port.getsockname()
    with bound(STREAM) as server:
        (shim.folder / holds.FILE).write_text(json.dumps(relays(name, server)))
        shim.holds.add([port.detach()], relayed=True)
        assert not shim.holds._relay
        for _ in range(2):
            with socket.create_connection(address, TIMEOUT) as client:
                shim.turn_until(lambda: bool(shim.holds._relay))
                peer, _ = server.accept()
                with peer:
                    peer.sendall(b"hello")
                    assert client.recv(5) == b"hello"
            first = shim.holds._relay
            os.kill(first, 9)
            os.waitpid(first, 0)
            assert not shim.holds.reaped(first + 1) and shim.holds.reaped(first)


def test_relay_has_none_of_the_shims_descriptors(shim: Shim) -> None:
    port = bound(STREAM, listening=False)
    address, name = port.getsockname(), holds.name_of(port.fileno())
    reader, writer = os.pipe()
    with bound(STREAM) as server:
        shim.holds.change([port.detach()], relays(name, server), [])
        with socket.create_connection(address, TIMEOUT):
            shim.turn_until(lambda: bool(shim.holds._relay))
            server.accept()[0].close()
            os.close(writer)
            assert os.read(reader, 1) == b""  # nobody else has the other end
            os.close(reader)


def test_ports_are_let_go_and_relays_follow(shim: Shim) -> None:
    ports = [bound(STREAM, listening=False) for _ in range(2)]
    names = [holds.name_of(p.fileno()) for p in ports]
    shim.holds.add([p.detach() for p in ports], relayed=False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(names[0][1:], TIMEOUT)  # held, not listening
    with bound(STREAM) as server:
        # what is no socket does no harm
        nothing = os.open(os.devnull, os.O_RDONLY)
        shim.holds.change([nothing], relays(names[0], server), [list(names[1])])
        with socket.socket() as again:
            again.bind(names[1][1:])
        with pytest.raises(OSError), socket.socket() as taken:
            taken.bind(names[0][1:])
        shim.holds.change([], [], [])
    shim.holds.close()
    with socket.socket() as again:
        again.bind(names[0][1:])


def test_where_each_port_leads() -> None:
    with bound(STREAM) as one, bound(DATAGRAM, "0.0.0.0") as two, bound(STREAM) as nowhere:
        names = [holds.name_of(sock.fileno()) for sock in (one, two)]
        anywhere = (names[0][0], "0.0.0.0", names[0][2])
        ways = [[*anywhere, "10.0.0.1", 80], [*names[1], "10.0.0.2", 53]]
        assert holds.targets([one.fileno(), two.fileno(), nowhere.fileno()], ways) == {
            one.fileno(): ("10.0.0.1", 80),
            two.fileno(): ("10.0.0.2", 53),
        }

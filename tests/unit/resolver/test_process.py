"""What the resolver process does for the daemon and for starters, by real sockets, without a daemon."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.resolver import message
from runtime.resolver.process import VERSION, Process
from runtime.shim import wire
from runtime.shim.loop import Loop
from tests.unit.resolver.dnskit import query, read, record, sandbox


class World:
    """A process, a daemon's connection to it, and what it is told."""

    def __init__(self, folder: str) -> None:
        self.loop = Loop()
        self.path = f"{folder}/resolver.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self.path)
        listener.listen(8)
        self.process = Process(self.loop, listener, 64)
        self.numbers = iter(range(1, 1000))
        self.lives: list[int] = []
        self.sockets: list[socket.socket] = [listener]

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self.path)
        sock.setblocking(False)
        self.sockets.append(sock)
        return sock

    def tell(self, sock: socket.socket, op: str, fds: list[int] | None = None, **fields: Any) -> Any:
        """A request; the answer, and what came before it."""
        number = next(self.numbers)
        wire.send(sock, {"op": op, "id": number, **fields}, fds)
        events = []
        for _ in range(400):
            self.loop.turn(0.05)
            with contextlib.suppress(BlockingIOError):
                while True:
                    answer, got = wire.receive(sock)
                    if answer.get("id") == number:
                        return answer, events
                    events.append((answer, got))
        raise AssertionError("no answer")

    def open(self, sock: socket.socket, document: dict[str, Any]) -> tuple[str, int]:
        """A container; where its resolver listens."""
        udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        for each in (udp, tcp):
            each.bind(("127.0.0.1", 0))
        tcp.listen(1)
        alive, life = os.pipe()
        self.lives.append(life)
        address: tuple[str, int] = udp.getsockname()
        self.tell(sock, "open", [udp.fileno(), tcp.fileno(), alive], sandbox=document)
        for each in (udp, tcp):
            each.close()
        os.close(alive)
        return address

    def code(self, address: tuple[str, int], name: str) -> int | None:
        """The response code for a name, None without an answer."""
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect(address)
            client.setblocking(False)
            try:
                client.send(query(name))
                for _ in range(40):
                    self.loop.turn(0.02)
                    with contextlib.suppress(BlockingIOError):
                        return read(client.recv(512)).code
            except ConnectionRefusedError:
                pass
        return None


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(str(tmp_path_factory.mktemp("r")))
    yield made
    made.process.carry_out({"op": "reset", "records": [], "sandboxes": []}, [])
    for sock in made.sockets:
        sock.close()
    for life in made.lives:
        with contextlib.suppress(OSError):
            os.close(life)


WEB = record("e1", ["web"], "172.18.0.2")


def test_a_daemon_is_told_who_is_there_and_gets_the_listener(world: World) -> None:
    daemon = world.connect()
    answer, events = world.tell(daemon, "hello")
    assert answer["version"] == VERSION and answer["pid"] == os.getpid()
    (event, fds) = events[0]
    assert event == {"event": "listener"}
    with socket.socket(fileno=fds[0]) as listener:
        assert listener.getsockname() == world.path


def test_records_and_sandboxes_come_and_go(world: World) -> None:
    daemon, starter = world.connect(), world.connect()
    address = world.open(starter, sandbox("n1", container="c1"))
    assert world.code(address, "web") == message.SERVFAIL
    world.tell(daemon, "add", record=WEB)
    assert world.code(address, "web") == message.NOERROR
    world.tell(daemon, "update", sandbox=sandbox("n2", container="c1"))
    world.tell(daemon, "update", sandbox=sandbox("n2", container="unknown"))
    assert world.code(address, "web") == message.SERVFAIL
    world.tell(daemon, "update", sandbox=sandbox("n1", container="c1"))
    world.tell(daemon, "remove", endpoint="e1")
    assert world.code(address, "web") == message.SERVFAIL
    assert world.tell(daemon, "state")[0]["sandboxes"] == ["c1"]
    world.tell(daemon, "gone", container="c1")
    world.tell(daemon, "gone", container="c1")
    assert world.tell(daemon, "state")[0]["sandboxes"] == []
    assert world.code(address, "web") is None


def test_a_reset_says_all_there_is(world: World) -> None:
    daemon = world.connect()
    world.tell(daemon, "add", record=record("e0", ["old"], "172.18.0.9"))
    kept, dropped = (world.open(daemon, sandbox("n1", container=name)) for name in ("kept", "dropped"))
    documents = [sandbox("n1", container="kept"), sandbox("n1", container="new")]
    answer, _ = world.tell(daemon, "reset", records=[WEB], sandboxes=documents)
    assert answer["missing"] == ["new"]
    assert world.code(kept, "web") == message.NOERROR and world.code(kept, "old") == message.SERVFAIL
    assert world.code(dropped, "web") is None


def test_a_container_that_is_opened_again_has_the_new_sockets(world: World) -> None:
    daemon = world.connect()
    world.tell(daemon, "add", record=WEB)
    old = world.open(daemon, sandbox("n1"))
    new = world.open(daemon, sandbox("n1"))
    assert world.code(old, "web") is None and world.code(new, "web") == message.NOERROR


def test_the_end_of_a_container_takes_its_names_along(world: World) -> None:
    daemon = world.connect()
    own = {**record("own-n1", ["me"], "172.18.0.5")}
    for entry in (WEB, own):
        world.tell(daemon, "add", record=entry)
    first = world.open(daemon, sandbox("n1", container="first"))
    other = world.open(daemon, {**sandbox("n1", container="other"), "endpoints": []})
    world.tell(daemon, "update", sandbox={**sandbox("n1", container="other"), "endpoints": [
        {"id": "e2", "network": "n1", "links": {}}
    ]})  # fmt: skip
    assert world.code(other, "me") == world.code(first, "web") == message.NOERROR
    os.close(world.lives[0])
    for _ in range(200):
        world.loop.turn(0.02)
        if world.code(first, "web") is None:
            break
    assert world.code(other, "me") == message.SERVFAIL and world.code(other, "web") == message.NOERROR


@pytest.mark.parametrize(
    "told", [{"op": "unknown"}, {"op": "open", "sandbox": sandbox()}, {"op": "add", "record": {}}, {"op": 7}]
)
def test_nonsense_is_refused_and_does_no_harm(world: World, told: dict[str, Any]) -> None:
    daemon = world.connect()
    reader, writer = os.pipe()
    answer, _ = world.tell(
        daemon, told["op"], [reader, writer], **{k: v for k, v in told.items() if k != "op"}
    )
    assert answer["error"] and answer["kind"]
    os.close(reader)
    os.close(writer)
    assert world.tell(daemon, "state")[0]["sandboxes"] == []


def test_it_ends_when_neither_a_daemon_nor_a_container_is_there(world: World) -> None:
    daemon = world.connect()
    world.tell(daemon, "hello")
    world.open(daemon, sandbox("n1"))
    daemon.close()
    world.loop.turn(0.1)
    assert not world.loop._stopped
    os.close(world.lives.pop())
    world.loop.run()  # returns

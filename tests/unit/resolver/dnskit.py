"""Queries as clients send them, answers as clients read them; and a resolver without a daemon."""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from runtime.resolver import message
from runtime.resolver.answers import View
from runtime.resolver.forwarding import Forwarder
from runtime.resolver.records import Records
from runtime.resolver.serving import Sandbox
from runtime.shim.loop import Loop

RD = 0x0100


def query(name: str, kind: int = message.A, *, id: int = 0x1234, flags: int = RD, size: int = 0) -> bytes:
    """A query for a name, with an OPT record if a `size` of datagrams is given."""
    labels = b"".join(bytes((len(label),)) + label for label in name.encode().split(b".") if label)
    raw = struct.pack("!HHHHHH", id, flags, 1, 0, 0, 1 if size else 0)
    raw += labels + b"\0" + struct.pack("!HH", kind, 1)
    return raw + (b"\0" + struct.pack("!HHIH", message.OPT, size, 0, 0) if size else b"")


class Answer(NamedTuple):
    """What a client reads: records as (type, TTL, data)."""

    id: int
    flags: int
    question: bytes
    records: list[tuple[int, int, bytes]]

    @property
    def code(self) -> int:
        return self.flags & 15

    @property
    def addresses(self) -> list[str]:
        families = {message.A: socket.AF_INET, message.AAAA: socket.AF_INET6}
        return [socket.inet_ntop(families[kind], data) for kind, _, data in self.records]


def read(raw: bytes | None) -> Answer:
    """An answer of the resolver's own."""
    assert raw is not None
    id, flags, questions, answers, authorities, additional = struct.unpack_from("!HHHHHH", raw)
    assert (authorities, additional) == (0, 0)
    at = 12
    if questions:
        at = raw.index(b"\0", at) + 5
    question = raw[12:at]
    records = []
    for _ in range(answers):
        assert raw[at : at + 2] == b"\xc0\x0c"
        kind, family, ttl, length = struct.unpack_from("!HHIH", raw, at + 2)
        assert family == 1
        records.append((kind, ttl, raw[at + 12 : at + 12 + length]))
        at += 12 + length
    assert at == len(raw)
    return Answer(id, flags, question, records)


def record(
    endpoint: str, names: list[str], v4: str = "", v6: str = "", network: str = "n1"
) -> dict[str, Any]:
    return {
        "endpoint": endpoint, "network": network, "network_name": network + "-name", "names": names,
        "v4": v4, "v6": v6,
    }  # fmt: skip


def sandbox(*networks: str, servers: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    endpoints = [{"id": f"own-{n}", "network": n, "links": fields.get("links") or {}} for n in networks]
    return {
        "container": fields.get("container", "c"), "endpoints": endpoints, "servers": servers or [],
        "forward": fields.get("forward", True), "ndots": fields.get("ndots", False),
    }  # fmt: skip


class Served:
    """One container's resolver on loopback; the container is a pipe that `end` closes."""

    def __init__(self, records: Records, document: dict[str, Any], most: int = 4096) -> None:
        self.loop = Loop()
        self.ended: list[Sandbox] = []
        udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(16)
        self.udp, self.tcp = udp.getsockname(), tcp.getsockname()
        alive, self._life = os.pipe()
        self.forwarder = Forwarder(self.loop, most)
        self.sandbox = Sandbox(
            self.loop,
            View(records, document),
            self.forwarder,
            [udp.detach(), tcp.detach(), alive],
            self.ended.append,
        )

    def end(self) -> None:
        os.close(self._life)
        self._life = -1

    def turn_until(self, done: Callable[[], Any], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, "in vain"
            self.loop.turn(0.05)

    def ask(self, raw: bytes) -> bytes:
        """By UDP."""
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(self.udp)
            client.send(raw)
            return self.wait(client)

    def wait(self, client: socket.socket) -> bytes:
        """What comes next on a non-blocking socket."""
        got: list[bytes] = []

        def arrived() -> list[bytes]:
            with contextlib.suppress(BlockingIOError):
                got.append(client.recv(65536))
            return got

        self.turn_until(arrived)
        return got[0]

    def connect(self) -> socket.socket:
        """A client by TCP."""
        client = socket.create_connection(self.tcp)
        client.setblocking(False)
        return client

    def ask_tcp(self, client: socket.socket, raw: bytes) -> bytes:
        client.send(len(raw).to_bytes(2, "big") + raw)
        data = self.wait(client)
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            data += self.wait(client)
        return data[2:]


@contextlib.contextmanager
def serve(records: Records, document: dict[str, Any], most: int = 4096) -> Iterator[Served]:
    served = Served(records, document, most)
    try:
        yield served
    finally:
        served.sandbox.close()
        if served._life >= 0:
            served.end()

"""DNS as bytes: queries from where a container is, and a server that containers' resolvers ask."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conformance import netns
from conformance.engine import Engine

A, PTR, MX, AAAA = 1, 12, 15, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
RESOLVER = "127.0.0.11"


@dataclass
class Answer:
    """What came: response code, flags, and records as (type, TTL, address or name)."""

    code: int
    flags: int
    records: list[tuple[int, int, str]]

    @property
    def values(self) -> list[str]:
        return sorted(value for _, _, value in self.records)


def _query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes((len(label),)) + label for label in name.encode().split(b".") if label)
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def ask(engine: Engine, container: str, name: str, kind: int = A, *, tcp: bool = False) -> Answer:
    """What a program in the container would hear. Raises OSError when that is nothing for 20 seconds."""
    pid = int(engine.state(container)["Pid"])
    family = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    raw = _query(name, kind)
    with netns.inside(lambda: socket.socket(socket.AF_INET, family), pid) as sock:
        sock.settimeout(20)
        sock.connect((RESOLVER, 53))
        if not tcp:
            sock.send(raw)
            return _read(sock.recv(65536))
        sock.sendall(len(raw).to_bytes(2, "big") + raw)
        with sock.makefile("rb") as file:
            return _read(file.read(int.from_bytes(file.read(2), "big")))


def _read(raw: bytes) -> Answer:
    flags, _, answers = struct.unpack_from("!HHH", raw, 2)
    _, at = _name(raw, 12)
    at += 4
    records = []
    for _ in range(answers):
        _, at = _name(raw, at)
        kind, _, ttl, length = struct.unpack_from("!HHIH", raw, at)
        at += 10
        if kind in (A, AAAA):
            family = socket.AF_INET if kind == A else socket.AF_INET6
            value = socket.inet_ntop(family, raw[at : at + length])
        else:
            value = _name(raw, at)[0]
        records.append((kind, ttl, value))
        at += length
    return Answer(flags & 15, flags, records)


def _name(raw: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    while raw[at]:
        if raw[at] >= 0xC0:
            rest, _ = _name(raw, int.from_bytes(raw[at : at + 2], "big") & 0x3FFF)
            return ".".join([*labels, rest]), at + 2
        labels.append(raw[at + 1 : at + 1 + raw[at]].decode())
        at += 1 + raw[at]
    return ".".join(labels), at + 1


class Server:
    """Answers queries over UDP and TCP: `answer` gets a query's bytes and "udp" or "tcp"."""

    def __init__(
        self, datagrams: socket.socket, connections: socket.socket, answer: Callable[[bytes, str], bytes]
    ) -> None:
        """The sockets are bound, the second one listens; they are the server's from now on."""
        self._datagrams, self._connections, self._answer = datagrams, connections, answer
        self._threads = [threading.Thread(target=work) for work in (self._by_udp, self._by_tcp)]
        for thread in self._threads:
            thread.start()

    def _by_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, client = self._datagrams.recvfrom(4096)
                if not raw:
                    return
                self._datagrams.sendto(self._answer(raw, "udp"), client)

    def _by_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._connections.accept()
                with client, contextlib.suppress(OSError):
                    answer = self._answer(client.recv(4096)[2:], "tcp")
                    client.sendall(len(answer).to_bytes(2, "big") + answer)
                    client.recv(1)

    def close(self) -> None:
        for sock in (self._datagrams, self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()


class Zone:
    """Knows one name, and that there is no other. `asked` are the names, by UDP and TCP."""

    def __init__(self, name: str, value: str) -> None:
        self.asked: list[tuple[str, str]] = []
        self._known = name, socket.inet_aton(value)

    def answer(self, raw: bytes, by: str) -> bytes:
        name, at = _name(raw, 12)
        kind = int.from_bytes(raw[at : at + 2], "big")
        self.asked.append((by, name))
        found = name == self._known[0] and kind == A
        code = NOERROR if name == self._known[0] else NXDOMAIN
        head = struct.pack("!HHHHH", 0x8180 | code, 1, int(found), 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 5, 4) + self._known[1]
        return raw[:2] + head + raw[12 : at + 4] + (record if found else b"")


@contextlib.contextmanager
def serving(address: str, name: str, value: str) -> Iterator[Zone]:
    """A server while the test runs, at an address of the engine's network namespace, port 53."""
    zone = Zone(name, value)
    datagrams, connections = (
        netns.listener(address, kind, 53) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    )
    server = Server(datagrams, connections, zone.answer)
    try:
        yield zone
    finally:
        server.close()

"""A shim's loop turned by hand, and servers for the drivers to talk to."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runtime.shim.loop import Loop

DEADLINE = 10.0


def turn_until(loop: Loop, done: Callable[[], object]) -> None:
    """Turn the loop until `done`; fails after some seconds."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, "nothing happened"
        loop.turn(0.02)


class Server:
    """One that keeps what it gets; of streams it takes one connection at a time."""

    def __init__(self, network: str, folder: Path) -> None:
        self.network = network
        self.stream = network in ("tcp", "unix")
        family = socket.AF_UNIX if network.startswith("unix") else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM if self.stream else socket.SOCK_DGRAM)
        if family == socket.AF_UNIX:
            self.address = str(folder / "server.sock")
            self.sock.bind(self.address)
        else:
            self.sock.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        if self.stream:
            self.sock.listen(8)
        self.sock.setblocking(False)
        self.peer: socket.socket | None = None
        self.got: list[bytes] = []

    @property
    def options(self) -> dict[str, Any]:
        return {"network": self.network, "address": self.address, "wait": 0.01}

    @property
    def text(self) -> bytes:
        return b"".join(self.got)

    def poll(self) -> "Server":
        """Take what is there."""
        with contextlib.suppress(BlockingIOError):
            if self.stream and self.peer is None:
                self.peer, _ = self.sock.accept()
                self.peer.setblocking(False)
            sock = self.peer or self.sock
            while data := sock.recv(1 << 20):
                self.got.append(data)
        return self

    def has(self, text: bytes) -> bool:
        return text in self.poll().text

    def hang_up(self) -> None:
        """End the connection at hand; the next one is taken."""
        if self.peer is not None:
            self.peer.close()
            self.peer = None

    def close(self) -> None:
        self.hang_up()
        self.sock.close()


@contextlib.contextmanager
def serving(network: str, folder: Path) -> Iterator[Server]:
    server = Server(network, folder)
    try:
        yield server
    finally:
        server.close()


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])

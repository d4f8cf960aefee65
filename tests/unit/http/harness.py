"""A server on a real unix socket with handlers of the tests' own, in a thread of its own."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

from compatd.http import Identity, Server, listen
from compatd.http.call import Handler

IDENTITY = Identity("Docker/99.0 (linux)", builder_version=lambda: "2")


class Running:
    """A running server; ``loop`` is its event loop's thread, ``tls`` for its TCP address."""

    def __init__(
        self,
        handlers: dict[str, Handler],
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="compatd-http-"))
        self.path = str(self.folder / "s.sock")
        self.loop = loop
        self.server = Server("the engine", handlers, identity=IDENTITY)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.listeners = listen(f"unix://{self.path}", group=None) + listen("tcp://127.0.0.1:0")
        self.port: int = self.listeners[1].getsockname()[1]
        self.do(self.server.start(self.listeners, tls))

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def do(self, coroutine: Any) -> Any:
        """Runs a coroutine in the server's loop; its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(self.path)
        return sock

    def exchange(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Everything that comes back for ``data`` until the server closes."""
        with self.connect() as sock:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return receive_all(sock)

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: tuple[str, ...] = ()
    ) -> tuple[str, dict[str, str], bytes]:
        """One request with ``Connection: close``: status line, headers and the body as it came."""
        lines = [f"{method} {target} HTTP/1.1", "Host: docker", "Connection: close", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return parse(self.exchange("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")))

    def stop(self) -> None:
        self.do(self.server.stop(1))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def receive_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while piece := sock.recv(65536):
        data += piece
    return bytes(data)


def receive_until(sock: socket.socket, end: bytes) -> bytes:
    """What comes up to and including ``end``."""
    data = bytearray()
    while not data.endswith(end):
        piece = sock.recv(1)
        assert piece, f"closed after {bytes(data)!r}"
        data += piece
    return bytes(data)


def parse(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body

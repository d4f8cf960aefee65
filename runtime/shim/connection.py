"""The daemon's connections to a shim: requests in, answers and events out, never blocking the shim."""

from __future__ import annotations

import _socket
import os
import socket
import sys
from collections import deque

from runtime.shim import wire
from runtime.shim.loop import HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.shim.loop import Loop

#: A daemon that lets so many packets wait is not reading any more.
_MOST_QUEUED = 10_000


class Connection:
    """One connected socket. `on_message(connection, message, fds)` owns the descriptors."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[Connection, wire.Message, list[int]], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._receiver = wire.Receiver()
        self._on_message = on_message
        self._on_close = on_close
        self._queue: deque[tuple[wire.Packet, int]] = deque()
        self.closed = False
        sock.setblocking(False)
        loop.watch(self._fd, READ, self._ready)

    def send(self, message: wire.Message, fds: list[int] | None = None) -> None:
        """Send, or queue when the socket is full; the descriptors must stay open until then."""
        if self.closed:
            return
        split, memfd = wire.packets(message, fds or [])
        self._queue += [(packet, memfd) for packet in split]
        self._flush()

    def _flush(self) -> None:
        while self._queue:
            packet, memfd = self._queue[0]
            try:
                wire.send_packet(self._sock, packet)
            except BlockingIOError:
                if len(self._queue) > _MOST_QUEUED:
                    self.close()
                else:
                    self._loop.watch(self._fd, READ | WRITE, self._ready)
                return
            except OSError:
                self.close()
                return
            self._queue.popleft()
            if memfd >= 0:
                os.close(memfd)
        self._loop.watch(self._fd, READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self.closed or not events & (READ | HANGUP):
            return
        try:
            got = self._receiver.receive(self._sock)
        except BlockingIOError:
            return
        except (EOFError, OSError) as error:
            if isinstance(error, wire.Broken):
                print(f"shim: {error}", file=sys.stderr)
            self.close()
            return
        if got is not None:
            self._on_message(self, *got)

    def close(self) -> None:
        """Close; queued packets are dropped."""
        if self.closed:
            return
        self.closed = True
        for _, memfd in self._queue:
            if memfd >= 0:
                os.close(memfd)
        self._queue.clear()
        self._receiver.close()
        self._loop.forget(self._fd)
        self._sock.close()
        self._on_close(self)


class Listener:
    """Accepts connections on `shim.sock` in the bundle, which only root may open."""

    def __init__(self, loop: Loop, bundle: str) -> None:
        """Bind. Raises OSError. The working directory is the bundle for a moment: paths may be long."""
        self._loop = loop
        self._path = os.path.join(bundle, "shim.sock")
        self._on_connection: Callable[[socket.socket], None] | None = None
        self._sock = socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK)
        old = os.umask(0o177)
        try:
            os.chdir(bundle)
            _unlink("shim.sock")
            self._sock.bind("shim.sock")
        finally:
            os.umask(old)
            os.chdir("/")
        self._sock.listen(16)

    def start(self, on_connection: Callable[[socket.socket], None]) -> None:
        """Accept from now on; who connected before has been waiting."""
        self._on_connection = on_connection
        self._loop.watch(self._sock.fileno(), READ, self._ready)

    def _ready(self, events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if self._on_connection is not None:
            self._on_connection(sock)

    def close(self) -> None:
        """Stop, and remove the socket file."""
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        _unlink(self._path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

"""A connection to a log server that is never waited for: what cannot be sent now is kept, up to a limit.

A server that is away costs messages, never the container's progress: while there is no connection, new
messages are dropped when the limit is reached. While there is one, a server that takes less than the
container writes holds the container back (`full`), unless the log is lossy (`mode=non-blocking`): then, too,
what is new is dropped, as in Docker Engine's ring buffer.
"""

from __future__ import annotations

import errno
import select
import socket
import sys
import time
from collections import deque

from runtime.logs import dial
from runtime.logs.base import LogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.logs.dial import Place
    from runtime.shim.loop import Loop

_READ, _WRITE, _BROKEN = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
_RATE = 1.5  # each wait before a new attempt is so much longer than the one before it
_LONGEST = 60.0


class Channel:
    """Messages to one server, whole and in order. `queue` holds what is not sent; its head may be in part."""

    def __init__(
        self,
        loop: Loop,
        server: dict[str, Any],
        *,
        limit: int,
        lossy: bool,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        """`server`: network (see `dial.KINDS`), address, wait (s before a second attempt), tries (0: no end),
        tls (see `tls.context`); `limit` in bytes."""
        self._loop = loop
        self._network: str = server["network"]
        self._address: str = server["address"]
        self._stream = dial.KINDS[self._network] == socket.SOCK_STREAM
        self._wait: float = server.get("wait", 0.5)
        self._most: int = server.get("tries", 0)
        self._tls: dict[str, Any] | None = server.get("tls")
        self._timeout: float | None = server.get("timeout")
        self._limit = limit
        self._lossy = lossy
        self._on_room = on_room
        self._sock: socket.socket | None = None
        self._state = "away"  # away, waiting (for a timer or a name), connecting, shaking hands, open
        self._offset = 0
        self._failures = 0
        self._closed = False
        self.queue: deque[bytes] = deque()
        self.pending = 0
        self.dropped = 0
        #: Takes what the server says; without it that is read and forgotten.
        self.received: Callable[[bytes], None] | None = None
        #: Called when a connection is lost, before a new one is made.
        self.lost: Callable[[], None] | None = None
        #: Sends a datagram that is too long in another way. Raises OSError.
        self.oversized: Callable[[socket.socket, bytes], None] | None = None

    def open(self) -> None:
        """Connect and wait for it. Raises LogError."""
        if self._tls is not None:
            from runtime.logs import tls

            tls.context(self._tls)  # what is wrong with the files is told first
            sock = dial.dial(self._network, self._address, self._timeout)
            sock = tls.connect(sock, self._tls, self._address)
        else:
            sock = dial.dial(self._network, self._address, self._timeout)
        self._opened(sock)

    @property
    def full(self) -> bool:
        """Too much is pending, and it will be taken some time."""
        return not self._lossy and self._state == "open" and self.pending > self._limit

    def send(self, data: bytes) -> None:
        """Send a message, keep it or drop it."""
        if self._closed:
            return
        if self.queue and self.pending + len(data) > self._limit and (self._lossy or self._state != "open"):
            self.dropped += 1
            return
        self.queue.append(data)
        self.pending += len(data)
        if self._state == "open" and len(self.queue) == 1:
            self._flush()
        elif self._state == "away":
            self._connect()

    def put_back(self, messages: list[bytes]) -> None:
        """These must be sent again, before all others."""
        self.queue.extendleft(reversed(messages))
        self.pending += sum(map(len, messages))

    def close(self, patience: float = 5.0, until: Callable[[], bool] | None = None) -> None:
        """Close; waits up to `patience` seconds until all is sent, and `until` is true."""
        if self._closed:
            return
        deadline = time.monotonic() + patience
        if self._state == "away" and self.queue:
            self._connect()
        while self._sock is not None and (self.queue or (until is not None and not until())):
            left = deadline - time.monotonic()
            poll = select.poll()
            poll.register(self._sock, _READ | (_WRITE if self.queue else 0))
            ready = poll.poll(left * 1000) if left > 0 else []
            if not ready:
                break
            self._ready(ready[0][1])
        if self.queue:
            self.dropped += len(self.queue)
        if self.dropped:
            print(f"shim: {self.dropped} messages for {self._address} dropped", file=sys.stderr)
        self._closed = True
        self._hang_up()

    # Connecting

    def _connect(self) -> None:
        if dial.is_numeric(self._network, self._address):
            try:
                self._begin(dial.resolve(self._network, self._address))
            except LogError:
                self._failed()
            return
        from runtime.logs import resolver

        self._state = "waiting"
        try:
            resolver.look_up(self._loop, self._network, self._address, self._begin)
        except OSError:
            self._failed()

    def _begin(self, places: list[Place]) -> None:
        if self._closed:
            return
        # One place at a time; of several the next when this one fails.
        if not places:
            self._failed()
            return
        place = places[self._failures % len(places)]
        try:
            sock = dial.open_socket(self._network, place)
        except OSError:
            self._failed()
            return
        sock.setblocking(False)
        problem = sock.connect_ex(place[1])
        if problem not in (0, errno.EINPROGRESS):
            sock.close()
            self._failed()
            return
        self._sock = sock
        if problem:
            self._state = "connecting"
            self._loop.watch(sock.fileno(), _WRITE, self._ready)
        else:
            self._connected(sock)

    def _connected(self, sock: socket.socket) -> None:
        if self._tls is None:
            self._opened(sock)
            return
        from runtime.logs import tls

        self._loop.forget(sock.fileno())
        try:
            self._sock = tls.wrap(sock, self._tls, self._address)
        except (OSError, LogError):
            self._failed()
            return
        self._state = "shaking hands"
        self._shake_hands()

    def _shake_hands(self) -> None:
        from runtime.logs import tls

        sock: Any = self._sock
        try:
            events = tls.shake_hands(sock)
        except OSError:
            self._failed()
            return
        if events:
            self._loop.watch(sock.fileno(), events, self._ready)
        else:
            self._opened(sock)

    def _opened(self, sock: socket.socket) -> None:
        self._sock = sock
        self._state = "open"
        self._offset = 0
        self._watch()
        self._flush()

    def _failed(self) -> None:
        """No connection, or no longer: try again, at once if the last one was of use."""
        was_open = self._state == "open"
        self._hang_up()
        if was_open and self.lost is not None:
            self.lost()
        self._failures += 1
        if self._most and self._failures > self._most:
            self.dropped += len(self.queue)
            self.queue.clear()
            self.pending = 0
        if not self.queue or self._closed:
            self._state = "away"
        else:
            self._state = "waiting"
            wait = 0.0 if self._failures == 1 and was_open else self._wait
            if self._failures > 2:
                wait = min(wait * _RATE ** (self._failures - 2), _LONGEST)
            self._loop.later(wait, self._again)
        self._tell_room()

    def _again(self) -> None:
        if self._state == "waiting" and not self._closed:
            self._connect()

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._offset = 0
        self._state = "away"

    # Sending

    def _watch(self) -> None:
        assert self._sock is not None
        if self.queue:
            self._loop.watch(self._sock.fileno(), _WRITE | (_READ if self._stream else 0), self._ready)
        elif self._stream:
            # Hears at once when the server goes away: the next message then is not sent into the void.
            self._loop.watch(self._sock.fileno(), _READ, self._ready)
        else:
            self._loop.forget(self._sock.fileno())

    def _ready(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        if self._state == "connecting":
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._failed()
            else:
                self._connected(sock)
            return
        if self._state == "shaking hands":
            self._shake_hands()
            return
        if self._stream and events & (_READ | _BROKEN) and not self._read(sock):
            self._failed()
            return
        if self.queue and self._state == "open":
            self._flush()

    def _read(self, sock: socket.socket) -> bool:
        """Read what is there; False at the connection's end."""
        try:
            data = sock.recv(65536)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError as error:
            return _is_want(error)
        if data and self.received is not None:
            self.received(data)
        return bool(data)

    def _flush(self) -> None:
        sock = self._sock
        assert sock is not None
        while self.queue:
            data = self.queue[0]
            try:
                sent = sock.send(data[self._offset :] if self._offset else data)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if _is_want(error):
                    break
                if self._stream or not self._lose(sock, data, error):
                    self._failed()
                    return
                sent = len(data)
            if self._stream and self._offset + sent < len(data):
                self._offset += sent
                continue
            self._offset = 0
            self._failures = 0
            self.queue.popleft()
            self.pending -= len(data)
        self._watch()
        self._tell_room()

    def _lose(self, sock: socket.socket, data: bytes, error: OSError) -> bool:
        """A datagram could not be sent; False if that was for the socket's sake."""
        if self._network == "unixgram" and error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
            return False
        try:
            if error.errno in (errno.EMSGSIZE, errno.ENOBUFS) and self.oversized is not None:
                self.oversized(sock, data)
                return True
            # What an earlier datagram has met is told at this one, which has not been sent.
            if error.errno == errno.ECONNREFUSED:
                sock.send(data)
                return True
        except OSError:
            pass
        self.dropped += 1
        return True

    def _tell_room(self) -> None:
        if self._on_room is not None and (self.pending < self._limit // 2 or self._state != "open"):
            self._on_room()


def _is_want(error: OSError) -> bool:
    """TLS wants to read before it writes, or the other way round."""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")

"""One HTTP/2 stream: whole gRPC messages in, whole messages out, and its flow control."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.wire.http2 import Connection

WINDOW = 4 << 20  # bytes that a peer may send before it must be given room
QUEUE = 4 << 20  # bytes of whole messages that wait before the peer gets no more room
MAX_MESSAGE = 16 << 20  # bytes, as dockerd's (containerd's defaults)
UNSENT = 512 << 10  # bytes of a connection unsent before senders wait

NO_ERROR, CANCEL = 0, 8  # RFC 9113, 7

_PART = 64  # bytes that a piece of a message takes beside its content

Headers = list[tuple[str, str]]


class ByteStream(Protocol):
    """What a connection lives on; `compatd.http`'s Hijacked is one."""

    async def read(self, n: int, /) -> bytes:
        """Up to n bytes; b"" at the end."""

    async def write(self, data: bytes, /) -> None:
        """Waits while the peer lags behind. Raises ConnectionError."""

    async def close(self) -> None:
        """Nothing more is written."""


class ConnectionLost(ConnectionError):
    """The connection, or this stream of it, has ended before its time."""


class BadMessage(ValueError):
    """No gRPC message, or one beyond the limit. `code` is a gRPC status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Http2Stream:
    """`headers` and `trailers` are the peer's; `reset`: the code with which either side broke it off.

    on_reset: called when the peer has done so, or the connection is lost.
    """

    def __init__(self, connection: Connection, number: int, window: int) -> None:
        self.connection = connection
        self.number = number
        self.headers: Headers = []
        self.trailers: Headers = []
        self.reset: int | None = None
        self.ended_in = False  # the peer sends no more
        self.ended_out = False
        self.out_window = window
        self.on_reset: Callable[[], object] | None = None
        self.bad: BadMessage | None = None
        self.in_left = WINDOW
        self._owed = 0  # bytes for which the peer has not been given room
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._head = b""
        self._size = -1  # of the message that has begun; -1: its head is not whole
        self._parts: list[bytes] = []
        self._have = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # in

    async def receive(self) -> bytes | None:
        """The next whole message, None at the stream's end. Raises ConnectionLost, BadMessage."""
        if not await self._arrived():
            return None
        message = self._queue.popleft()
        self._taken(len(message))
        return message

    async def receive_all(self) -> Sequence[bytes] | None:
        """As `receive`, all whole messages that are there: one at least."""
        if not await self._arrived():
            return None
        messages = tuple(self._queue)
        self._queue.clear()
        self._taken(self._queued)
        return messages

    async def _arrived(self) -> bool:
        while not self._queue:
            if self.bad is not None:
                raise self.bad
            if self.ended_in:
                return False
            self._check()
            await self._wait()
        return True

    def _taken(self, size: int) -> None:
        self._queued -= size
        self.connection.held -= size
        self._give_room()

    async def receive_headers(self) -> bool:
        """Waits for them; False when the stream ends without. Raises ConnectionLost."""
        while not self.headers:
            if self.ended_in:
                return False
            self._check()
            await self._wait()
        return True

    def _check(self) -> None:
        if self.connection.lost:
            raise ConnectionLost(self.connection.why or "connection lost")
        if self.reset is not None:
            raise ConnectionLost(f"stream was reset with code {self.reset}")

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Something has changed."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self.wake_sender()

    def wake_sender(self) -> None:
        """There may be room."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def feed(self, chunk: memoryview, taken: int) -> None:
        """Content of a DATA frame that took `taken` of the windows; what cannot be a message sets `bad`."""
        self.in_left -= taken
        self._owed += taken
        if self.bad is None and self.reset is None:
            try:
                self._assemble(chunk)
            except BadMessage as error:
                self.bad = error
                self.drop()
                self.wake()
        self._give_room()

    def _assemble(self, chunk: memoryview) -> None:
        connection, at, length = self.connection, 0, len(chunk)
        while at < length:
            if self._size < 0:
                take = 5 - len(self._head)
                self._head += chunk[at : at + take]
                at += take
                if len(self._head) < 5:
                    return
                self._size = self._announced(self._head)
                self._head = b""
            part = bytes(chunk[at : at + self._size - self._have])
            at += len(part)
            if part:
                self._parts.append(part)
                self._have += len(part)
                connection.held += len(part) + _PART
            if self._have < self._size:
                return
            connection.held -= len(self._parts) * _PART
            self._queue.append(part if len(self._parts) == 1 else b"".join(self._parts))
            self._queued += self._size
            self._parts.clear()
            self._have, self._size = 0, -1
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def _announced(self, head: bytes) -> int:
        size = int.from_bytes(head[1:], "big")
        if head[0]:
            raise BadMessage(12, "grpc: Decompressor is not installed for grpc-encoding")
        if size > self.connection.max_message:
            raise BadMessage(
                8, f"grpc: received message larger than max ({size} vs. {self.connection.max_message})"
            )
        return size

    def _give_room(self) -> None:
        if self._owed >= WINDOW // 4 and self._queued < QUEUE and not self.ended_in and self.reset is None:
            self.in_left += self._owed
            self.connection.write_window(self.number, self._owed)
            self._owed = 0
        self.connection.give_room()

    def drop(self) -> None:
        """Nobody wants what has come."""
        self.connection.held -= self._queued + self._have + len(self._parts) * _PART
        self._queue.clear()
        self._parts.clear()
        self._queued = self._have = 0

    # out

    async def send(self, *messages: bytes) -> None:
        """Sends whole messages; waits for room. Raises ConnectionLost."""
        connection = self.connection
        parts = [part for message in messages for part in (len(message).to_bytes(5, "big"), message)]
        data = memoryview(b"".join(parts))
        at, length = 0, len(data)
        while at < length:
            self._check()
            if self.ended_out:
                raise ConnectionLost("this end of the stream is closed")
            room = min(self.out_window, connection.out_window)
            if room <= 0 or connection.unsent >= UNSENT:
                await self._wait_for_room()
                continue
            stop = min(at + room, at + UNSENT, length)
            self.out_window -= stop - at
            connection.out_window -= stop - at
            connection.write_data(self.number, data[at:stop])
            at = stop

    async def _wait_for_room(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None

    def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Head or trailers. Nothing happens on a stream that is over."""
        if not self.ended_out and self.reset is None and not self.connection.lost:
            self.ended_out = end
            self.connection.send_headers(self.number, headers, end=end)

    def end(self) -> None:
        """No more is sent."""
        if not self.ended_out and self.reset is None and not self.connection.lost:
            self.ended_out = True
            self.connection.end_stream(self.number)

    def break_off(self, code: int = CANCEL) -> None:
        """RST_STREAM, unless both sides have ended; what has come is dropped."""
        if self.reset is None and not (self.ended_in and self.ended_out) and not self.connection.lost:
            self.connection.reset_stream(self.number, code)
            self.reset = code
        self.drop()
        self.wake()

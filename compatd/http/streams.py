"""Answers that go on: chunked streams, and connections that were taken over from HTTP."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from compatd.http.answers import encode
from compatd.http.exchange import ClientGone

if TYPE_CHECKING:
    from compatd.http.call import Call
    from compatd.http.protocol import Protocol


class Stream:
    """The body of an answer, sent piece by piece; each write is a chunk of its own, sent at once.

    gone: set when the client went away. The handler is cancelled then, too.
    """

    def __init__(self, call: Call, protocol: Protocol, *, chunked: bool, silent: bool) -> None:
        self.gone: asyncio.Event = call.gone
        self._call = call
        self._send = protocol.send
        self._chunked = chunked
        self._silent = silent  # HEAD: no body

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends ``data`` as one chunk; waits while the client lags behind. Raises ClientGone."""
        if not data or self._silent:
            return
        data = bytes(data)
        await self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def json(self, value: Any, *, start: bytes = b"", end: bytes | None = None) -> None:
        """Sends one object as one chunk, shaped for the client's version, and a line end.

        ``end`` is that of the operation's kind unless given: CRLF for progress, LF for all else.
        ``start`` goes before the object.
        """
        call = self._call
        if call.view is not None:
            value = call.view(value)
            if value is None:
                return
        await self.write(start + encode(call.shaped(value), html=True) + (end or call.line_end))

    async def finish(self) -> None:
        """Sends what ends the body; ``compatd.http`` does so when the handler returns."""
        if self._chunked and not self._silent:
            await self._send(b"0\r\n\r\n")


class Hijacked:
    """A connection that belongs to the handler.

    gone: set when the client closed for good (as far as can be known: on TCP only writing tells).
    """

    def __init__(self, call: Call, protocol: Protocol) -> None:
        self.gone: asyncio.Event = call.gone
        self._protocol = protocol
        self._sent_eof = False

    async def read(self, n: int = 65536) -> bytes:
        """Up to ``n`` bytes from the client, b"" once it has closed its sending side."""
        protocol = self._protocol
        if not protocol.recv_buffer:
            try:
                await protocol.receive_more()
            except ClientGone:
                return b""
        buffer = protocol.recv_buffer
        if len(buffer) <= n:
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[:n])
            del buffer[:n]
        return data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends; waits while the client lags behind. Raises ClientGone, also after ``write_eof``."""
        if self._sent_eof:
            raise ClientGone
        await self._protocol.send(bytes(data) if isinstance(data, bytearray | memoryview) else data)

    async def write_eof(self) -> None:
        """Tells the client that no more comes, after what is unsent."""
        if not self._sent_eof:
            self._sent_eof = True
            self._protocol.write_eof()

    async def close(self) -> None:
        """As ``write_eof``; the socket itself is closed when the handler returns and the client closes."""
        await self.write_eof()

    async def detach(self) -> tuple[socket.socket, bytes]:
        """Gives the connection away: its socket (non-blocking, the caller's to close) and early bytes.

        Nothing else may be done with this object afterwards. Raises ClientGone.
        """
        protocol = self._protocol
        await protocol.drained()
        assert protocol.transport is not None
        protocol.transport.pause_reading()
        protocol.server.hangups.forget(protocol)
        inner = protocol.transport.get_extra_info("socket")
        sock = socket.socket(fileno=socket.dup(inner.fileno()))
        sock.setblocking(False)
        early = bytes(protocol.recv_buffer)
        protocol.recv_buffer.clear()
        if protocol.call is not None:
            protocol.call.abandonable = False
        protocol.detached = True
        protocol.transport.abort()
        return sock, early

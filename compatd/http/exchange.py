"""Requests and answers on one connection, one after another."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sanic.http import Http, Stage

from apispec.model import BadRequest
from compatd.http.head import HTTP2, LIMIT, Head, Refused, end_of_head, http2, parse

if TYPE_CHECKING:
    from compatd.http.protocol import Protocol

UNREAD_LIMIT = 256 * 1024  # bytes of a body that the handler left, swallowed to keep the connection
LINE_LIMIT = 4096  # bytes of a line between chunks, and of all of a trailer
LINGER = 0.5  # seconds that a client gets to close after an answer which ends the connection
WHOLE = 2048  # bytes up to which a body goes out with its length, as from Go's buffer

PHRASES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus} | {
    413: "413 Request Entity Too Large"
}


class ClientGone(ConnectionResetError):
    """The client went away: there is nobody to send to, or nothing more to receive."""


class _Clock:
    """The Date header's text, made once a second."""

    second = 0
    text = ""

    @classmethod
    def date(cls) -> str:
        now = int(time.time())
        if now != cls.second:
            cls.second = now
            cls.text = formatdate(now, usegmt=True)
        return cls.text


class Exchange(Http):
    """The requests of a connection. ``started``: the head of the answer is out, with ``status``."""

    __slots__ = ("after_chunk", "head", "started", "status")

    protocol: Protocol
    request_body: Any
    request_bytes_left: Any

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self.head: Head | None = None
        self.started = False
        self.status = 0
        self.after_chunk = False

    async def http1(self) -> None:
        """Serves until the client or an answer ends the connection."""
        protocol = self.protocol
        while self.keep_alive:
            self.stage = Stage.IDLE
            self.init_for_request()  # type: ignore[no-untyped-call]
            self.started = False
            self.status = 0
            try:
                head = await self._read_head()
            except Refused as refused:
                await self._refuse(refused)
                return
            self.head = head
            self.stage = Stage.HANDLER
            try:
                await protocol.server.serve(protocol, self, head)
            finally:
                protocol.call = None
            if protocol.hijacked:
                return
            if self.request_body and self.keep_alive:
                await self.swallow()
        await protocol.linger(LINGER)

    async def _read_head(self) -> Head:
        buffer = self.recv_buffer
        if not buffer:
            await self._receive_more()
        self.stage = Stage.REQUEST
        start = 0
        while True:
            end, rest = end_of_head(buffer, start)
            if end > LIMIT or (end < 0 and len(buffer) > LIMIT):
                raise Refused("431 Request Header Fields Too Large")
            if end >= 0:
                break
            start = max(0, len(buffer) - 3)
            await self._receive_more()
        if buffer.startswith(HTTP2) and end == len(HTTP2):
            self.request_bytes_left = 0
            self.expecting_continue = False
            return http2()  # and the bytes stay: they are HTTP/2's own
        head = parse(bytes(buffer[:end]))
        self.keep_alive = head.keep_alive
        self.request_bytes_left = 0
        if head.chunked:
            self.request_body = "chunked"
            self.after_chunk = False
        elif head.length:
            self.request_body = True
            self.request_bytes_left = head.length
        del buffer[:rest]
        self.expecting_continue = head.expects_continue and bool(self.request_body)
        return head

    async def read(self) -> bytes | None:
        """The next bytes of the request's body, None at its end. Raises BadRequest, ClientGone."""
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.request_body == "chunked" and not self.request_bytes_left:
            self.request_bytes_left = await self._chunk_size()
        left = self.request_bytes_left
        if not left:
            self.request_body = None
            return None
        buffer = self.recv_buffer
        if not buffer:
            await self._receive_more()
        if len(buffer) <= left:
            data = bytes(buffer)
            buffer.clear()
        else:
            with memoryview(buffer) as view:
                data = bytes(view[:left])
            del buffer[:left]
        self.request_bytes_left = left - len(data)
        if not self.request_bytes_left:
            if self.request_body == "chunked":
                self.after_chunk = True
            else:
                self.request_body = None
        return data

    async def _chunk_size(self) -> int:
        """Bytes in the chunk that begins; 0 at the end, after any trailer (which nobody wants) was read."""
        if self.after_chunk and await self._line():
            raise self._malformed()
        digits = (await self._line()).partition(b";")[0].strip()
        if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
            raise self._malformed()
        size = int(digits, 16)
        taken = 0
        while not size and (trailer := await self._line()):
            taken += len(trailer)
            if taken > LINE_LIMIT:
                raise self._malformed()
        return size

    async def _line(self) -> bytes:
        buffer = self.recv_buffer
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > LINE_LIMIT:
                raise self._malformed()
            await self._receive_more()
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _malformed(self) -> BadRequest:
        self.keep_alive = False
        self.request_body = None
        return BadRequest("malformed chunked encoding")

    async def _refuse(self, refused: Refused) -> None:
        await self._send(
            f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Connection: close\r\n\r\n{refused.text}".encode()
        )
        await self.protocol.linger(LINGER)

    async def swallow(self) -> None:
        """Reads on to the end of a body that the handler left, or gives the connection up."""
        if self.expecting_continue or self.request_bytes_left > UNREAD_LIMIT:
            self.keep_alive = False
            return
        taken = 0
        try:
            async for data in self:
                taken += len(data)
                if taken > UNREAD_LIMIT:
                    self.keep_alive = False
                    return
        except ClientGone:
            raise
        except Exception:
            self.keep_alive = False

    async def answer(
        self,
        status: int,
        headers: Iterable[tuple[str, str]],
        body: bytes | None,
        content_type: str = "",
        *,
        late_type: bool = False,
    ) -> None:
        """Sends a whole answer. ``late_type``: the type was found from the body, and comes last."""
        if self.request_body:
            await self.swallow()
        assert self.head is not None
        head = self.head
        lines = list(headers)
        if content_type and not late_type and status != 304:
            lines.append(("Content-Type", content_type))
        lines.sort()
        lines.append(("Date", _Clock.date()))
        bodyless = status in (204, 304)
        size = 0 if body is None else len(body)
        chunked = size > WHOLE
        if not bodyless and not chunked and (body or head.method != "HEAD"):
            lines.append(("Content-Length", str(size)))
        elif chunked and not head.minor:
            self.keep_alive = False
        if late_type:
            lines.append(("Content-Type", content_type))
        self._add_connection(lines, head)
        data = b""
        if body and not bodyless:
            if chunked and head.minor:
                lines.append(("Transfer-Encoding", "chunked"))
                data = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
            else:
                data = body
            if head.method == "HEAD":
                data = b""
        self.started = True
        await self._send(self._lines(status, lines) + data)

    async def begin(self, status: int, headers: Iterable[tuple[str, str]], content_type: str) -> bool:
        """Sends the head of an answer whose length is not known. True: its body goes out in chunks.

        An empty ``content_type`` sends none.
        """
        assert self.head is not None
        head = self.head
        lines = list(headers)
        if content_type:
            lines.append(("Content-Type", content_type))
        lines.sort()
        lines.append(("Date", _Clock.date()))
        if not head.minor:
            self.keep_alive = False
        self._add_connection(lines, head)
        if head.minor:
            lines.append(("Transfer-Encoding", "chunked"))
        self.started = True
        self.stage = Stage.RESPONSE
        await self._send(self._lines(status, lines))
        return head.minor == 1

    async def write(self, data: bytes) -> None:
        """Bytes as they are; for what follows ``begin`` and for upgraded connections."""
        await self._send(data)

    def _add_connection(self, lines: list[tuple[str, str]], head: Head) -> None:
        if not self.keep_alive:
            if head.minor:
                lines.append(("Connection", "close"))
        elif not head.minor:
            lines.append(("Connection", "keep-alive"))

    def _lines(self, status: int, lines: list[tuple[str, str]]) -> bytes:
        assert self.head is not None
        self.status = status
        text = PHRASES.get(status) or f"{status} status code {status}"
        fields = "".join([f"{name}: {value}\r\n" for name, value in lines])
        return f"HTTP/1.{self.head.minor} {text}\r\n{fields}\r\n".encode("latin-1", "replace")

"""One request, as a handler sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from apispec.encode import gate
from apispec.model import BadRequest, Operation
from apispec.versions import Version
from compatd.http.answers import NO_HEADERS, Answer
from compatd.http.exchange import PHRASES, Exchange
from compatd.http.streams import Hijacked, Stream

if TYPE_CHECKING:
    from compatd.http.head import Head
    from compatd.http.protocol import Protocol

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

PROGRESS = frozenset(
    ("ImageBuild", "ImageCreate", "ImageLoad", "ImagePush", "PluginPull", "PluginPush", "PluginUpgrade")
)
"""What streams progress messages: their lines end in CRLF, an error after the first one is a message too."""

OUTLIVES_CLIENT = frozenset(("ExecStart",))
"""Upgraded connections whose handler goes on without a client: the command runs to its end."""

HEADERS_AFTER_HIJACK = frozenset(("ExecStart",))
"""The engine copies its own headers into the head of these upgrades, and not of attach's."""


class Answered(Exception):
    """The answer is on its way already; the handler's work is over."""


class Call:
    """One request.

    operation, version: what is asked, by a client of which API version.
    path: names in the path. query: typed by apispec, defaults filled in.
    body: the decoded JSON body; None when the operation takes none.
    access: the limits of the rule about the caller and whose things it makes, where the gate knows.
    view: what the client sees of an answer's value; of a stream's objects, None for one that is left out.
    gone: set when the client went away. A handler that streams or has upgraded the connection is cancelled
        then; another one goes on, so that no change stays half done (``abandonable`` overrides this).
    """

    __slots__ = (
        "_exchange",
        "_head",
        "_headers",
        "_protocol",
        "abandonable",
        "access",
        "body",
        "gone",
        "operation",
        "path",
        "query",
        "stream_open",
        "ticket",
        "version",
        "view",
    )

    def __init__(
        self,
        operation: Operation,
        version: Version,
        path: dict[str, str],
        *,
        protocol: Protocol,
        exchange: Exchange,
        head: Head,
        headers: Mapping[str, str],
    ) -> None:
        self.operation = operation
        self.version = version
        self.path = path
        self.query: dict[str, Any] = {}
        self.body: Any = None
        self.gone = asyncio.Event()
        self.abandonable = False
        self.stream_open: Stream | None = None
        self.ticket: Any = None
        self.access: tuple[frozenset[str], str] = (frozenset(), "")
        self.view: Callable[[Any], Any] | None = None
        self._protocol = protocol
        self._exchange = exchange
        self._head = head
        self._headers = headers

    def header(self, name: str) -> str:
        """A request header's value, "" when absent."""
        return self._head.headers.get(name.lower(), "")

    @property
    def has_body(self) -> bool:
        """The client sends a body (that may turn out empty)."""
        return self._head.chunked or self._head.length > 0

    @property
    def body_length(self) -> int:
        """As the client announces it; -1 when it does not."""
        return -1 if self._head.chunked else self._head.length

    @property
    def line_end(self) -> bytes:
        """What ends a line of a JSON stream of this operation."""
        return b"\r\n" if self.operation.id in PROGRESS else b"\n"

    def shaped(self, value: Any) -> Any:
        """An answer in the newest API shape, as this client's version knows it."""
        return gate(self.operation.answer, value, self.version)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The request's body in pieces, as they come; the client waits while nobody asks for more.

        Raises ClientGone when it ends before its time.
        """
        async for data in self._exchange:
            yield data

    async def read(self, limit: int) -> bytes:
        """The whole body, up to ``limit`` bytes. Raises BadRequest beyond."""
        body = bytearray()
        async for data in self._exchange:
            body += data
            if len(body) > limit:
                raise BadRequest(f"request body is larger than {limit} bytes")
        return bytes(body)

    async def stream(
        self, content_type: str, status: int = 200, *, headers: Mapping[str, str] = NO_HEADERS
    ) -> Stream:
        """Begins an answer of unknown length; its head goes out at once."""
        self.abandonable = True
        chunked = await self._exchange.begin(status, {**self._headers, **headers}.items(), content_type)
        self.stream_open = Stream(self, self._protocol, chunked=chunked, silent=self._head.method == "HEAD")
        return self.stream_open

    async def hijack(self, content_type: str = RAW_STREAM) -> Hijacked:
        """Takes the connection over: 101 for a client that asked for an upgrade, else 200.

        content_type: RAW_STREAM or MULTIPLEXED_STREAM. The latter is told only to clients that may know it
        (an upgrade, and API 1.42 on).
        """
        upgrade = "upgrade" in self._head.headers
        if not upgrade or (content_type == MULTIPLEXED_STREAM and self.version < "1.42"):
            content_type = RAW_STREAM
        first = "101 UPGRADED" if upgrade else "200 OK"
        lines = f"HTTP/1.1 {first}\r\nContent-Type: {content_type}\r\n"
        if upgrade:
            lines += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        if self.operation.id in HEADERS_AFTER_HIJACK:
            lines += "".join(f"{name}: {value}\r\n" for name, value in sorted(self._headers.items()))
        return await self._take_over(lines + "\r\n")

    async def upgrade(self, protocol: str) -> Hijacked:
        """Takes the connection over for another protocol, which a client may have begun without asking."""
        if self._head.prior_knowledge:
            return await self._take_over("")
        return await self._take_over(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        )

    async def hijack_error(self, status: int, message: str) -> None:
        """Answers as the engine's attach does when it fails: a bare head, the text, and the end."""
        await self._take_over(
            f"HTTP/1.1 {PHRASES.get(status, status)}\r\nContent-Type: {RAW_STREAM}\r\n\r\n{message}\r\n"
        )
        raise Answered

    async def websocket(self) -> Hijacked:
        """Takes the connection over as a WebSocket (RFC 6455); binary, text for clients before 1.28."""
        from compatd.http.websocket import WebSocket, handshake

        accepted, text = handshake(self._head)
        await self._take_over(text)
        if not accepted:
            raise Answered
        return WebSocket(self, self._protocol, binary=self.version >= "1.28")

    async def _take_over(self, lines: str) -> Hijacked:
        protocol = self._protocol
        if self._exchange.request_body and not self._exchange.expecting_continue:
            await self._exchange.swallow()
        self._exchange.started = True
        self._exchange.status = int(lines[9:12] or 101)
        self._exchange.upgrade_websocket = True
        protocol.hijacked = True
        self.abandonable = self.operation.id not in OUTLIVES_CLIENT
        protocol.server.hangups.watch(protocol)
        if lines:
            await protocol.send(lines.encode("utf-8", "replace"))
        return Hijacked(self, protocol)


Handler = Callable[[Any, Call], Awaitable[Answer | None]]

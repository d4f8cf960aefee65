"""gRPC's server: handlers by method, on one connection after another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.buildkit.wire.codec import DecodeError, Message
from compatd.engine.builder.buildkit.wire.messages import Method, method
from compatd.engine.builder.buildkit.wire.metadata import received, sent, timeout_seconds
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError, of_exception, trailers
from compatd.engine.builder.buildkit.wire.streams import (
    MAX_MESSAGE,
    NO_ERROR,
    BadMessage,
    ByteStream,
    ConnectionLost,
    Headers,
    Http2Stream,
)

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.wire.http2 import Connection

log = logging.getLogger(__name__)


_HEAD: Headers = [(":status", "200"), ("content-type", "application/grpc")]


class ServerStream:
    """One call, as its handler sees it.

    path: `/service/Method`. metadata: the client's. peer: what `GrpcServer.serve` was given.
    trailers: metadata for the call's end, which the handler may fill.
    """

    def __init__(
        self, stream: Http2Stream, method: Method, peer: Any, metadata: dict[str, list[str]]
    ) -> None:
        self.path = method.path
        self.metadata = metadata
        self.peer = peer
        self.trailers: dict[str, str | Sequence[str]] = {}
        self.guard: Callable[[Message], None] | None = None
        self._method = method
        self._stream = stream
        self._began = False

    async def receive(self) -> Message | None:
        """The client's next message; None when it sends no more. Raises GrpcError."""
        try:
            data = await self._stream.receive()
        except ConnectionLost as error:
            raise GrpcError(Code.CANCELLED, f"context canceled: {error}") from None
        except BadMessage as error:
            raise GrpcError(error.code, str(error)) from None
        if data is None:
            return None
        try:
            message = self._method.request.decode(data)
        except DecodeError as error:
            raise GrpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
        if self.guard is not None:
            self.guard(message)
        return message

    async def request(self) -> Message:
        """The one message of a call that has one. Raises GrpcError."""
        message = await self.receive()
        if message is None:
            raise GrpcError(Code.INTERNAL, "the call has no request")
        return message

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message

    def begin(self, metadata: Mapping[str, str | Sequence[str]] | None = None) -> None:
        """Sends the head, with metadata; the first `send` does it otherwise."""
        if not self._began:
            self._began = True
            self._stream.send_headers(_HEAD + sent(metadata))

    async def send(self, message: Message) -> None:
        """Sends a message; waits while the client lags behind. Raises GrpcError when it is gone."""
        self.begin()
        try:
            await self._stream.send(message.encode())
        except ConnectionLost as error:
            raise GrpcError(Code.CANCELLED, f"context canceled: {error}") from None

    def finish(self, error: GrpcError | None) -> None:
        """The end, for the client; `GrpcServer` does it."""
        fields = trailers(error) + sent(self.trailers)
        self._stream.send_headers(fields if self._began else _HEAD + fields, end=True)
        if not self._stream.ended_in:
            self._stream.break_off(NO_ERROR)


Handler = Callable[[ServerStream], Awaitable[Message | None]]
"""Serves one call: reads with `receive` or `request`, answers with `send`, and with what it returns.

Raises GrpcError, or any error (`status.of_exception` says what becomes of it). It is cancelled when the
client breaks the call off, at its deadline, and when the connection ends.
"""

Guard = Callable[[Any, str, Message | None], None]
"""Called with (peer, path, None) before a handler and with each message it reads; raises GrpcError."""


class GrpcServer:
    """`handlers`: path (`/moby.buildkit.v1.Control/Solve`) → Handler. guard: who may call what."""

    def __init__(self, handlers: Mapping[str, Handler], *, guard: Guard | None = None) -> None:
        """Raises KeyError for a path that is in no table."""
        self._handlers = {path: (method(path), handler) for path, handler in handlers.items()}
        self._guard = guard

    async def serve(self, stream: ByteStream, peer: Any = None) -> None:
        """Serves until the connection ends, and its calls with it. `peer` is handed to the handlers."""
        from compatd.engine.builder.buildkit.wire.http2 import Connection  # h2 takes 20 ms to load

        tasks: set[asyncio.Task[None]] = set()

        def begin(opened: Http2Stream) -> None:
            task = asyncio.ensure_future(self._call(connection, opened, peer))
            opened.on_reset = task.cancel
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        connection = Connection(stream, max_message=MAX_MESSAGE, on_request=begin)
        try:
            await connection.run()
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, connection: Connection, stream: Http2Stream, peer: Any) -> None:
        try:
            await self._answer(stream, peer)
        finally:
            connection.forget(stream)

    async def _answer(self, stream: Http2Stream, peer: Any) -> None:
        head = dict(stream.headers)
        if head.get(":method") != "POST" or not head.get("content-type", "").startswith("application/grpc"):
            stream.send_headers([(":status", "415" if head.get(":method") == "POST" else "405")], end=True)
            stream.break_off(NO_ERROR)
            return
        path = head.get(":path", "")
        known = self._handlers.get(path)
        if known is None:
            fields = trailers(_unknown(path, self._handlers))
            stream.send_headers(_HEAD + fields, end=True)
            if not stream.ended_in:
                stream.break_off(NO_ERROR)
            return
        found, handler = known
        call = ServerStream(stream, found, peer, received(stream.headers))
        call.finish(await self._outcome(call, handler, head.get("grpc-timeout", "")))

    async def _outcome(self, call: ServerStream, handler: Handler, timeout: str) -> GrpcError | None:
        guard = self._guard
        try:
            seconds = timeout_seconds(timeout)
        except ValueError as error:
            return GrpcError(Code.INTERNAL, str(error))
        try:
            if guard is not None:
                guard(call.peer, call.path, None)
                call.guard = lambda message: guard(call.peer, call.path, message)
            async with asyncio.timeout(seconds) as deadline:
                message = await handler(call)
                if message is not None:
                    await call.send(message)
        except TimeoutError as error:
            if deadline.expired():
                return GrpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            return of_exception(error)
        except Exception as error:
            told = of_exception(error)
            if not isinstance(error, GrpcError) and not hasattr(error, "status"):
                log.exception("%s failed", call.path)
            return told
        return None


def _unknown(path: str, handlers: Mapping[str, Any]) -> GrpcError:
    service, _, name = path.removeprefix("/").rpartition("/")
    if any(known.startswith(f"/{service}/") for known in handlers):
        return GrpcError(Code.UNIMPLEMENTED, f"unknown method {name} for service {service}")
    return GrpcError(Code.UNIMPLEMENTED, f"unknown service {service}")

"""gRPC's client, on a connection that somebody else has opened: a session's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from compatd.engine.builder.buildkit.wire.codec import DecodeError, Message
from compatd.engine.builder.buildkit.wire.messages import Method, method
from compatd.engine.builder.buildkit.wire.metadata import received, sent, timeout_text
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError, of_trailers
from compatd.engine.builder.buildkit.wire.streams import (
    CANCEL,
    MAX_MESSAGE,
    BadMessage,
    ByteStream,
    ConnectionLost,
    Headers,
    Http2Stream,
)

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.wire.http2 import Connection


_T = TypeVar("_T")
Sent = Mapping[str, str | Sequence[str]]


class ClientStream:
    """One call. An async context manager: leaving it breaks off a call that has not ended.

    trailers: the peer's metadata at the end, once `receive` has given None.
    """

    def __init__(
        self, connection: Connection, stream: Http2Stream, method: Method, timeout: float | None
    ) -> None:
        self.trailers: dict[str, list[str]] = {}
        self._connection = connection
        self._stream = stream
        self._method = method
        self._end = None if timeout is None else asyncio.get_running_loop().time() + timeout

    async def send(self, message: Message) -> None:
        """Sends one; waits while the peer lags behind. Raises GrpcError: its status when it has ended."""
        await self.send_raw(message.encode())

    async def send_raw(self, *messages: bytes) -> None:
        """As `send`, those that are encoded already."""
        try:
            async with asyncio.timeout_at(self._end):
                await self._stream.send(*messages)
        except TimeoutError:
            raise self._late() from None
        except ConnectionLost as error:
            if self._stream.ended_in and (status := of_trailers(received(self._last()))) is not None:
                raise status from None
            raise GrpcError(Code.UNAVAILABLE, str(error)) from None

    def end(self) -> None:
        """No more is sent. Receiving goes on."""
        self._stream.end()

    async def receive(self) -> Message | None:
        """The peer's next message; None at the end of a call that went well. Raises GrpcError: its status."""
        data = await self._received(self._stream.receive)
        if data is None:
            return None
        try:
            return self._method.response.decode(data)
        except DecodeError as error:
            self.cancel()
            raise GrpcError(
                Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}"
            ) from None

    async def receive_raw(self) -> Sequence[bytes] | None:
        """As `receive`, not decoded: all that have come, one at least."""
        return await self._received(self._stream.receive_all)

    async def _received(self, receive: Callable[[], Awaitable[_T | None]]) -> _T | None:
        try:
            async with asyncio.timeout_at(self._end):
                data = await receive()
        except TimeoutError:
            raise self._late() from None
        except BadMessage as error:
            self.cancel()
            raise GrpcError(error.code, str(error)) from None
        except ConnectionLost as error:
            code = Code.CANCELLED if self._stream.reset == CANCEL else Code.UNAVAILABLE
            raise GrpcError(code, str(error)) from None
        if data is not None:
            return data
        fields = self._last()
        self.trailers = received(fields)
        http = dict(fields).get(":status", "200")
        if http != "200" and "grpc-status" not in self.trailers:
            raise GrpcError(Code.UNKNOWN, f"unexpected HTTP status code received from server: {http}")
        status = of_trailers(self.trailers)
        if status is not None:
            raise status
        return None

    async def headers(self) -> dict[str, list[str]]:
        """The peer's metadata at the call's begin; waits for it."""
        try:
            await self._stream.receive_headers()
        except ConnectionLost as error:
            raise GrpcError(Code.UNAVAILABLE, str(error)) from None
        return received(self._stream.headers)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message

    def _last(self) -> Headers:
        return self._stream.trailers or self._stream.headers

    def _late(self) -> GrpcError:
        self.cancel()
        return GrpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")

    def cancel(self) -> None:
        """Breaks the call off, unless it has ended."""
        self._stream.break_off(CANCEL)

    async def __aenter__(self) -> ClientStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream.ended_in:
            self._stream.end()
        self.cancel()
        self._connection.forget(self._stream)


class GrpcClient:
    """Calls to the peer of a connection, while `run` runs. `ended` is set with the connection's end."""

    def __init__(self, stream: ByteStream, *, authority: str = "localhost") -> None:
        from compatd.engine.builder.buildkit.wire.http2 import Connection  # h2 takes 20 ms to load

        self.ended = asyncio.Event()
        self._authority = authority
        self._changed: asyncio.Event = asyncio.Event()
        self._connection = Connection(stream, max_message=MAX_MESSAGE, on_change=self._changed.set)

    async def run(self) -> None:
        """Until the connection ends; calls under way then raise GrpcError (UNAVAILABLE)."""
        try:
            await self._connection.run()
        finally:
            self.ended.set()
            self._changed.set()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    async def call(
        self,
        path: str,
        *,
        metadata: Sent | None = None,
        timeout: float | None = None,
        messages: type[Message] | None = None,
    ) -> ClientStream:
        """Begins a call of any kind: `async with await client.call(path) as call`.

        Waits while the peer takes no more calls. Raises GrpcError (UNAVAILABLE), KeyError for a path in no
        table. timeout: seconds for all of it. messages: what goes both ways where the table says otherwise
        (FileSend/DiffCopy carries Packets when a folder is sent).
        """
        found = method(path)
        if messages is not None:
            found = found._replace(request=messages, response=messages)
        connection = self._connection
        while not connection.room_for_streams and not connection.lost and not connection.leaving:
            self._changed.clear()
            await self._changed.wait()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-python-compatd"),
            ("te", "trailers"),
        ]
        if timeout is not None:
            headers.append(("grpc-timeout", timeout_text(timeout)))
        try:
            stream = connection.open(headers + sent(metadata))
        except ConnectionLost as error:
            raise GrpcError(Code.UNAVAILABLE, str(error)) from None
        return ClientStream(connection, stream, found, timeout)

    async def unary(
        self, path: str, request: Message, *, metadata: Sent | None = None, timeout: float | None = None
    ) -> Any:
        """One request, one answer. Raises GrpcError."""
        async with await self.call(path, metadata=metadata, timeout=timeout) as call:
            await call.send(request)
            call.end()
            answer = await call.receive()
            if answer is None:
                raise GrpcError(Code.INTERNAL, "the call has no answer")
            if await call.receive() is not None:
                raise GrpcError(Code.INTERNAL, "the call has more than one answer")
            return answer

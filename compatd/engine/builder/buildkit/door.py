"""The way in: which service answers which call, on connections that somebody else has accepted."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Mapping, Sequence

from compatd.engine.builder.buildkit.limits import Peer, guard
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import GrpcServer, Handler, ServerStream
from compatd.engine.builder.buildkit.wire.sessions import Sessions
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.buildkit.wire.streams import ByteStream, ConnectionLost

_SERVING = 1  # grpc.health.v1.HealthCheckResponse.ServingStatus


class Door:
    """`sessions` are those that are here; handlers of services are put in by `add`."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self._handlers: dict[str, Handler] = {
            "/grpc.health.v1.Health/Check": _healthy,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export": _traced,
            "/moby.buildkit.v1.Control/Session": self._session,
        }
        self._server: GrpcServer | None = None

    def add(self, handlers: Mapping[str, Handler]) -> None:
        """More calls, by path. Raises KeyError for one in no table of services."""
        self._handlers.update(handlers)
        self._server = None

    async def serve(self, stream: ByteStream, peer: Peer) -> None:
        """Serves gRPC until the connection ends."""
        await _load()
        if self._server is None:
            self._server = GrpcServer(self._handlers, guard=guard)
        await self._server.serve(stream, peer)

    async def hold(self, stream: ByteStream, headers: Mapping[str, Sequence[str]], peer: Peer) -> None:
        """A session, until its connection ends. headers: what the client said of it, by lower-case name."""
        await _load()
        await self.sessions.serve(stream, headers, peer.identity)

    async def _session(self, call: ServerStream) -> None:
        """A session within a call, for clients that have but one connection."""
        await self.hold(_Tunnel(call), call.metadata, call.peer)


async def _load() -> None:
    """Loads HTTP/2 beside the event loop: most daemons have no need of it, and it takes 20 ms."""
    name = "compatd.engine.builder.buildkit.wire.http2"
    if name not in sys.modules:
        await asyncio.to_thread(importlib.import_module, name)


class _Tunnel:
    """Bytes in the messages of a call."""

    def __init__(self, call: ServerStream) -> None:
        self._call = call
        self._message = proto("moby.buildkit.v1.BytesMessage")
        call.begin()

    async def read(self, n: int, /) -> bytes:
        try:
            while (message := await self._call.receive()) is not None:
                if message.data:
                    data: bytes = message.data
                    return data
        except GrpcError as error:
            raise ConnectionLost(str(error)) from None
        return b""

    async def write(self, data: bytes, /) -> None:
        try:
            for at in range(0, len(data), 1 << 20):
                await self._call.send(self._message(data=data[at : at + (1 << 20)]))
        except GrpcError as error:
            raise ConnectionLost(str(error)) from None

    async def close(self) -> None:
        """The call ends when its handler returns."""


async def _healthy(call: ServerStream) -> Message:
    request = await call.request()
    if request.service:
        raise GrpcError(Code.NOT_FOUND, "unknown service")
    return proto("grpc.health.v1.HealthCheckResponse")(status=_SERVING)


async def _traced(call: ServerStream) -> Message:
    """Clients send what they measured; nobody here wants it."""
    await call.request()
    return proto("opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse")()

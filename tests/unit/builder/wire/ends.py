"""Two ends of a connection in one event loop, for the tests of gRPC."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import GrpcServer, Guard, Handler, ServerStream

CHECK = "/grpc.health.v1.Health/Check"
COPY = "/moby.filesync.v1.FileSync/DiffCopy"
STATUS = "/moby.buildkit.v1.Control/Status"

Request = proto("grpc.health.v1.HealthCheckRequest")
Response = proto("grpc.health.v1.HealthCheckResponse")
Packet = proto("fsutil.types.Packet")


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """In an event loop of its own; what hangs fails."""

    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


class Bytes:
    """A ByteStream on a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self, n: int, /) -> bytes:
        return await self.reader.read(n)

    async def write(self, data: bytes, /) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        """As the daemon's: no more is written, and what still comes is swallowed by `over`."""
        self.writer.write_eof()

    async def over(self) -> None:
        while await self.read(1 << 16):
            pass
        self.writer.close()


async def pair() -> tuple[Bytes, Bytes]:
    """Both ends of a connection."""
    ends = [Bytes(*await asyncio.open_connection(sock=end)) for end in socket.socketpair()]
    return ends[0], ends[1]


async def serve(handlers: Mapping[str, Handler], end: Bytes, peer: Any, guard: Guard | None) -> None:
    """A connection of the server's, to its end."""
    try:
        await GrpcServer(handlers, guard=guard).serve(end, peer)
        await end.over()
    except ConnectionError:
        pass


@asynccontextmanager
async def serving(
    handlers: Mapping[str, Handler], *, peer: Any = None, guard: Guard | None = None
) -> AsyncIterator[GrpcClient]:
    """A client of a server with these handlers."""
    near, far = await pair()
    server = asyncio.ensure_future(serve(handlers, far, peer, guard))
    client = GrpcClient(near)
    running = asyncio.ensure_future(client.run())
    try:
        yield client
    finally:
        client.close()
        await running
        near.writer.close()
        await server


@asynccontextmanager
async def raw(handlers: Mapping[str, Handler]) -> AsyncIterator[Bytes]:
    """The bytes' other end of a server with these handlers."""
    near, far = await pair()
    server = asyncio.ensure_future(serve(handlers, far, None, None))
    try:
        yield near
    finally:
        near.writer.close()
        await server


async def healthy(call: ServerStream) -> Any:
    """Answers 1, or the length of the service's name."""
    request = await call.request()
    return Response(status=len(request.service) or 1)


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is true."""
    while not true():
        await asyncio.sleep(0.005)


def counting(seen: list[int]) -> Callable[[ServerStream], Awaitable[Any]]:
    """A handler that takes packets, notes their sizes, and answers with their sum."""

    async def handler(call: ServerStream) -> Any:
        async for packet in call:
            seen.append(len(packet.data))
        return Packet(ID=sum(seen))

    return handler

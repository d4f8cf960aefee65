"""A BuildKit of an engine without runtime, a client of it, and that client's session: for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.service import BuildKit
from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import GrpcServer, Handler
from compatd.engine.builder.progress import Observer, Vertex
from compatd.engine.builder.request import BuildRequest, BuildResult, PlatformResult
from compatd.engine.errors import NotFound
from compatd.engine.images.platform import Platform
from tests.unit.builder.wire.ends import pair, serving

CONTROL, BRIDGE = "/moby.buildkit.v1.Control/", "/moby.buildkit.v1.frontend.LLBBridge/"
SESSION = "session1"


def control(name: str, **values: Any) -> Any:
    return proto(f"moby.buildkit.v1.{name}")(**values)


def bridge(name: str, **values: Any) -> Any:
    return proto(f"moby.buildkit.v1.frontend.{name}")(**values)


class Files:
    """A context in memory."""

    def __init__(self, files: Mapping[str, bytes], log: list[str]) -> None:
        self.files, self.log = dict(files), log
        self.dockerfile_only: bytes | None = None

    async def read(self, path: str) -> bytes:
        if path not in self.files:
            raise NotFound(f"{path}: not found")
        return self.files[path]

    async def dockerfile(self, path: str, *, classic: bool = False) -> bytes:
        return await self.read(path)

    async def close(self) -> None:
        self.log.append("closed")


class Receiver:
    """Takes files by name as `fsutil` sends them, all of them asked for."""

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self._names: list[str] = []
        self.files: dict[str, bytes] = {}
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._left = 0

    async def feed(self, *packets: bytes) -> None:
        for packet in packets:
            self._take(packet)

    def _take(self, packet: bytes) -> None:
        message = proto("fsutil.types.Packet").decode(packet)
        make = proto("fsutil.types.Packet")
        if message.type == 0 and message.stat is not None:
            self._names.append(message.stat.path)
        elif message.type == 0:
            self._left = len(self._names)
            for number in range(self._left):
                self._out.put_nowait(make(type=1, ID=number).encode())
        elif message.type == 2 and message.data:
            name = self._names[message.ID]
            self.files[name] = self.files.get(name, b"") + message.data
        elif message.type == 2:
            self._left -= 1
            if not self._left:
                self._out.put_nowait(make(type=3).encode())

    async def end(self) -> None:
        self._out.put_nowait(None)

    async def packets(self) -> AsyncIterator[list[bytes]]:
        while (packet := await self._out.get()) is not None:
            yield [packet]

    async def context(self) -> Files:
        return Files(self.files, self._log)

    async def close(self) -> None:
        self._log.append("received")


class Contexts:
    """Keeps what was asked of it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.keys: list[tuple[str, str]] = []

    async def receive(self, name: str, shared_key: str, *, always: bool = False) -> Receiver:
        self.keys.append((name, shared_key))
        return Receiver(self.log)

    async def from_tar(self, chunks: AsyncIterator[bytes], *, classic: bool = False) -> Files:
        data = b"".join([chunk async for chunk in chunks])
        return Files({"Dockerfile": data}, self.log)


class Builder:
    """Does what `work` does with the request, and answers one image."""

    def __init__(self) -> None:
        self.contexts = Contexts()
        self.requests: list[BuildRequest] = []
        self.cancelled = 0
        self.ignore: Any = None
        self.refusal: Exception | None = None  # raised before any step begins
        self.records: list[dict[str, Any]] = []
        self.pruned: list[Any] = []

    async def work(self, request: BuildRequest, observer: Observer) -> None:
        """To be replaced."""

    async def build(self, request: BuildRequest, observer: Observer, *, build_id: str = "") -> BuildResult:
        self.requests.append(request)
        try:
            if self.refusal is not None:
                raise self.refusal
            assert callable(request.ignore)
            self.ignore = await request.ignore()
            observer.vertex(Vertex("sha256:step", "[1/1] FROM scratch", started=1, completed=2))
            await self.work(request, observer)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:x"]}}'
        return BuildResult((PlatformResult(Platform("linux", "amd64"), config, ("sha256:c",), (), (), ()),))

    async def disk_usage(self) -> list[dict[str, Any]]:
        return self.records

    async def prune(self, filters: Any, **options: Any) -> dict[str, Any]:
        self.pruned.append((filters, options))
        return {"CachesDeleted": [one["ID"] for one in self.records], "SpaceReclaimed": 1}


def engine() -> Any:
    return SimpleNamespace(
        builder=Builder(),
        storage=SimpleNamespace(name="overlay2"),
        images=SimpleNamespace(index=SimpleNamespace(layers={"sha256:c": None})),
        system=SimpleNamespace(id="engine"),
        config=SimpleNamespace(builder={}, host_gateway_ips=["10.9.8.7"]),
    )


class Scene:
    """`kit` is the service, `client` calls it; `builder` is what it builds with."""

    def __init__(self, kit: BuildKit, client: GrpcClient) -> None:
        self.kit, self.client = kit, client

    @property
    def builder(self) -> Any:
        return self.kit.builder

    async def control(self, name: str, request: Any) -> Any:
        return await self.client.unary(f"{CONTROL}{name}", request)

    async def bridge(self, name: str, request: Any, ref: str = "job") -> Any:
        return await self.client.unary(
            f"{BRIDGE}{name}", request, metadata={"buildkit-controlapi-buildid": ref}
        )

    async def status(self, ref: str = "job") -> list[Any]:
        async with await self.client.call(f"{CONTROL}Status") as call:
            await call.send(control("StatusRequest", Ref=ref))
            call.end()
            return [response async for response in call]


@asynccontextmanager
async def scene(lent: Mapping[str, Handler] | None = None, peer: Peer | None = None) -> AsyncIterator[Scene]:
    """A client whose session lends these handlers (None: it has no session)."""
    kit = BuildKit(engine())
    near, far = await pair()
    serving_kit = asyncio.ensure_future(_served(kit, far, peer or Peer()))
    client = GrpcClient(near)
    running = asyncio.ensure_future(client.run())
    tasks = [serving_kit, running]
    if lent is not None:
        tasks += await _session(kit, lent, peer or Peer())
    try:
        yield Scene(kit, client)
    finally:
        client.close()
        kit.sessions.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _served(kit: BuildKit, end: Any, peer: Peer) -> None:
    await kit.serve(end, peer)
    await end.over()


async def _session(kit: BuildKit, lent: Mapping[str, Handler], peer: Peer) -> list[Any]:
    near, far = await pair()
    headers = {
        "x-docker-expose-session-uuid": [SESSION],
        "x-docker-expose-session-name": ["ctx"],
        "x-docker-expose-session-sharedkey": ["key"],
        "x-docker-expose-session-grpc-method": list(lent),
    }
    client = asyncio.ensure_future(GrpcServer(lent).serve(far))
    held = asyncio.ensure_future(kit.hold(near, headers, peer))
    return [held, client]


__all__ = ["BRIDGE", "CONTROL", "SESSION", "Scene", "bridge", "control", "scene", "serving"]

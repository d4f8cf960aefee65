"""An engine with images whose layers are blobs (nothing is unpacked: no root is needed), and a client."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.exporting.client import TargetExists
from compatd.engine.builder.exporting.descriptors import Descriptor, digest_of
from compatd.engine.builder.exporting.task import Task
from compatd.engine.builder.progress import Log, Notice, Observer, Status, StepEvent, Vertex
from compatd.engine.builder.request import BuildResult, PlatformResult, StepRecord
from compatd.engine.errors import NotFound
from compatd.engine.images.model import Layer, chain_ids
from compatd.engine.images.platform import Platform
from tests.unit.images.imagekit import make_images

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def layer_tar(name: str, content: bytes) -> bytes:
    """A tar with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_engine(root: Path, worker: Any = None) -> Any:
    """What exports use of an engine."""
    images = make_images(root, worker=worker)
    images.storage.open()
    images.index.held = lambda: list(images.index.layers)
    config = SimpleNamespace(insecure_registries=[], max_download_attempts=1)
    return SimpleNamespace(images=images, storage=images.storage, config=config, runtime=worker)


def add_layer(engine: Any, number: int, parent: str) -> Layer:
    """A layer that came packed, on top of `parent` (a chain ID or "")."""
    images = engine.images
    plain = layer_tar(f"file-{number}", f"content {number}".encode())
    diff_id = digest_of(plain)
    blob = gzip.compress(plain, mtime=0)
    images.index.blob_path(digest_of(blob)).write_bytes(blob)
    chain_id = chain_ids([parent, diff_id])[1] if parent else diff_id
    images.storage.commit_layer(images.storage.prepare_layer(), chain_id)
    layer = Layer(chain_id, diff_id, parent, 9, digest_of(blob), len(blob), len(plain), "gzip")
    images.index.add_layer(layer)
    return layer


def built(engine: Any, *platforms: Platform, layers: int = 2, **more: Any) -> BuildResult:
    """A result of these platforms, each of its own layers."""
    results = []
    for place, platform in enumerate(platforms or (AMD64,)):
        parent, made = "", []
        for number in range(layers):
            made.append(add_layer(engine, 10 * place + number, parent))
            parent = made[-1].chain_id
        history = [{"created": "2026-01-02T03:04:05Z", "created_by": f"step {n}"} for n in range(layers)]
        config = {
            "architecture": platform.architecture,
            "config": {"Cmd": ["x"]},
            "created": "2026-01-02T03:04:05Z",
            "history": history,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in made]},
        }
        steps = tuple(
            StepRecord(f"key {place} {number}", (f"key {place} {number - 1}",) if number else (),
                       one.chain_id, f"step {number}", created=number + 1, kind="run")
            for number, one in enumerate(made)
        )  # fmt: skip
        raw = json.dumps(config, separators=(",", ":")).encode()
        results.append(
            PlatformResult(platform, raw, tuple(one.chain_id for one in made), history, steps, (), **more)
        )
    return BuildResult(tuple(results))


class FakePackets:
    """Takes what is sent."""

    def __init__(self, client: "FakeClient") -> None:
        self._client = client

    async def send(self, *messages: bytes) -> None:
        for message in messages:
            self._client.data += proto("moby.filesync.v1.BytesMessage").decode(message).data

    async def receive(self) -> list[bytes] | None:
        return None

    def end(self) -> None:
        self._client.ended += 1


class FakeStore:
    """A content store in a dict."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.order: list[str] = []

    async def size(self, digest: str) -> int:
        if digest not in self.blobs:
            raise NotFound(f"content {digest}: not found")
        return len(self.blobs[digest])

    async def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        yield self.blobs[digest]

    async def write(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        data = b"".join([piece async for piece in chunks])
        assert (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}") == (
            descriptor.size,
            descriptor.digest,
        )
        self.blobs[descriptor.digest] = data
        self.order.append(descriptor.digest)


class FakeClient:
    """A client with stores by name; `data` is what came through FileSend."""

    def __init__(self, *, has_it: bool = False) -> None:
        self.data, self.ended = b"", 0
        self.metadata: list[Mapping[str, str]] = []
        self.stores: dict[str, FakeStore] = {}
        self._has_it = has_it

    def content(self, store: str) -> FakeStore:
        return self.stores.setdefault(store, FakeStore())

    @contextlib.asynccontextmanager
    async def sending(self, exporter: int, metadata: Mapping[str, str]) -> AsyncIterator[FakePackets]:
        if self._has_it:
            raise TargetExists("target already exists")
        self.metadata.append(metadata)
        yield FakePackets(self)

    def files(self) -> dict[str, bytes]:
        """Of the archive that came."""
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]


class Lines(Observer):
    """Keeps what it hears, and the parts' names."""

    def __init__(self) -> None:
        self.vertexes: dict[str, Vertex] = {}
        self.logs: list[Log] = []
        self.warnings: list[Notice] = []
        self.steps: list[StepEvent] = []
        self.parts: list[str] = []

    def vertex(self, vertex: Vertex) -> None:
        self.vertexes[vertex.digest] = vertex

    def status(self, status: Status) -> None:
        if status.id not in self.parts:
            self.parts.append(status.id)

    async def log(self, log: Log) -> None:
        self.logs.append(log)

    def warning(self, notice: Notice) -> None:
        self.warnings.append(notice)

    async def step(self, event: StepEvent) -> None:
        self.steps.append(event)


def task(client: Any = None, **more: Any) -> Task:
    """What an export has at hand."""
    return Task(observer=Lines(), client=client, **more)

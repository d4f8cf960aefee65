"""Layers as blobs with a digest and a size, packed as asked, to be read as often as needed."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compatd.engine.builder.exporting.attributes import GZIP, PLAIN, ZSTD, Compression
from compatd.engine.builder.exporting.descriptors import Descriptor, layer_type
from compatd.engine.errors import EngineError
from compatd.engine.images import Images
from compatd.engine.images.model import Layer
from compatd.engine.images.registry import sources
from compatd.engine.images.registry.threads import to_the_end
from compatd.engine.images.together import together

PIECE = 1 << 20
_PARALLEL = 2  # compressing is bound by the processors


@dataclass(frozen=True, slots=True)
class Blob:
    """A descriptor, and how to get at its bytes: `chunks()` begins anew each time."""

    descriptor: Descriptor
    chunks: Callable[[], AsyncIterator[bytes]]
    path: Path | None = None
    """The file that has the bytes, if there is one."""

    @property
    def digest(self) -> str:
        """Of its descriptor."""
        return self.descriptor.digest


def small(descriptor: Descriptor, data: bytes) -> Blob:
    """A blob of bytes that are at hand."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    return Blob(descriptor, chunks)


def of_file(descriptor: Descriptor, path: Path) -> Blob:
    """A blob that is a file."""

    async def chunks() -> AsyncIterator[bytes]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while data := await to_the_end(os.read, fd, PIECE):
                yield data
        finally:
            os.close(fd)

    return Blob(descriptor, chunks, path)


@dataclass(slots=True)
class Contents:
    """What is in an archive: its blobs (children first), and what its index names."""

    blobs: list[Blob] = field(default_factory=list)
    target: Descriptor | None = None
    config: Descriptor | None = None  # of a single image
    layers: Sequence[Descriptor] = ()

    def add(self, descriptor: Descriptor, data: bytes) -> None:
        """One more small blob."""
        self.blobs.append(small(descriptor, data))


class Packer:
    """Packs layers into files of a folder that is gone at the end (`packing`); each only once a kind."""

    def __init__(self, images: Images, folder: Path) -> None:
        self._images = images
        self._folder = folder
        self._made: dict[tuple[str, str, int | None], asyncio.Future[Blob]] = {}
        self._slots = asyncio.Semaphore(_PARALLEL)

    async def layers(
        self, chain_ids: Sequence[str], how: Compression, *, oci: bool, file: bool = False
    ) -> list[Blob]:
        """The blobs of these layers, base first; as `layer`. Raises EngineError."""
        found = [self._images.index.layers[chain_id] for chain_id in chain_ids]
        tasks = [asyncio.ensure_future(self.layer(layer, how, oci=oci, file=file)) for layer in found]
        await together(tasks)
        return [task.result() for task in tasks]

    async def layer(self, layer: Layer, how: Compression, *, oci: bool, file: bool = False) -> Blob:
        """One layer's blob; `file`: it is to have a path. Raises EngineError."""
        came = layer.compression
        if came in (GZIP, ZSTD) and (not how.force or came == how.kind):
            described = Descriptor(
                layer_type(came, oci=oci), layer.digest, layer.blob_size, diff_id=layer.diff_id
            )
            return of_file(described, self._images.index.blob_path(layer.digest))
        if how.kind == PLAIN and not file:
            described = Descriptor(
                layer_type("", oci=oci), layer.diff_id, layer.plain_size, diff_id=layer.diff_id
            )
            return Blob(described, lambda: self._images.layers.plain_chunks(layer))
        key = (layer.diff_id, how.kind, how.level)
        if key not in self._made:
            self._made[key] = asyncio.ensure_future(self._pack(layer, how))
        blob = await asyncio.shield(self._made[key])
        assert blob.path
        found = blob.descriptor
        kind = layer_type(how.kind, oci=oci)
        return of_file(Descriptor(kind, found.digest, found.size, diff_id=layer.diff_id), blob.path)

    async def _pack(self, layer: Layer, how: Compression) -> Blob:
        path = self._folder / f"blob-{len(self._made)}-{layer.diff_id[-12:]}"
        async with self._slots:
            digest, size = await write(path, self._images.layers.plain_chunks(layer), how)
        return of_file(Descriptor("", digest, size, diff_id=layer.diff_id), path)

    async def close(self) -> None:
        """End what is being packed."""
        for future in self._made.values():
            future.cancel()
        await asyncio.gather(*self._made.values(), return_exceptions=True)


@asynccontextmanager
async def packing(images: Images) -> AsyncIterator[Packer]:
    """A Packer for the length of the block; its files are removed then (a killed daemon's at its start)."""
    folder = images.storage.prepare_layer()
    packer = Packer(images, folder)
    try:
        yield packer
    finally:
        try:
            await packer.close()
        finally:
            images.storage.discard(folder)


def compressor(how: Compression) -> Any:
    """An object with `compress` and `flush` whose output depends on nothing but its input; None for none.

    Raises EngineError where Python cannot.
    """
    if how.kind == ZSTD:
        try:
            import zstandard
        except ImportError:
            raise EngineError(
                "compression=zstd is not supported here: the zstandard module is missing"
            ) from None
        return zstandard.ZstdCompressor(level=3 if how.level is None else max(how.level, 1)).compressobj()
    if how.kind == GZIP:
        if how.level is None:
            return sources.gzip_compressor()
        import zlib

        return zlib.compressobj(how.level, wbits=31)
    return None


async def write(path: Path, chunks: AsyncIterator[bytes], how: Compression) -> tuple[str, int]:
    """Write the stream, packed, into a new file; (digest, size) of it. Raises EngineError, OSError."""
    packer = compressor(how)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    digest = hashlib.sha256()
    size = 0
    put = sources.packing(fd, digest, packer)
    try:
        async for piece in chunks:
            if piece:
                size += await to_the_end(put, piece)
        size += await to_the_end(put, b"")
    finally:
        os.close(fd)
    return f"sha256:{digest.hexdigest()}", size


async def each(blobs: Iterable[Blob], action: Callable[[Blob], Awaitable[None]]) -> None:
    """Do it with every blob once, some at a time. Raises what the first failure raises."""
    slots = asyncio.Semaphore(_PARALLEL)
    unique = {blob.digest: blob for blob in blobs}

    async def one(blob: Blob) -> None:
        async with slots:
            await action(blob)

    await together([asyncio.ensure_future(one(blob)) for blob in unique.values()])

"""`--cache-from`: what steps came to elsewhere, out of a registry or a client's folder.

A cache's own manifest, or an image that has one inside. Whatever is wrong with it, the build goes on without.
Source: moby/buildkit cache/remotecache (import, local, registry).
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compatd.engine.builder.exporting import cachemodel
from compatd.engine.builder.exporting.attributes import boolean
from compatd.engine.builder.exporting.cachemodel import Record
from compatd.engine.builder.exporting.configs import INLINE_CACHE
from compatd.engine.builder.exporting.descriptors import Descriptor, digest_of
from compatd.engine.builder.exporting.task import CacheEntry, ContentStore, Line, Task
from compatd.engine.errors import EngineError, NotFound
from compatd.engine.images.archive import IMAGE_MANIFESTS, INDEXES
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Layer
from compatd.engine.images.reference import Reference, is_digest, parse
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.endpoints import Trusting
from compatd.engine.images.registry.errors import RegistryError
from compatd.engine.images.registry.threads import to_the_end
from compatd.engine.images.registry.trying import at_registry

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

_MAX_CONFIG = 16 << 20
_MAX_MANIFESTS = 32
_MISSING = ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND")


class _Place(Protocol):
    """Where a cache is."""

    name: str

    async def manifest(self, digest: str) -> bytes:
        """A manifest, checked; "" is the one that was asked for. Raises EngineError."""

    async def small(self, digest: str) -> bytes:
        """A small blob, checked. Raises EngineError."""

    def file(self, descriptor: Descriptor) -> "Any":
        """`async with`: a file with the blob, checked. Raises EngineError."""


class _Registry:
    def __init__(self, engine: "Engine", task: Task, given: Mapping[str, str]) -> None:
        if not given.get("ref"):
            raise EngineError("missing ref")
        self._engine, self._task = engine, task
        self._wanted: Reference = parse(given["ref"]).tagged()
        insecure = "registry.insecure" in given and boolean("registry.insecure", given["registry.insecure"])
        self._config: Any = Trusting(engine.config, self._wanted.domain) if insecure else engine.config
        self.name = given["ref"]

    async def _at(self, action: Callable[[Repository], Any]) -> Any:
        auth = await self._task.auth.credentials(self._wanted.domain) if self._task.auth else {}
        try:
            return await at_registry(self._wanted, self._config, auth, action)
        except RegistryError as error:
            if error.code in _MISSING:
                raise NotFound(f"{self._wanted}: not found") from None
            raise EngineError(error.text) from error

    async def manifest(self, digest: str) -> bytes:
        async def ask(repository: Repository) -> bytes:
            name = digest or self._wanted.digest or self._wanted.tag
            return (await repository.manifest(name))[0]

        found: bytes = await self._at(ask)
        return found

    async def small(self, digest: str) -> bytes:
        found: bytes = await self._at(lambda repository: repository.config(digest))
        return found

    @asynccontextmanager
    async def file(self, descriptor: Descriptor) -> AsyncIterator[Path]:
        """As in `_Place`."""
        path = self._engine.images.storage.tmp / f"cache-{secrets.token_hex(8)}"

        async def silent(status: str, current: int = 0, total: int = 0) -> None:
            """Who draws a build's progress sees the line as a whole."""

        async def fetch(repository: Repository) -> None:
            from compatd.engine.images.registry.download import Download

            attempts = self._engine.config.max_download_attempts
            await Download(repository, descriptor.digest, descriptor.size, path, silent).run(attempts)

        try:
            await self._at(fetch)
            yield path
        finally:
            path.unlink(missing_ok=True)


class _Folder:
    def __init__(self, engine: "Engine", task: Task, given: Mapping[str, str]) -> None:
        if not given.get("digest"):
            raise EngineError("local cache importer requires explicit digest")
        if not given.get("src"):
            raise EngineError("local cache importer requires src")
        if task.client is None:
            raise EngineError("local cache exporter/importer requires session")
        self._engine = engine
        self._digest = given["digest"]
        self._store: ContentStore = task.client.content(f"local:{given['src']}")
        self.name = f"local:{given['digest']}"  # as BuildKit calls it

    async def manifest(self, digest: str) -> bytes:
        return await self.small(digest or self._digest)

    async def small(self, digest: str) -> bytes:
        return await read_small(self._store, digest)

    @asynccontextmanager
    async def file(self, descriptor: Descriptor) -> AsyncIterator[Path]:
        """As in `_Place`."""
        async with fetched(self._engine, self._store, descriptor) as path:
            yield path


async def read_small(store: ContentStore, digest: str) -> bytes:
    """A small blob of a client's store, checked. Raises EngineError."""
    size = await store.size(digest)
    if size > _MAX_CONFIG:
        raise EngineError(f"blob {digest} is too large ({size} > {_MAX_CONFIG})")
    data = b"".join([piece async for piece in store.read(digest, size)])
    if not is_digest(digest) or digest_of(data) != digest:
        raise EngineError(f"blob {digest} has other content")
    return data


@asynccontextmanager
async def fetched(engine: "Engine", store: ContentStore, descriptor: Descriptor) -> AsyncIterator[Path]:
    """A file with a blob of a client's store, checked, for the length of the block. Raises EngineError."""
    path = engine.images.storage.tmp / f"cache-{secrets.token_hex(8)}"
    digest = hashlib.sha256()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

        def put(data: bytes) -> None:
            digest.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

        try:
            async for piece in store.read(descriptor.digest, descriptor.size):
                await to_the_end(put, piece)
        finally:
            os.close(fd)
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise EngineError(f"blob {descriptor.digest} has other content")
        yield path
    finally:
        path.unlink(missing_ok=True)


_PLACES: dict[str, Callable[["Engine", Task, Mapping[str, str]], _Place]] = {
    "registry": _Registry,
    "local": _Folder,
}


class Imported:
    """One imported cache; its manifest is read when it is first asked."""

    def __init__(self, engine: "Engine", entry: CacheEntry, task: Task) -> None:
        self._engine, self._entry, self._task = engine, entry, task
        self._place: _Place | None = None
        self._reading: asyncio.Future[dict[str, Record]] | None = None
        self._lock = asyncio.Lock()

    async def find(self, key: str, parent: Sequence[str], pins: Pins) -> tuple[Layer, int] | None:
        """As `request.CacheSource`. A cache that cannot be read has nothing."""
        record = (await self._known()).get(cachemodel.digest_of_key(key))
        if record is None or self._place is None:
            return None
        blob = record.layers[-1]
        below = parent[-1] if parent else ""
        chain_id = self._engine.images.layers.chain(below, blob.diff_id)
        layer = self._engine.images.index.layers.get(chain_id)
        if layer is not None:
            pins.add(chain_id)
            return layer, record.created
        with suppress(EngineError):
            async with self._place.file(blob) as path:
                layers = self._engine.images.layers
                layer = await layers.from_file(path, below, blob.diff_id, pins, digest=blob.digest)
                return layer, record.created
        return None

    async def defined(self, definition: str) -> str:
        """As `request.CacheSource`."""
        record = (await self._known()).get(definition)
        return record.parents[0] if record is not None and len(record.parents) == 1 else ""

    async def _known(self) -> dict[str, Record]:
        async with self._lock:
            if self._reading is None:
                self._reading = asyncio.ensure_future(self._read())
            return await asyncio.shield(self._reading)

    async def _read(self) -> dict[str, Record]:
        entry = self._entry
        name = _shown(entry)
        records: dict[str, Record] = {}
        async with self._task.vertex(f"importing cache manifest from {name}", lenient=True) as line:
            make = _PLACES.get(entry.type)
            if make is None:
                raise EngineError(f"unknown cache importer: {entry.type}")
            try:
                place = make(self._engine, self._task, entry.attributes)
                data = await place.manifest("")
            except EngineError as error:
                text = f"failed to configure {entry.type} cache importer: {error.message}"
                raise EngineError(text) from error
            records = await _records(place, data, line)
            self._place = place
        return records

    async def close(self) -> None:
        """End what is under way."""
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


def _shown(entry: CacheEntry) -> str:
    given = entry.attributes
    if entry.type == "registry":
        return given.get("ref", "")
    return f"{entry.type}:{given.get('digest') or secrets.token_hex(8)}"


def sources(engine: "Engine", entries: Sequence[CacheEntry], task: Task) -> list[Imported]:
    """The caches to ask, in their order: for `BuildRequest.cache_from`."""
    return [Imported(engine, entry, task) for entry in entries]


async def _records(place: _Place, data: bytes, line: Line) -> dict[str, Record]:
    """All that a manifest leads to. Raises EngineError."""
    manifest = await _document(data)
    kind = _kind(manifest)
    line.note(f"inferred cache manifest type: {kind}")
    name = "manifests" if kind in INDEXES else "layers"
    items = [found for item in _items(manifest, name) if (found := _descriptor(item))]
    config = _descriptor(manifest.get("config") or {}) if name == "layers" else None
    if name == "manifests":
        config = next((item for item in items if item.media_type == cachemodel.CONFIG), None)
    if config is not None and config.media_type == cachemodel.CONFIG:
        blobs = {item.digest: item for item in items if item.diff_id}
        return await asyncio.to_thread(cachemodel.decode, await place.small(config.digest), blobs)
    if name == "layers":
        return await _inline(place, manifest)
    records: dict[str, Record] = {}
    for item in [item for item in items if item.media_type in IMAGE_MANIFESTS][:_MAX_MANIFESTS]:
        records |= await _inline(place, await _document(await place.manifest(item.digest)))
    return records


async def _inline(place: _Place, manifest: Json) -> dict[str, Record]:
    """What an image brings in its config. Raises EngineError."""
    config = _descriptor(manifest.get("config") or {})
    layers = [_descriptor(item) for item in _items(manifest, "layers")]
    if config is None or not layers:
        return {}
    document = await _document(await place.small(config.digest))
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(layers) or INLINE_CACHE not in document:
        return {}
    found = []
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        if layer is None or not isinstance(diff_id, str) or not is_digest(diff_id):
            return {}
        found.append(replace(layer, diff_id=diff_id))
    try:
        data = base64.b64decode(str(document[INLINE_CACHE]), validate=True)
    except ValueError:
        raise EngineError("invalid build cache: it is no base64") from None
    return await asyncio.to_thread(cachemodel.decode_inline, data, found)


async def _document(data: bytes) -> Json:
    try:
        found = await asyncio.to_thread(json.loads, data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise EngineError("invalid cache manifest: it is no JSON object")
    return found


def _kind(manifest: Json) -> str:
    kind = manifest.get("mediaType")
    if kind in (*INDEXES, *IMAGE_MANIFESTS):
        return str(kind)
    if "manifests" in manifest:
        return INDEXES[-1]
    if "config" in manifest:
        return IMAGE_MANIFESTS[-1]
    raise EngineError("unsupported or uninferrable manifest type")


def _items(manifest: Json, name: str) -> list[Json]:
    items = manifest.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise EngineError("invalid cache manifest")
    return items


def _descriptor(item: Json) -> Descriptor | None:
    digest, size = item.get("digest"), item.get("size")
    if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or size < 0:
        return None
    annotations = item.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    diff_id = str(annotations.get(cachemodel.DIFF_ID) or "")
    return Descriptor(
        str(item.get("mediaType") or ""), digest, size, diff_id=diff_id if is_digest(diff_id) else ""
    )

"""`docker load`: archives of `docker save` and OCI image layouts become images.

The worker takes the archive apart into a flat folder; this decides what its members mean. Formats:
`manifest.json` of Docker Engine (since 1.10), and `index.json` of the OCI image layout.
"""

import asyncio
import hashlib
import json
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.layers import piped
from compatd.engine.images.reference import is_digest
from runtime.storage.base import Storage

Json = dict[str, Any]

SPOOL = "runtime.storage.spool:run"
MAX_JSON = 16 << 20

IMAGE_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(slots=True)
class Member:
    """What became of a member: a `file` at `path`, a `layer` unpacked at `path`, or a `known` layer left out.

    `size` is that in the archive; `result` the unpacking's, as `Layers.from_folder` takes it.
    """

    kind: str
    path: Path
    size: int
    name: str
    result: Json = field(default_factory=dict)


class Archive:
    """Members of a spooled archive by their names, links followed."""

    def __init__(self, folder: Path, index: bytes) -> None:
        self._members: dict[str, Member] = {}
        self._links: dict[str, tuple[str, str]] = {}
        for line in index.split(b"\n\0"):
            if not line:
                continue
            kind, number, size, raw_name, extra = line.split(b"\0", 4)
            if not number.isdigit():  # what comes from an archive must never be a path of ours
                raise EngineError("invalid archive: malformed member")
            name = _text(raw_name)
            self._members.pop(name, None)
            self._links.pop(name, None)
            if kind in (b"symlink", b"hardlink"):
                self._links[name] = (kind.decode(), _text(extra))
                continue
            member = Member(kind.decode(), folder / number.decode(), int(size), name)
            if kind == b"layer":
                diff_id, files, _ = extra.decode().split(" ")
                member.result = {
                    "diff_id": diff_id, "digest": diff_id, "size": int(size), "plain_size": int(size),
                    "layer_size": int(files), "compression": "",
                }  # fmt: skip
            self._members[name] = member

    def find(self, name: str) -> Member | None:
        """The member of that name; links, which old archives have for equal layers, are followed inside."""
        for _ in range(40):
            name = posixpath.normpath("/" + name)[1:]
            if name not in self._links:
                return self._members.get(name)
            kind, link = self._links[name]
            name = link if kind == "hardlink" or link.startswith("/") else f"{posixpath.dirname(name)}/{link}"
        return None

    def member(self, name: str) -> Member:
        """As `find`; raises EngineError when it is not there."""
        found = self.find(name)
        if found is None:
            raise EngineError(f"open {name}: no such file or directory")
        return found

    async def read(self, name: str) -> bytes:
        """A small file's content. Raises EngineError."""
        member = self.member(name)
        if member.kind != "file" or member.size > MAX_JSON:
            raise EngineError(f"{name} is no JSON file")
        return await asyncio.to_thread(member.path.read_bytes)

    async def json(self, name: str) -> Any:
        """A JSON file's value. Raises EngineError."""
        return await self._decoded(name, await self.read(name))

    async def checked(self, digest: Any) -> tuple[bytes, Any]:
        """(bytes, value) of the JSON blob of that digest. Raises EngineError, also for other bytes."""
        name = self.blob(digest)
        data = await self.read(name)
        algorithm, _, wanted = str(digest).partition(":")
        if hashlib.new(algorithm, data).hexdigest() != wanted:
            raise EngineError(f"invalid archive: {name} has another digest")
        return data, await self._decoded(name, data)

    @staticmethod
    async def _decoded(name: str, data: bytes) -> Any:
        try:
            return await asyncio.to_thread(json.loads, data)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"invalid archive: failed to decode {name}: {error}") from None

    def blob(self, digest: Any) -> str:
        """The name of an OCI layout's blob. Raises EngineError for what is no digest."""
        if not isinstance(digest, str) or not is_digest(digest):
            raise EngineError("invalid checksum digest format")
        return "blobs/" + digest.replace(":", "/")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@asynccontextmanager
async def spooled(
    overlay: Storage, runtime: Any, chunks: AsyncIterator[bytes], known: list[str]
) -> AsyncIterator[Archive]:
    """The archive that comes in `chunks`; what is left of it is gone after the block. Raises EngineError.

    `known` has the hex of digests whose members need not be kept.
    """
    folder = overlay.prepare_layer()
    target = folder / "diff"

    async def work(source: int) -> Any:
        return await runtime.worker(SPOOL, {"target": str(target), "known": known}, [source])

    try:
        answer = await piped(chunks, work)
        if "error" in answer:
            raise EngineError(f"Error processing tar file(exit status 1): {answer['error']}")
        index = await asyncio.to_thread((target / "index").read_bytes)
        yield Archive(target, index)
    finally:
        overlay.discard(folder)


@dataclass(slots=True)
class Candidate:
    """An image in an archive: where its config and layers are, and the names it is to get.

    `manifest` is its OCI one byte for byte, to be sent again by a push; b"" for none.
    """

    config: str
    layers: list[str]
    names: list[str] = field(default_factory=list)
    parent: str = ""
    manifest: bytes = b""


async def candidates(archive: Archive, accept: Callable[[Json], Awaitable[bool]]) -> list[Candidate]:
    """All images of the archive. `accept` chooses among an index's descriptors. Raises EngineError."""
    if archive.find("manifest.json"):
        found = _docker(await archive.json("manifest.json"))
        await _add_manifests(archive, found, accept)
        return found
    if archive.find("index.json"):
        return await _layout(archive, accept)
    raise EngineError("invalid archive: does not contain a manifest.json")


def _docker(manifest: Any) -> list[Candidate]:
    if manifest is None:
        raise EngineError("invalid manifest, manifest cannot be null (but can be [])")
    if not isinstance(manifest, list):
        raise EngineError("invalid archive: failed to decode manifest.json")
    found = []
    for item in manifest:
        item = item if isinstance(item, dict) else {}
        config, layers, names = item.get("Config"), item.get("Layers") or [], item.get("RepoTags") or []
        lists = isinstance(layers, list) and isinstance(names, list)
        if (
            not isinstance(config, str)
            or not lists
            or not all(isinstance(text, str) for text in layers + names)
        ):
            raise EngineError("invalid archive: failed to decode manifest.json")
        found.append(Candidate(config, layers, names, str(item.get("Parent") or "")))
    return found


async def _add_manifests(
    archive: Archive, found: list[Candidate], accept: Callable[[Json], Awaitable[bool]]
) -> None:
    """What an OCI layout in the same archive knows besides: manifests of layers that are packed.

    Where all are plain tars, `docker save` has made it up, and the image came otherwise.
    """
    if not archive.find("index.json"):
        return
    try:
        layout = await _layout(archive, accept)
    except EngineError:
        return  # the other form rules
    known = {(other.config, *other.layers): other.manifest for other in layout}
    for candidate in found:
        manifest = known.get((candidate.config, *candidate.layers), b"")
        if manifest and any(_is_packed(layer) for layer in json.loads(manifest)["layers"]):
            candidate.manifest = manifest


def _is_packed(layer: Json) -> bool:
    return str(layer.get("mediaType")).endswith(("gzip", "zstd"))


async def _layout(archive: Archive, accept: Callable[[Json], Awaitable[bool]]) -> list[Candidate]:
    found: dict[str, Candidate] = {}
    todo = [(item, _names(item)) for item in _list((await archive.json("index.json")), "manifests")]
    seen = 0
    while todo:
        descriptor, names = todo.pop(0)
        seen += 1
        if seen > 1000:
            raise EngineError("invalid archive: too many manifests")
        raw, document = await archive.checked(descriptor.get("digest"))
        kind = descriptor.get("mediaType")
        if kind in INDEXES:
            inner = [item for item in _list(document, "manifests") if await accept(item)]
            todo[:0] = [(item, names) for item in inner[:1]]
        elif kind in IMAGE_MANIFESTS:
            digest = descriptor["digest"]
            if digest not in found:
                layers = [archive.blob(layer.get("digest")) for layer in _list(document, "layers")]
                config = archive.blob((document.get("config") or {}).get("digest"))
                found[digest] = Candidate(config, layers, manifest=raw)
            found[digest].names += [name for name in names if name not in found[digest].names]
    return list(found.values())


def _list(document: Any, key: str) -> list[Json]:
    items = document.get(key) or [] if isinstance(document, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise EngineError("invalid archive: malformed OCI layout")
    return items


def _names(descriptor: Json) -> list[str]:
    annotations = descriptor.get("annotations")
    if not isinstance(annotations, dict):
        return []
    if annotations.get(IMAGE_NAME):
        return [str(annotations[IMAGE_NAME])]
    name = str(annotations.get(REF_NAME) or "")
    # A mere tag names no repository
    return [name] if "/" in name or ":" in name else []

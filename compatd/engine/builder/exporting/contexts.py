"""Named contexts that are images (`--build-context NAME=docker-image://…`), or OCI layouts at the client.

Source: moby/buildkit frontend/dockerui/namedcontext.go, source/containerimage (OCI layouts).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.bases import Auth, Base, Bases
from compatd.engine.builder.board import Board
from compatd.engine.builder.exporting.cacheimport import fetched, read_small
from compatd.engine.builder.exporting.descriptors import Descriptor
from compatd.engine.builder.exporting.task import Client, ContentStore, Task
from compatd.engine.errors import EngineError, NotFound
from compatd.engine.images.archive import IMAGE_MANIFESTS, INDEXES
from compatd.engine.images.index import Pins
from compatd.engine.images.model import make_image
from compatd.engine.images.platform import Platform, candidates, normalise
from compatd.engine.images.reference import is_digest, parse

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

_SCRATCH = "scratch"
_MAX_DEPTH, _MAX_LAYERS = 4, 1000


class _Named(Bases):
    """As for FROM, but the line says which context it is."""

    def __init__(
        self, engine: "Engine", task: Task, pins: Pins, *, label: str, pull: bool, auth: Auth | None
    ) -> None:
        super().__init__(engine.images, Board(task.observer, label), pins, pull=pull, auth=auth)
        self._label = label

    def load_title(self, shown: str) -> str:
        return f"{self._label} load metadata for {parse(shown).familiar}"


class ImageContext:
    """`docker-image://reference`: an image that is here, or is pulled."""

    def __init__(
        self, engine: "Engine", task: Task, name: str, reference: str, *, pull: bool = False
    ) -> None:
        """Raises InvalidParameter for what is no reference."""
        if reference != _SCRATCH:
            parse(reference)
        self._engine, self._task = engine, task
        self._name, self._reference, self._pull = name, reference, pull

    async def resolve(self, platform: Platform, pins: Pins) -> Base:
        """The image, its layers pinned if they are here. Raises EngineError."""
        line = f"[context {self._name}] {self._reference}"
        if self._reference == _SCRATCH:
            document = {"os": platform.os, "architecture": platform.architecture, "config": {}}
            return Base("", "", document, (), line=line)
        label = f"[context {self._name}]"
        auth = self._task.auth
        bases = _Named(self._engine, self._task, pins, label=label, pull=self._pull, auth=auth)
        try:
            found = await bases.get(self._reference, platform)
        except EngineError as error:
            name = bases.name(self._reference)
            raise EngineError(f"failed to resolve source metadata for {name}: {error.message}") from error
        finally:
            await bases.close()
        return replace(found, line=line)


class LayoutContext:
    """`oci-layout://store@digest`: an image in a folder of the client's; `client` is asked when needed."""

    def __init__(
        self,
        engine: "Engine",
        task: Task,
        name: str,
        reference: str,
        client: Callable[[], Awaitable[Client]],
    ) -> None:
        """Raises EngineError for what names no store and digest."""
        named, at, digest = reference.partition("@")
        if not at:
            raise EngineError(f'oci-layout reference "{reference}" has no digest')
        if not named or not is_digest(digest):
            raise EngineError(f'could not parse oci-layout reference "{reference}": invalid reference format')
        self._engine, self._task, self._client = engine, task, client
        head, slash, last = named.rpartition("/")
        self._store = f"oci:{head}{slash}{last.partition(':')[0]}"
        self._name, self._digest = name, digest

    async def resolve(self, platform: Platform, pins: Pins) -> Base:
        """The image, brought here, its layers pinned. Raises EngineError."""
        label = f"[context {self._name}]"
        try:
            shown = f"{parse(self._name).name}@{self._digest}"
        except EngineError:
            shown = f"{self._name}@{self._digest}"
        client = await self._client()
        store = client.content(self._store)
        async with self._task.vertex(f"{label} load metadata for {shown}"):
            manifest = await self._manifest(store, self._digest, platform)
            config = await read_small(store, _descriptor(manifest.get("config")).digest)
            draft = await asyncio.to_thread(make_image, config)
        async with self._task.vertex(f"{label} OCI load from client") as line:
            layers = [_descriptor(item) for item in manifest.get("layers") or ()]
            diff_ids = draft.config["rootfs"].get("diff_ids") or []
            if len(diff_ids) != len(layers) or len(layers) > _MAX_LAYERS:
                raise EngineError("layers from manifest don't match image configuration")
            parent = ""
            for layer, diff_id, chain_id in zip(layers, diff_ids, draft.chain_ids, strict=True):
                with line.part(f"extracting {layer.digest}"):
                    await self._layer(store, layer, parent, diff_id, pins)
                parent = chain_id
        document = {key: value for key, value in draft.config.items() if key != "rootfs"}
        return Base(
            reference=shown.partition("@")[0],
            digest=self._digest,
            document=document,
            chain_ids=tuple(draft.chain_ids),
            description=f"pulled from {shown}",
            line=f"{label} {shown}",
        )

    async def _layer(
        self, store: ContentStore, layer: Descriptor, parent: str, diff_id: str, pins: Pins
    ) -> None:
        layers = self._engine.images.layers
        chain_id = layers.chain(parent, diff_id)
        pins.add(chain_id)
        if chain_id in self._engine.images.index.layers:
            return
        async with fetched(self._engine, store, layer) as path:
            await layers.from_file(path, parent, diff_id, pins, digest=layer.digest)

    async def _manifest(self, store: ContentStore, digest: str, platform: Platform, depth: int = 1) -> Json:
        data = await read_small(store, digest)
        try:
            manifest = await asyncio.to_thread(json.loads, data)
        except (ValueError, RecursionError):
            manifest = None
        if not isinstance(manifest, dict):
            raise EngineError(f"blob {digest} is no manifest")
        kind = manifest.get("mediaType")
        if kind in IMAGE_MANIFESTS or (kind not in INDEXES and "manifests" not in manifest):
            return manifest
        if depth > _MAX_DEPTH:
            raise EngineError("an index in too many others")
        chosen = _chosen(manifest.get("manifests") or (), platform)
        if chosen is None:
            raise NotFound(f"no match for platform in manifest {digest}: not found")
        return await self._manifest(store, _descriptor(chosen).digest, platform, depth + 1)


def _chosen(items: Sequence[Any], platform: Platform) -> Json | None:
    found = [item for item in items if isinstance(item, dict)]
    for wanted in candidates(platform):
        for item in found:
            told = item.get("platform")
            if isinstance(told, dict):
                names = (str(told.get(key) or "") for key in ("os", "architecture", "variant"))
                if normalise(*names) == wanted:
                    return item
    # An index of one image need not say what runs it
    return found[0] if len(found) == 1 and not found[0].get("platform") else None


def _descriptor(item: Any) -> Descriptor:
    found = item if isinstance(item, dict) else {}
    digest, size = found.get("digest"), found.get("size")
    if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or size < 0:
        raise EngineError("invalid manifest: a descriptor without digest or size")
    return Descriptor(str(found.get("mediaType") or ""), digest, size)

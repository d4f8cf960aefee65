"""The engine's side of `docker load`."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images import manifests
from compatd.engine.images.archive import Archive, Candidate, Member, candidates, spooled
from compatd.engine.images.index import Index, Pins
from compatd.engine.images.layers import Layers
from compatd.engine.images.model import Image, make_image
from compatd.engine.images.platform import Platform, host, normalise
from compatd.engine.images.platform import candidates as runnable
from compatd.engine.images.reference import parse
from compatd.engine.images.together import together

Json = dict[str, Any]
Write = Callable[[Json], Awaitable[None]]


class Loader:
    """One request to load; `write` sends progress objects."""

    def __init__(self, index: Index, layers: Layers, runtime: Any, write: Write, *, quiet: bool) -> None:
        self._index = index
        self._layers = layers
        self._runtime = runtime
        self._write = write
        self._quiet = quiet
        self._platform: Platform | None = None

    async def load(
        self, chunks: AsyncIterator[bytes], platform: Platform | None, emit: Callable[[Image, str, str], None]
    ) -> list[Image]:
        """Bring in all images of the archive. Raises EngineError, InvalidParameter."""
        self._platform = platform
        loaded: list[Image] = []
        lines = ""
        names = 0
        parents: list[tuple[Image, str]] = []
        known = [layer.diff_id.partition(":")[2] for layer in self._index.layers.values()]
        async with AsyncExitStack() as stack:
            keep = stack.enter_context(self._index.pinned())
            for chain_id in self._index.layers:
                keep.add(chain_id)
            archive = await stack.enter_async_context(
                spooled(self._index.overlay, self._runtime, chunks, known)
            )
            for candidate in await candidates(archive, self._accept):
                raw = await archive.read(candidate.config)
                draft = make_image(raw)
                if not self._wanted(draft):
                    continue
                with self._index.pinned() as pins:
                    await self._bring_layers(archive, candidate, draft, pins)
                    image = self._index.create(raw)
                    if manifests.config_digest(candidate.manifest) == image.id:
                        self._index.keep_manifest(image, candidate.manifest)
                loaded.append(image)
                parents.append((image, candidate.parent))
                lines += f"Loaded image ID: {image.id}\n"
                names = await self._name(image, candidate)
                emit(image, "load", image.id)
        self._tie(parents)
        if not names:
            for line in lines.splitlines(keepends=True):
                await self._write({"stream": line})
        return loaded

    def _tie(self, parents: list[tuple[Image, str]]) -> None:
        """Tell the images which of the others in the archive they were built on. Raises EngineError."""
        loaded = {image.id: image for image, _ in parents}
        for image, parent_id in parents:
            parent = loaded.get(parent_id)
            if parent is None or parent is image:
                continue
            if not _is_parent(image, parent) or self._index.descends(parent, image):
                raise EngineError(f"image {parent.id} is not a valid parent for {image.id}")
            self._index.tie(image, parent)

    def _wanted(self, image: Image) -> bool:
        os_name = image.config.get("os") or "linux"
        if os_name != "linux":
            raise EngineError(f"cannot load {os_name} image on linux")
        return self._platform is None or self._matches(image.config, self._platform)

    @staticmethod
    def _matches(config: Json, wanted: Platform) -> bool:
        has = normalise(
            str(config.get("os") or "linux"),
            str(config.get("architecture") or ""),
            str(config.get("variant") or ""),
        )
        return has in runnable(wanted) or (
            not config.get("variant") and (has.os, has.architecture) == (wanted.os, wanted.architecture)
        )

    async def _accept(self, descriptor: Json) -> bool:
        platform = descriptor.get("platform")
        return not isinstance(platform, dict) or self._matches(platform, self._platform or host())

    async def _bring_layers(self, archive: Archive, candidate: Candidate, image: Image, pins: Pins) -> None:
        diff_ids = image.config["rootfs"].get("diff_ids") or []
        if len(diff_ids) != len(candidate.layers):
            raise EngineError(
                "invalid manifest, layers length mismatch: "
                f"expected {len(candidate.layers)}, got {len(diff_ids)}"
            )
        parent = ""
        tasks = []
        for name, diff_id, chain_id in zip(candidate.layers, diff_ids, image.chain_ids, strict=True):
            if chain_id in self._index.layers:
                pins.add(chain_id)
            else:
                bring = self._bring_layer(archive.member(name), parent, diff_id, pins)
                tasks.append(asyncio.ensure_future(bring))
            parent = chain_id
        await together(tasks)

    async def _bring_layer(self, member: Member, parent: str, diff_id: str, pins: Pins) -> None:
        """One layer, while others are unpacked; those that the archive holds plain are unpacked already."""
        progress = None if self._quiet else self._progress(diff_id)
        if member.kind == "file":
            await self._layers.from_file(member.path, parent, diff_id, pins, progress=progress)
        elif member.kind == "layer" and member.path.exists():
            found = member.result["diff_id"]
            if found != diff_id:
                raise EngineError(f'invalid diffID for layer: expected "{diff_id}", got "{found}"')
            self._layers.from_folder(member.path, parent, member.result, pins)
        else:
            # The same tar is on top of another layer already: unpack it again from there
            other = next((layer for layer in self._index.layers.values() if layer.diff_id == diff_id), None)
            if other is None:
                raise EngineError(f"layer {diff_id} is missing from the archive")
            chunks = self._layers.plain_chunks(other)
            await self._layers.from_stream(chunks, pins, parent=parent, diff_id=diff_id)
        if progress:
            await progress(member.size, member.size)

    def _progress(self, diff_id: str) -> Callable[[int, int], Awaitable[None]]:
        short = diff_id.removeprefix("sha256:")[:12]

        async def report(current: int, total: int) -> None:
            detail = {"current": current, "total": total}
            await self._write({"status": "Loading layer", "progressDetail": detail, "id": short})

        return report

    async def _name(self, image: Image, candidate: Candidate) -> int:
        for text in candidate.names:
            reference = parse(text)
            if not reference.tag:
                raise EngineError(f"invalid tag {json.dumps(text)}")
            old = self._index.named(reference)
            if old and old is not image:
                await self._write(
                    {
                        "stream": f"The image {reference.familiar} already exists, "
                        f"renaming the old one with ID {old.id} to empty string\n"
                    }
                )
            self._index.name(reference, image)
            await self._write({"stream": f"Loaded image: {reference.familiar}\n"})
        return len(candidate.names)


def _is_parent(image: Image, parent: Image) -> bool:
    """Whether the image's history is its parent's and one step more."""
    own, others = image.config.get("history") or [], parent.config.get("history") or []
    if not own and not others:
        return True
    return len(own) == len(others) + 1 and own[: len(others)] == others

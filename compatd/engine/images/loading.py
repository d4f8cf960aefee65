"""The engine's side of `docker load`."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.archive import Archive, Candidate, candidates, spooled
from compatd.engine.images.index import Index, Pins
from compatd.engine.images.layers import Layers
from compatd.engine.images.model import Image, make_image
from compatd.engine.images.platform import Platform, host, normalise
from compatd.engine.images.platform import candidates as runnable
from compatd.engine.images.reference import parse

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
        async with spooled(self._index.overlay, self._runtime, chunks) as archive:
            for candidate in await candidates(archive, self._accept):
                raw = await archive.read(candidate.config)
                draft = make_image(raw)
                if not self._wanted(draft):
                    continue
                with self._index.pinned() as pins:
                    await self._bring_layers(archive, candidate, draft, pins)
                    image = self._index.create(raw, candidate.parent)
                loaded.append(image)
                lines += f"Loaded image ID: {image.id}\n"
                names = await self._name(image, candidate)
                emit(image, "load", image.id)
        if not names:
            for line in lines.splitlines(keepends=True):
                await self._write({"stream": line})
        return loaded

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
        for name, diff_id, chain_id in zip(candidate.layers, diff_ids, image.chain_ids, strict=True):
            if chain_id in self._index.layers:
                pins.add(chain_id)
            else:
                path = archive.path(name)
                progress = None if self._quiet else self._progress(diff_id)
                await self._layers.from_file(path, parent, diff_id, pins, progress=progress)
                if progress:
                    size = self._index.layers[chain_id].blob_size
                    await progress(size, size)
            parent = chain_id

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

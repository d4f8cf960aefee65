"""What stages stand on: images that are here, or are pulled.

As BuildKit in dockerd resolves them: an image of that name that is here and fits the platform is taken,
unless `pull` asks for the registry's; else it is pulled.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from compatd.engine.builder.board import Board
from compatd.engine.errors import InvalidParameter, NotFound
from compatd.engine.images import Images
from compatd.engine.images import platform as platforms
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Image
from compatd.engine.images.platform import Platform
from compatd.engine.images.reference import Reference, parse

Json = dict[str, Any]


class Auth(Protocol):
    """Credentials for pulling bases."""

    async def credentials(self, host: str) -> dict[str, str]:
        """Fields as `images.pull`'s auth; {} for none."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """An image to build on. `document` is its config, `chain_ids` its layers, base first.

    `reference` is the whole name (`docker.io/library/busybox:latest`), `digest` what the registry calls it
    ("" for a local one), `image` the ID of the local image, "" when there is none. `description` is how the
    cache's records call it, `title` what follows FROM in progress, `line` all of its line there, if that is
    another.
    """

    reference: str
    digest: str
    document: Mapping[str, Any]
    chain_ids: tuple[str, ...]
    image: str = ""
    description: str = "from local "
    line: str = ""

    @property
    def title(self) -> str:
        """The name with its digest."""
        return f"{self.reference}@{self.digest}" if self.digest else self.reference

    @property
    def platform(self) -> Platform:
        """Of its config."""
        doc = self.document
        return platforms.normalise(
            str(doc.get("os") or "linux"), str(doc.get("architecture") or ""), str(doc.get("variant") or "")
        )

    @property
    def triggers(self) -> list[str]:
        """Its ONBUILD instructions."""
        return list((self.document.get("config") or {}).get("OnBuild") or ())


class Bases:
    """Finds images for one build; each name and platform once."""

    def __init__(self, images: Images, board: Board, pins: Pins, *, pull: bool, auth: Auth | None) -> None:
        self._images, self._board, self._pins = images, board, pins
        self._pull, self._auth = pull, auth
        self._found: dict[tuple[str, str], asyncio.Task[Base]] = {}

    async def get(self, name: str, platform: Platform) -> Base:
        """The image, its layers pinned. Raises EngineError and its kin."""
        key = (name, str(platform))
        if key not in self._found:
            self._found[key] = asyncio.ensure_future(self._get(name, platform))
        return await asyncio.shield(self._found[key])

    def load_title(self, shown: str) -> str:
        """How progress calls it to look for an image."""
        return f"[internal] load metadata for {shown}"

    async def close(self) -> None:
        """End what is under way."""
        for task in self._found.values():
            task.cancel()
        await asyncio.gather(*self._found.values(), return_exceptions=True)

    async def _get(self, name: str, platform: Platform) -> Base:
        wanted = _parse(name)
        shown = str(wanted.tagged()) if wanted else name
        with self._board.running(self._board.vertex(self.load_title(shown))):
            local = None if self._pull and wanted else self._local(name, platform)
            digest = ""
            if local is None and wanted is not None:
                await self._fetch(wanted, platform)
                local = self._images.index.named(wanted.tagged())
                digest = _digest(local, wanted) if local else ""
            if local is None:
                raise NotFound(f"{shown}: not found")
            for chain_id in local.chain_ids:
                self._pins.add(chain_id)
            shown = shown.partition("@")[0] if digest else shown
            description = f"pulled from {shown}@{digest}" if digest else "from local "
            document = {key: value for key, value in local.config.items() if key != "rootfs"}
            return Base(shown, digest, document, tuple(local.chain_ids), local.id, description)

    def _local(self, name: str, platform: Platform) -> Image | None:
        try:
            return self._images.resolve(name, platform)
        except (NotFound, InvalidParameter):
            return None

    async def _fetch(self, wanted: Reference, platform: Platform) -> None:
        auth = await self._auth.credentials(wanted.domain) if self._auth else {}

        async def write(_: Json) -> None:
            """Who draws a build's progress sees the line as a whole."""

        target = platform if platform != platforms.host() else None
        await self._images.pull(wanted.tagged(), write, auth=auth, platform=target)


def _digest(image: Image, wanted: Reference) -> str:
    found = [one.digest for one in image.references if one.digest and one.name == wanted.name]
    return wanted.digest or (found[-1] if found else "")


def _parse(name: str) -> Reference | None:
    """None for what is an image's ID and no name."""
    try:
        return parse(name)
    except InvalidParameter:
        return None

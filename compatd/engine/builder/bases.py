"""What stages stand on: images that are here, or are pulled.

As BuildKit in dockerd resolves them: an image of that name that is here and fits the platform is taken,
unless `pull` asks for the registry's; else it is pulled.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from compatd.engine.builder.board import Board
from compatd.engine.builder.progress import Status, Vertex
from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.images import Images
from compatd.engine.images import platform as platforms
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Image, make_image
from compatd.engine.images.platform import Platform
from compatd.engine.images.reference import Reference, parse
from compatd.engine.images.registry.errors import RegistryError

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
    another. `bring` fetches the layers, pinned, where they may not be here.
    """

    reference: str
    digest: str
    document: Mapping[str, Any]
    chain_ids: tuple[str, ...]
    image: str = ""
    description: str = "from local "
    line: str = ""
    bring: Callable[[Vertex], Awaitable[None]] | None = None

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
    """Finds images for one build; each name and platform once.

    `local`: what must be pulled becomes an image of that name here, as the classic builder does it; else only
    its layers are brought, when the build needs them (`Base.bring`).
    """

    def __init__(
        self, images: Images, board: Board, pins: Pins, *, pull: bool, auth: Auth | None, local: bool = False
    ) -> None:
        self._images, self._board, self._pins = images, board, pins
        self._pull, self._auth, self._as_image = pull, auth, local
        self._found: dict[tuple[str, str], asyncio.Task[Base]] = {}

    async def get(self, name: str, platform: Platform) -> Base:
        """The image, its layers pinned if they are here. Raises EngineError and its kin."""
        key = (name, str(platform))
        if key not in self._found:
            self._found[key] = asyncio.ensure_future(self._get(name, platform))
        return await asyncio.shield(self._found[key])

    def load_title(self, shown: str) -> str:
        """How progress calls it to look for an image."""
        return f"[internal] load metadata for {shown}"

    @staticmethod
    def name(text: str) -> str:
        """The whole name of an image, as progress shows it."""
        wanted = _parse(text)
        return str(wanted.tagged()) if wanted else text

    async def close(self) -> None:
        """End what is under way."""
        for task in self._found.values():
            task.cancel()
        await asyncio.gather(*self._found.values(), return_exceptions=True)

    async def _get(self, name: str, platform: Platform) -> Base:
        wanted = _parse(name)
        shown = self.name(name)
        vertex = self._board.vertex(self.load_title(shown))
        with self._board.running(vertex):
            local = None if self._pull and wanted else self._local(name, platform)
            if local is None and wanted is not None:
                try:
                    found = await self._remote(wanted.tagged(), platform, vertex)
                except RegistryError as error:
                    raise error if self._as_image else _told(error, shown) from error
                if isinstance(found, Base):
                    return found
                local = found
            if local is None:
                raise NotFound(f"{shown}: not found")
            for chain_id in local.chain_ids:
                self._pins.add(chain_id)
            return Base(shown, "", _document(local.config), tuple(local.chain_ids), local.id)

    def _local(self, name: str, platform: Platform) -> Image | None:
        try:
            return self._images.resolve(name, platform)
        except (NotFound, InvalidParameter):
            return None

    async def _remote(self, wanted: Reference, platform: Platform, vertex: Vertex) -> Base | Image | None:
        auth = await self._auth.credentials(wanted.domain) if self._auth else {}
        target = platform if platform != platforms.host() else None
        if self._as_image:
            await self._images.pull(wanted, self._board.observer.pulled, auth=auth, platform=target)
            return self._images.index.named(wanted)
        puller = self._images.puller(self._layers_of(vertex), auth=auth, platform=target)
        remote = await puller.resolve(wanted)
        shown = str(replace(wanted, digest="")) if wanted.tag else wanted.name
        base = Base(
            shown,
            remote.digest,
            _document(make_image(remote.raw).config),
            tuple(remote.chain_ids),
            description=f"from local {shown}@{remote.digest}",
        )

        async def bring(line: Vertex) -> None:
            async with self._board.status(line, f"resolve {base.title}"):
                await self._images.puller(self._layers_of(line), auth=auth).bring(remote, self._pins)

        return replace(base, bring=bring)

    def _layers_of(self, vertex: Vertex) -> Callable[[Json], Awaitable[None]]:
        """Takes a pull's progress, and shows its layers below the line."""
        seen: dict[str, Status] = {}

        async def write(item: Json) -> None:
            detail, name = item.get("progressDetail") or {}, str(item.get("id") or "")
            if not detail.get("total"):
                return
            status = seen.setdefault(name, Status(vertex.digest, name, started=time.time_ns()))
            status.current, status.total = detail.get("current") or 0, detail["total"]
            if item.get("status") == "Extracting" and status.current == status.total:
                status.completed = time.time_ns()
            self._board.observer.status(status)

        return write


def _document(config: Json) -> Json:
    return {key: value for key, value in config.items() if key != "rootfs"}


def _told(error: RegistryError, name: str) -> EngineError:
    """As containerd's resolver says it, which BuildKit asks."""
    if error.code in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN"):
        return NotFound(f"{name}: not found")
    if error.code in ("DENIED", "UNAUTHORIZED"):
        return EngineError(
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed"
        )
    return error


def _parse(name: str) -> Reference | None:
    """None for what is an image's ID and no name."""
    try:
        return parse(name)
    except InvalidParameter:
        return None

"""`Images`: what the rest of the engine and the API's handlers ask about images."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.images import deleting, importing, listing, views
from compatd.engine.images.index import Index
from compatd.engine.images.layers import Layers
from compatd.engine.images.loading import Loader, Write
from compatd.engine.images.model import Image
from compatd.engine.images.platform import Platform, candidates, host, normalise
from compatd.engine.images.reference import Reference, parse_any
from compatd.engine.images.registry.shared import Downloads
from compatd.engine.images.saving import Saver, Selection
from runtime.storage.base import Storage

if TYPE_CHECKING:
    from compatd.engine.images.pulling import Puller

Json = dict[str, Any]
Filters = dict[str, list[str]]
Rows = list[Json]
Loaded = list[Image]
Records = list[dict[str, str]]

_CLOSE = 10.0
"""How long an orderly end waits for files to be removed (seconds)."""


def _unused(image_id: str) -> list[tuple[str, bool]]:
    return []


class Images:
    """The local images.

    `uses` is set by the containers' room: image ID → [(container ID, whether it runs)].
    """

    def __init__(self, config: Any, store: Any, events: Any, runtime: Any, storage: Storage) -> None:
        self.config = config
        self.events = events
        self.storage = storage
        self.index = Index(store, storage)
        self.layers = Layers(self.index, runtime)
        self._runtime = runtime
        self._downloads = Downloads(config.max_concurrent_downloads)
        self._uploads = asyncio.Semaphore(config.max_concurrent_uploads)
        self.uses: deleting.Uses = _unused

    async def open(self) -> None:
        """Read the state and remove what a killed daemon left half done. Raises OSError, StoreError."""
        self.storage.open()
        self.index.load()
        self.index.sweep()

    async def close(self) -> None:
        """Give what is being removed a moment: the next start would have to go on with it."""
        await asyncio.to_thread(self.storage.settle, _CLOSE)

    def limit_transfers(self, downloads: int, uploads: int) -> None:
        """How many at a time from now on; what is under way goes on."""
        self._downloads.limit(downloads)
        self._uploads = asyncio.Semaphore(uploads)

    def count(self) -> int:
        """How many images there are (`Images` of /info)."""
        return len(self.index.images)

    # Finding -----------------------------------------------------------------------------------------------

    def resolve(self, reference: str, platform: Platform | None = None) -> Image:
        """The image that a name, a digest, an ID or the beginning of an ID means.

        Raises NotFound ("No such image: nope:latest"), InvalidParameter for what is no reference.
        """
        image = self._find(reference)
        if platform and not _runs_on(image, platform):
            raise NotFound(
                f"image with reference {reference} was found but its platform ({image.platform}) "
                f"does not match the specified platform ({platform})"
            )
        return image

    def _find(self, text: str) -> Image:
        wanted = parse_any(text)
        if isinstance(wanted, str):
            image = self.index.images.get(wanted)
            if image:
                return image
            raise NotFound(f"No such image: {wanted}")
        image = self.index.named(wanted)
        if image:
            return image
        digits = text.removeprefix("sha256:")
        if digits and all(digit in "0123456789abcdef" for digit in digits):
            found = self.index.by_prefix(text)
            if len(found) == 1:
                return found[0]
        raise NotFound(f"No such image: {wanted.tagged().familiar}")

    def get(self, image_id: str) -> Image | None:
        """The image of that full ID."""
        return self.index.images.get(image_id)

    # Showing -----------------------------------------------------------------------------------------------

    def inspect(self, reference: str, platform: Platform | None = None) -> Json:
        """image.InspectResponse. Raises NotFound, InvalidParameter."""
        return views.inspect(self.index, self.resolve(reference, platform))

    def history(self, reference: str, platform: Platform | None = None) -> Rows:
        """image.HistoryResponseItem objects, newest first. Raises NotFound, InvalidParameter."""
        return views.history(self.index, self.resolve(reference, platform))

    def list(self, filters: Filters, *, all_images: bool = False, shared_size: bool = False) -> Rows:
        """image.Summary objects, newest first. Raises InvalidParameter for bad filters."""

        def count(image_id: str) -> int:
            return len(self.uses(image_id))

        found = listing.Listing(self.index, self.resolve, count, filters)
        return found.rows(all_images=all_images, shared_size=shared_size)

    # Changing ----------------------------------------------------------------------------------------------

    def emit(self, image: Image, action: str, name: str) -> None:
        """An image event with the attributes that Docker gives: the image's labels and a name."""
        labels = image.labels if image.id in self.index.images else None
        self.events.emit("image", action, image.id, {**(labels or {}), "name": name})

    def tag(self, image: Image, reference: Reference) -> None:
        """Let a tag mean the image. Raises InvalidParameter."""
        self.index.name(reference, image)
        self.emit(image, "tag", reference.tagged().familiar)

    def delete(
        self, name: str, *, force: bool = False, prune: bool = True, platform: Platform | None = None
    ) -> Records:
        """Untag or delete. Raises NotFound (also of another platform), InvalidParameter, Conflict."""
        image = self.resolve(name, platform)
        return self._deleter().delete(image, name, force=force, prune=prune)

    def _deleter(self) -> deleting.Deleter:
        return deleting.Deleter(self.index, self.uses, self.emit)

    def prune(self, filters: Filters) -> Json:
        """Delete images that nothing uses: {"ImagesDeleted", "SpaceReclaimed" (bytes)}."""
        listing.check_filters(filters, frozenset({"dangling", "label", "label!", "until"}))
        only_dangling = listing.boolean(filters, "dangling", True)
        until = filters.get("until", [])
        if len(until) > 1:
            raise InvalidParameter("more than one until filter specified")
        limit = listing.moment(until[0]) if until else None
        report = deleting.prune(
            self.index,
            self._deleter,
            [
                image
                for image in list(self.index.images.values())
                if self._prunable(image, filters, only_dangling, limit)
            ],
        )
        self.events.emit("image", "prune", "", {"reclaimed": str(report["SpaceReclaimed"])})
        return report

    def _prunable(self, image: Image, filters: Filters, only_dangling: bool, limit: int | None) -> bool:
        if self.index.children(image.id) and (only_dangling or not image.references):
            return False
        if only_dangling and image.repo_tags:
            return False
        if limit is not None and image.created > limit:
            return False
        if not listing.labels_match(image.labels, filters.get("label", [])):
            return False
        unwanted = filters.get("label!")
        return not (unwanted and listing.labels_match(image.labels, unwanted))

    async def import_(
        self,
        chunks: AsyncIterator[bytes],
        *,
        reference: Reference | None = None,
        message: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
    ) -> Image:
        """An image out of a root file system's tar. Raises InvalidParameter, EngineError."""
        image = await importing.import_image(
            self.index,
            self.layers,
            chunks,
            message=message,
            changes=[*changes],
            platform=platform or host(),
        )
        if reference:
            self.tag(image, reference)
        self.emit(image, "import", image.id)
        return image

    async def load(
        self,
        chunks: AsyncIterator[bytes],
        write: Write,
        *,
        quiet: bool = True,
        platform: Platform | None = None,
    ) -> Loaded:
        """Images out of an archive; `write` gets the progress objects. Raises EngineError and its kin."""
        loader = Loader(self.index, self.layers, self._runtime, write, quiet=quiet)
        return await loader.load(chunks, platform, self.emit)

    async def pull(
        self,
        reference: Reference,
        write: Write,
        *,
        auth: dict[str, str] | None = None,
        platform: Platform | None = None,
    ) -> None:
        """Bring an image from its registry; `write` gets the progress. Raises EngineError and its kin."""
        await self.puller(write, auth=auth, platform=platform).pull(reference)
        pulled = self.index.named(reference)
        labels = pulled.labels if pulled else None
        attributes = {**(labels or {}), "name": reference.familiar_name}
        self.events.emit("image", "pull", reference.familiar, attributes)

    def puller(
        self, write: Write, *, auth: dict[str, str] | None = None, platform: Platform | None = None
    ) -> "Puller":
        """What brings images from registries; `write` gets the progress."""
        from compatd.engine.images.pulling import Puller

        return Puller(
            self.index, self.layers, self.config, self._downloads, write, auth=auth or {}, platform=platform
        )

    async def push(
        self,
        reference: Reference,
        write: Write,
        *,
        auth: dict[str, str] | None = None,
        platform: Platform | None = None,
        insecure: bool = False,
    ) -> None:
        """Send an image, or with neither tag nor digest all of the repository, to its registry; `write` gets
        the progress. `insecure`: plain HTTP and any certificate will do. Raises EngineError and its kin.
        """
        from compatd.engine.images.pushing import Pusher
        from compatd.engine.images.registry.endpoints import Trusting

        if platform:
            self.resolve(str(reference), platform)
        config = Trusting(self.config, reference.domain) if insecure else self.config
        pusher = Pusher(self.index, self.layers, config, self._uploads, write, auth=auth or {})
        await pusher.push(reference)
        pushed = self.index.named(reference) if reference.tag else None
        labels = pushed.labels if pushed else None
        attributes = {**(labels or {}), "name": reference.familiar_name}
        self.events.emit("image", "push", reference.familiar, attributes)

    async def search(
        self, term: str, limit: int, filters: Filters, auth: dict[str, str] | None = None
    ) -> Rows:
        """registry.SearchResult objects of the Hub, or of the registry that `term` begins with.

        Raises InvalidParameter, EngineError.
        """
        from compatd.engine.images.registry.searching import search

        return await search(term, limit, filters, self.config, auth or {})

    async def distribution(self, reference: Reference, auth: dict[str, str] | None = None) -> Json:
        """What a registry has under that name: registry.DistributionInspect. Raises EngineError."""
        from compatd.engine.images.registry.inspecting import inspect

        return await inspect(reference, self.config, auth or {})

    async def download(self, source: str, write: Write) -> AsyncIterator[bytes]:
        """The body behind a URL, for imports. Raises InvalidParameter, EngineError."""
        from compatd.engine.images.registry.fetching import fetch

        return await fetch(source, write)

    def save(self, names: Sequence[str], platform: Platform | None = None) -> AsyncIterator[bytes]:
        """An archive with these images, as bytes that come while it is sent. Raises before the first:
        NotFound, InvalidParameter.
        """
        selection = Selection(self.index, [*names])
        for image, _ in selection.images.values():
            if platform and not _runs_on(image, platform):
                raise EngineError(f"no suitable export target found for platform {platform}")
        saver = Saver(self.index, self.layers, selection)
        return self._saved(saver, selection)

    async def _saved(self, saver: Saver, selection: Selection) -> AsyncIterator[bytes]:
        with self.index.pinned() as pins:
            for image, _ in selection.images.values():
                for chain_id in image.chain_ids:
                    pins.add(chain_id)
            async for data in saver.chunks(lambda image: self.emit(image, "save", image.id)):
                yield data


def _runs_on(image: Image, wanted: Platform) -> bool:
    config = image.config
    has = normalise(
        str(config.get("os") or "linux"),
        str(config.get("architecture") or ""),
        str(config.get("variant") or ""),
    )
    if any(has == candidate for candidate in candidates(wanted)):
        return True
    # Variants are a late addition to image configs: without one, the architecture decides
    return not config.get("variant") and (has.os, has.architecture) == (wanted.os, wanted.architecture)

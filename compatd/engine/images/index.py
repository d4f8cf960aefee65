"""All images, names and layers: in memory for reading, in the store for keeping.

Changes go through the store's transactions first; a layer's files and blobs are taken away only after the
transaction that forgets them, and brought in before the one that mentions them. So what a killed daemon
leaves behind is at most something that nothing mentions, and `sweep` removes it at start.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images.model import Image, Layer, make_image
from compatd.engine.images.reference import Reference, parse
from runtime.storage.base import Storage

log = logging.getLogger(__name__)

MAX_MANIFEST = 256 << 10
"""Larger manifests are not kept with their images (bytes)."""


class Index:
    """Images by ID, references by canonical text, layers by chain ID."""

    def __init__(self, store: Any, overlay: Storage) -> None:
        self._store = store
        self.overlay = overlay
        self.images: dict[str, Image] = {}
        self.tags: dict[str, str] = {}
        self.layers: dict[str, Layer] = {}
        self._pins: Counter[str] = Counter()
        self.held: Callable[[], Iterable[str]] = self._held_by_documents
        self.holders: list[Callable[[], Iterable[str]]] = []  # of layers, besides containers

    # Start -------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read all from the store; images whose layers are gone are left out, with a warning."""
        for chain_id, doc in self._store.layers.all():
            if self.overlay.has_layer(chain_id):
                self.layers[chain_id] = Layer.from_document(chain_id, doc)
        for image_id, doc in self._store.images.all():
            image = make_image(doc["Raw"].encode())
            if image.id != image_id or any(chain not in self.layers for chain in image.chain_ids):
                log.warning("image %s is damaged: its layers are not all there", image_id)
                continue
            image.parent, image.last_tagged = doc.get("Parent", ""), doc.get("LastTagged", 0)
            image.manifest = doc.get("Manifest", "")
            image.size = self._size(image)
            self.images[image_id] = image
        for text, doc in self._store.tags.all():
            owner = self.images.get(doc["Image"])
            if owner:
                self.tags[text] = owner.id
                owner.references.append(parse(text))
        for image in self.images.values():
            image.references.sort(key=str)

    def sweep(self) -> None:
        """Remove layers and blobs that nothing mentions: left by a daemon that was killed at work."""
        used = self._used() | set(self.held())
        for chain_id in set(self.layers) - used:
            del self.layers[chain_id]
            self._store.layers.delete(chain_id)
        for chain_id in self.overlay.layer_ids():
            if chain_id not in self.layers:
                self.overlay.remove_layer(chain_id)
        blobs = {layer.digest for layer in self.layers.values() if layer.compression}
        for path in self.overlay.blobs.iterdir():
            if f"sha256:{path.name}" not in blobs:
                self.overlay.discard(path)

    def _held_by_documents(self) -> Iterator[str]:
        """Layers below containers and in the build cache: they outlive an image that is removed."""
        for name in ("containers", "build_cache"):
            table = getattr(self._store, name, None)
            for _, document in table.all() if table else ():
                yield from document.get("ChainIds") or ()
                for point in document.get("MountPoints") or ():
                    yield from point.get("ChainIds") or ()

    def release(self, chain_ids: list[str]) -> None:
        """A container with these layers is gone: they go too if nothing else needs them."""
        self._drop_unused(chain_ids)

    def _used(self) -> set[str]:
        return {chain for image in self.images.values() for chain in image.chain_ids} | set(+self._pins)

    def _size(self, image: Image) -> int:
        return sum(self.layers[chain].size for chain in image.chain_ids)

    # Layers ------------------------------------------------------------------------------------------------

    def blob_path(self, digest: str) -> Path:
        """Where the blob of that digest is, or would be."""
        return self.overlay.blobs / digest.removeprefix("sha256:")

    @contextmanager
    def pinned(self) -> Iterator["Pins"]:
        """Keeps the layers named to it from being removed, until the end of the block."""
        pins = Pins(self._pins)
        try:
            yield pins
        finally:
            pins.release()
            self._drop_unused(pins.chain_ids)

    def add_layer(self, layer: Layer) -> None:
        """Mention a layer whose files and blob are in place; it must be pinned until an image has it."""
        self._store.layers.put(layer.chain_id, layer.document())
        self.layers[layer.chain_id] = layer

    def _drop_unused(self, chain_ids: list[str]) -> list[str]:
        """Forget those layers that nothing uses any more, top first; returns their chain IDs."""
        used = self._used()
        named = dict.fromkeys(reversed(chain_ids))  # one may be pinned several times
        gone = [chain for chain in named if chain not in used and chain in self.layers]
        if gone:
            held = set(self.held())
            for holder in self.holders:
                held.update(holder())
            gone = [chain for chain in gone if chain not in held]
        if not gone:
            return []
        with self._store.transaction():
            for chain in gone:
                self._store.layers.delete(chain)
        digests = {self.layers.pop(chain).digest for chain in gone}
        for chain in gone:
            self.overlay.remove_layer(chain)
        for digest in digests - {layer.digest for layer in self.layers.values()}:
            self.overlay.discard(self.blob_path(digest))
        return gone

    # Images ------------------------------------------------------------------------------------------------

    def create(self, raw: bytes, parent: str = "") -> Image:
        """The image of that config, new or known. All its layers must be there. Raises EngineError."""
        image = make_image(raw)
        known = self.images.get(image.id)
        if known:
            return known
        history = [item for item in image.config.get("history") or [] if not item.get("empty_layer")]
        if len(history) > len(image.chain_ids):
            raise InvalidParameter("too many non-empty layers in History section")
        missing = [chain for chain in image.chain_ids if chain not in self.layers]
        if missing:
            raise EngineError("layer does not exist")
        image.parent = parent if parent in self.images else ""
        image.size = self._size(image)
        self._store.images.put(image.id, image.document())
        self.images[image.id] = image
        return image

    def tie(self, image: Image, parent: Image) -> None:
        """Remember what the image was built on."""
        image.parent = parent.id
        self._store.images.put(image.id, image.document())

    def keep_manifest(self, image: Image, manifest: bytes) -> None:
        """Remember the manifest that the image came with, unless there is one or it is over MAX_MANIFEST."""
        if not image.manifest and len(manifest) <= MAX_MANIFEST:
            image.manifest = manifest.decode("utf-8", "replace")
            self._store.images.put(image.id, image.document())

    def descends(self, image: Image, ancestor: Image) -> bool:
        """Whether `ancestor` is among the images that `image` was built on."""
        while above := self.images.get(image.parent):
            if above is ancestor:
                return True
            image = above
        return False

    def remove(self, image: Image) -> list[str]:
        """Forget an image and its names; returns the chain IDs of layers that went with it, top first."""
        with self._store.transaction():
            for reference in image.references:
                self._store.tags.delete(str(reference))
            for child in self.children(image.id):
                child.parent = ""
                self._store.images.put(child.id, child.document())
            self._store.images.delete(image.id)
        for reference in image.references:
            self.tags.pop(str(reference), None)
        image.references = []
        self.images.pop(image.id, None)
        return self._drop_unused(image.chain_ids)

    def children(self, image_id: str) -> list[Image]:
        """Images built on that one."""
        return [image for image in self.images.values() if image.parent == image_id]

    # Names -------------------------------------------------------------------------------------------------

    def name(self, reference: Reference, image: Image) -> None:
        """Let `reference` (its digest, or else its tag) mean `image`. Raises InvalidParameter."""
        reference = reference.stored()
        if reference.familiar_name == "sha256":
            raise InvalidParameter("refusing to create an ambiguous tag using digest algorithm as name")
        text = str(reference)
        last_tagged, image.last_tagged = image.last_tagged, time.time_ns()
        try:
            with self._store.transaction():
                self._store.tags.put(text, {"Image": image.id})
                self._store.images.put(image.id, image.document())
        except BaseException:
            image.last_tagged = last_tagged
            raise
        old = self.images.get(self.tags.get(text, ""))
        if old is image:
            return
        if old:
            old.references = [other for other in old.references if str(other) != text]
        self.tags[text] = image.id
        image.references = sorted([*image.references, reference], key=str)

    def unname(self, reference: Reference) -> None:
        """Forget a name; one that is not there is no error."""
        text = str(reference.stored())
        self._store.tags.delete(text)
        owner = self.images.get(self.tags.pop(text, ""))
        if owner:
            owner.references = [other for other in owner.references if str(other) != text]

    def named(self, reference: Reference) -> Image | None:
        """The image of that name."""
        return self.images.get(self.tags.get(str(reference.stored()), ""))

    def by_prefix(self, text: str) -> list[Image]:
        """Images whose ID starts with `text`, with or without `sha256:`."""
        digits = text.removeprefix("sha256:")
        return [image for image in self.images.values() if image.id.startswith("sha256:" + digits)]


class Pins:
    """Layers in use by work under way."""

    def __init__(self, counter: Counter[str]) -> None:
        self._counter = counter
        self._seen: set[str] = set()
        self.chain_ids: list[str] = []

    def add(self, chain_id: str) -> None:
        """Keep that layer; base first, so that removal goes from the top. Once more is no more."""
        if chain_id in self._seen:
            return
        self._seen.add(chain_id)
        self._counter[chain_id] += 1
        self.chain_ids.append(chain_id)

    def release(self) -> None:
        """Let all go."""
        for chain_id in self.chain_ids:
            self._counter[chain_id] -= 1

"""Images, their names, layers and blobs: what the state mentions is there and whole, and nothing else is."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from compatd.engine.errors import InvalidParameter
from compatd.engine.images.model import Image, Layer, chain_ids, make_image
from compatd.fsck.content import blob_fault, files_fault, tar_fault
from compatd.fsck.report import Report
from compatd.fsck.state import State
from runtime.storage.base import SHORT, Storage

_IN_A_LAYER = frozenset({"diff", "init", "flat", "recipe", "lost"})


class ImageCheck:
    """One check of all images; `held` says which containers have which layers below them, `cached` are those
    that the build cache has.
    """

    def __init__(
        self,
        state: State,
        storage: Storage,
        held: dict[str, str],
        report: Report,
        *,
        cached: Collection[str] = (),
    ) -> None:
        self._cached = cached
        self._state = state
        self._storage = storage
        self._held = held
        self._report = report
        self._layers: dict[str, Layer] = {}
        self._images: dict[str, Image] = {}
        self._bad: dict[str, str] = {}  # chain ID → what is wrong

    def run(self, *, deep: bool) -> None:
        """Look at everything; `deep` reads and digests all content, too."""
        self._read_layers()
        for layer in self._layers.values():
            fault = self._layer_fault(layer, deep)
            if fault:
                self._bad[layer.chain_id] = fault
        self._read_images()
        self._check_tags()
        used = {chain for image in self._images.values() for chain in image.chain_ids}
        used |= {*self._held, *self._cached}
        for chain_id, fault in self._bad.items():
            self._report_bad(chain_id, fault)
        for chain_id in self._layers:
            if chain_id not in used and chain_id not in self._bad:
                text = f"layer {chain_id}, which no image, no container and no build has"
                self._orphan(text, partial(self._drop_layer, chain_id), self._storage.layer_path(chain_id))
        self._check_folders()
        self._check_blobs()
        self._check_links()

    def _orphan(self, text: str, fix: Callable[[], None], path: Path | None = None) -> None:
        self._report.add("orphan", text, fix, path)

    # Layers ------------------------------------------------------------------------------------------------

    def _read_layers(self) -> None:
        for chain_id, document in self._state.rows("layers"):
            try:
                layer = Layer.from_document(chain_id, document)
                expected = chain_ids([layer.parent, layer.diff_id])[1] if layer.parent else layer.diff_id
            except (KeyError, TypeError, AttributeError):
                layer, expected = None, ""
            if layer is None or expected != chain_id:
                drop = partial(self._state.delete, "layers", chain_id)
                self._report.add("damaged", f"the state's entry of layer {chain_id}", drop)
                continue
            self._layers[chain_id] = layer

    def _blob(self, layer: Layer) -> Path:
        return self._storage.blobs / layer.digest.removeprefix("sha256:")

    def _layer_fault(self, layer: Layer, deep: bool) -> str:
        folder = self._storage.layer_path(layer.chain_id)
        if not (folder / "diff").is_dir():
            return "its files are missing"
        if layer.compression:
            blob = self._blob(layer)
            if not blob.is_file():
                return f"its blob {layer.digest} is missing"
            if blob.stat().st_size != layer.blob_size:
                return f"its blob {layer.digest} has {blob.stat().st_size} bytes, not {layer.blob_size}"
        elif not (folder / "recipe").is_file():
            return "the recipe of its tar is missing"
        if not deep:
            return ""
        if not layer.compression:
            return tar_fault(folder, layer)
        return blob_fault(self._blob(layer), layer) or files_fault(self._blob(layer), folder, self._storage)

    def _report_bad(self, chain_id: str, fault: str) -> None:
        container = self._held.get(chain_id)
        text = f"layer {chain_id}: {fault}"
        kind = "missing" if fault.endswith("missing") else "damaged"
        if container:
            text += f"; container {container[:12]} needs it: remove the container, then repair"
            self._report.add(kind, text)
        else:
            self._report.add(kind, text, partial(self._drop_layer, chain_id))

    def _drop_layer(self, chain_id: str) -> None:
        self._state.delete("layers", chain_id)
        layer = self._layers.pop(chain_id, None)
        self._storage.remove_layer(chain_id)
        others = {other.digest for other in self._layers.values() if other.compression}
        if layer and layer.compression and layer.digest not in others:
            self._storage.discard(self._blob(layer))

    def _check_folders(self) -> None:
        for path in sorted(self._storage.layers.iterdir()):
            if f"sha256:{path.name}" not in self._layers:
                self._orphan(f"folder layers/{path.name}", partial(self._storage.discard, path), path)
                continue
            for inner in sorted(path.iterdir()):
                if inner.name not in _IN_A_LAYER:
                    text = f"layers/{path.name}/{inner.name}"
                    self._report.add("stray", text, partial(self._storage.discard, inner), inner)

    def _check_blobs(self) -> None:
        known = {layer.digest.removeprefix("sha256:") for layer in self._layers.values() if layer.compression}
        for path in sorted(self._storage.blobs.iterdir()):
            if path.name not in known:
                self._orphan(f"blob {path.name}", partial(self._storage.discard, path), path)

    def _check_links(self) -> None:
        """The short names by which layers are mounted."""
        wanted = {}
        for chain_id in self._layers:
            name = chain_id.removeprefix("sha256:")
            wanted[name[:SHORT]] = f"../layers/{name}/diff"
            wanted[f"{name[:SHORT]}i"] = f"../layers/{name}/init"
        for link in sorted(self._storage.links.iterdir()):
            if link.name not in wanted:
                self._orphan(f"link l/{link.name}", link.unlink, link)
        for name, target in wanted.items():
            link = self._storage.links / name
            if not link.is_symlink():
                self._report.add("missing", f"link l/{name}", partial(_relink, link, target))
            elif str(link.readlink()) != target:
                self._report.add("damaged", f"link l/{name}", partial(_relink, link, target))

    # Images ------------------------------------------------------------------------------------------------

    def _read_images(self) -> None:
        for image_id, document in self._state.rows("images"):
            fault, image = self._image_fault(image_id, document)
            if fault or image is None:
                forget = partial(self._forget_image, image_id)
                hint = "; pull or load it again" if fault else ""
                self._report.add("damaged", f"image {image_id}: {fault}{hint}", forget)
                continue
            self._images[image_id] = image
        for image_id, document in self._state.rows("images"):
            parent = document.get("Parent")
            if image_id in self._images and parent and parent not in self._images:
                document["Parent"] = ""
                fix = partial(self._state.put, "images", image_id, document)
                self._report.add("missing", f"image {image_id}: its parent {parent}", fix)

    def _image_fault(self, image_id: str, document: dict[str, Any]) -> tuple[str, Image | None]:
        try:
            image = make_image(document["Raw"].encode())
        except (KeyError, TypeError, AttributeError, InvalidParameter):
            return "its configuration cannot be read", None
        if image.id != image_id:
            return f"its configuration has the digest {image.id}", None
        for chain_id in image.chain_ids:
            if chain_id in self._bad:
                return f"layer {chain_id}: {self._bad[chain_id]}", None
            if chain_id not in self._layers:
                return f"layer {chain_id} is missing", None
        return "", image

    def _forget_image(self, image_id: str) -> None:
        for text, document in self._state.rows("tags"):
            if document.get("Image") == image_id:
                self._state.delete("tags", text)
        self._state.delete("images", image_id)

    def _check_tags(self) -> None:
        known = {image_id for image_id, _ in self._state.rows("images")}
        for text, document in self._state.rows("tags"):
            if document.get("Image") not in known:
                self._orphan(f"name {text} of no image", partial(self._state.delete, "tags", text))


def _relink(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)

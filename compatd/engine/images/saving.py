"""`docker save`: one tar that is both Docker's archive (`manifest.json`) and an OCI image layout.

It is written as it is read, so nothing is spooled. Layers are plain tars named by their diff ID, as Docker
Engine with a graph driver writes them: rebuilt from a layer's files, or inflated from its blob.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from compatd.engine import gojson
from compatd.engine.errors import InvalidParameter, NotFound
from compatd.engine.images.archive import IMAGE_NAME, REF_NAME
from compatd.engine.images.index import Index
from compatd.engine.images.layers import Layers
from compatd.engine.images.model import Image, Layer
from compatd.engine.images.reference import Reference, parse_any
from runtime.storage import tarwriter

Json = dict[str, Any]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
_FOLDER_MODE = 0o755


class Selection:
    """The images to save and the tags each keeps, in the order asked for."""

    def __init__(self, index: Index, names: list[str]) -> None:
        self.images: dict[str, tuple[Image, list[Reference]]] = {}
        for name in names:
            self._add_name(index, name)

    def _add_name(self, index: Index, name: str) -> None:
        wanted = parse_any(name)
        if isinstance(wanted, str):
            image = index.images.get(wanted)
            if not image:
                raise NotFound(f"No such image: {wanted}")
            self._add(image, None)
            return
        if not wanted.tag and not wanted.digest and wanted.familiar_name != "sha256":
            tags = [
                (image, reference)
                for image in index.images.values()
                for reference in image.references
                if reference.name == wanted.name
            ]
            for image, reference in sorted(tags, key=lambda pair: str(pair[1])):
                self._add(image, reference)
            if tags:
                return
        elif wanted.familiar_name != "sha256":
            named = index.named(wanted)
            if not named:
                raise NotFound("reference does not exist")
            self._add(named, wanted)
            return
        found = index.by_prefix(name)
        if len(found) != 1:
            raise NotFound(f"No such image: {name}")
        self._add(found[0], None)

    def _add(self, image: Image, reference: Reference | None) -> None:
        _, tags = self.images.setdefault(image.id, (image, []))
        if reference and reference.tag and not reference.digest and reference not in tags:
            tags.append(reference)


class Saver:
    """Writes one archive."""

    def __init__(self, index: Index, layers: Layers, selection: Selection) -> None:
        self._index = index
        self._layers = layers
        self._selection = selection
        for image, _ in selection.images.values():
            if not image.chain_ids:
                raise InvalidParameter("empty export - not implemented")

    async def chunks(self, saved: Callable[[Image], None]) -> AsyncIterator[bytes]:
        """The tar's bytes; `saved` is told each image that is in it whole."""
        yield _folder("blobs/") + _folder("blobs/sha256/")
        written: set[str] = set()
        manifest: list[Json] = []
        descriptors: list[Json] = []
        repositories: dict[str, dict[str, str]] = {}
        for image, tags in self._selection.images.values():
            layers = [self._index.layers[chain] for chain in image.chain_ids]
            for layer in layers:
                if layer.diff_id not in written:
                    written.add(layer.diff_id)
                    async for data in self._layer(layer):
                        yield data
            raw = image.raw.encode()
            document = gojson.dumps(_manifest(image, len(raw), layers))
            digest = "sha256:" + hashlib.sha256(document).hexdigest()
            for name, data in ((image.id, raw), (digest, document)):
                if name not in written:
                    written.add(name)
                    yield _file(_blob(name), data)
            descriptors += _descriptors(digest, len(document), tags)
            manifest.append(
                {
                    "Config": _blob(image.id),
                    "RepoTags": [tag.familiar for tag in tags] or None,
                    "Layers": [_blob(layer.diff_id) for layer in layers],
                    "LayerSources": {layer.diff_id: _source(layer) for layer in layers},
                }
            )
            if image.parent in self._selection.images:
                manifest[-1]["Parent"] = image.parent
            for tag in tags:
                top = layers[-1].diff_id.removeprefix("sha256:")
                repositories.setdefault(tag.familiar_name, {})[tag.tag] = top
            saved(image)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}
        yield _file("index.json", gojson.dumps(index))
        yield _file("manifest.json", gojson.dumps(manifest) + b"\n")
        yield _file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        if repositories:
            yield _file("repositories", gojson.dumps(dict(sorted(repositories.items()))) + b"\n")
        yield tarwriter.END

    async def _layer(self, layer: Layer) -> AsyncIterator[bytes]:
        yield tarwriter.header(_blob(layer.diff_id).encode(), layer.plain_size)
        async for data in self._layers.plain_chunks(layer):
            yield data
        yield tarwriter.padding(layer.plain_size)


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _folder(name: str) -> bytes:
    return tarwriter.header(name.encode(), mode=_FOLDER_MODE, kind=tarwriter.FOLDER)


def _file(name: str, data: bytes) -> bytes:
    return tarwriter.header(name.encode(), len(data)) + data + tarwriter.padding(len(data))


def _source(layer: Layer) -> Json:
    return {"mediaType": LAYER, "digest": layer.diff_id, "size": layer.plain_size}


def _manifest(image: Image, size: int, layers: list[Layer]) -> Json:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": image.id, "size": size},
        "layers": [_source(layer) for layer in layers],
    }


def _descriptors(digest: str, size: int, tags: list[Reference]) -> list[Json]:
    plain = {"mediaType": MANIFEST, "digest": digest, "size": size}
    named = [{**plain, "annotations": {IMAGE_NAME: str(tag), REF_NAME: tag.tag}} for tag in tags]
    return named or [plain]

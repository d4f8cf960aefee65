"""Archives of images: OCI layouts, and with a `manifest.json` what `docker load` of any age takes.

Written as BuildKit writes them, in the order of names, with no times: the same image gives the same bytes.
Source: OCI image layout; containerd core/images/archive (exporter).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from compatd.engine import gojson
from compatd.engine.builder.exporting.blobs import Blob
from compatd.engine.builder.exporting.descriptors import OCI_INDEX, Descriptor
from compatd.engine.images.archive import IMAGE_NAME, REF_NAME
from compatd.engine.images.reference import Reference
from runtime.storage import tarwriter

Json = dict[str, Any]

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_BLOB_MODE, _FILE_MODE = 0o444, 0o644


def path_of(digest: str) -> str:
    """Where a layout has that blob."""
    return "blobs/" + digest.replace(":", "/")


def names(target: Descriptor, references: Sequence[Reference]) -> list[Descriptor]:
    """The descriptor once a name, with the annotations that say it."""
    found = [
        target.with_annotations({IMAGE_NAME: str(reference), REF_NAME: reference.tag or reference.digest})
        for reference in references
    ]
    return found or [target]


def docker_manifest(config: str, layers: Sequence[str], references: Sequence[Reference]) -> bytes:
    """`manifest.json` of one image: the digests of its config and its layers' blobs."""
    item = {
        "Config": path_of(config),
        "RepoTags": [reference.familiar for reference in references] or None,
        "Layers": [path_of(layer) for layer in layers],
    }
    return gojson.dumps([item])


async def archive(
    blobs: Sequence[Blob], targets: Sequence[Descriptor], extra: Mapping[str, bytes]
) -> AsyncIterator[bytes]:
    """The tar: all blobs, `index.json` that names the targets, and further files."""
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [target.document() for target in targets],
    }
    files: dict[str, tuple[int, bytes]] = {
        "index.json": (_FILE_MODE, gojson.dumps(index)),
        "oci-layout": (_BLOB_MODE, _LAYOUT),
        **{name: (_FILE_MODE, data) for name, data in extra.items()},
    }
    yield _folder("blobs/") + _folder("blobs/sha256/")
    unique = {path_of(blob.digest): blob for blob in blobs}
    for name in sorted(unique):
        blob = unique[name]
        yield tarwriter.header(name.encode(), blob.descriptor.size, mode=_BLOB_MODE)
        async for data in blob.chunks():
            yield data
        yield tarwriter.padding(blob.descriptor.size)
    for name in sorted(files):
        mode, data = files[name]
        yield tarwriter.header(name.encode(), len(data), mode=mode) + data + tarwriter.padding(len(data))
    yield tarwriter.END


def _folder(name: str) -> bytes:
    return tarwriter.header(name.encode(), mode=0o755, kind=tarwriter.FOLDER)

"""Image manifests for registries: the one that an image came with, or one made as Docker Engine makes it."""

import json
from typing import Any

from compatd.engine.images.archive import IMAGE_MANIFESTS
from compatd.engine.images.model import Image

Json = dict[str, Any]

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def kept(image: Image) -> Json | None:
    """The manifest that the image came with."""
    return _decoded(image.manifest)


def _decoded(manifest: str | bytes) -> Json | None:
    try:
        document = json.loads(manifest) if manifest else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def config_digest(manifest: bytes) -> str:
    """The digest of the configuration in a manifest; "" for none."""
    config = (_decoded(manifest) or {}).get("config")
    return str(config.get("digest") or "") if isinstance(config, dict) else ""


def media_type(document: Json) -> str:
    """What kind a manifest is; OCI's may leave it out."""
    kind = document.get("mediaType")
    return kind if kind in IMAGE_MANIFESTS else OCI


def build(image: Image, layers: list[Json]) -> tuple[bytes, str]:
    """(bytes, media type) of the image's manifest; `layers` is {"Digest", "Size", "Compression"}, base first.

    It is what the image came with, if that has these very blobs. Else it is of the same kind, with these.
    Docker's kind has no name for zstd.
    """
    came = kept(image)
    if came:
        before = came.get("layers") or []
        if [item.get("digest") for item in before] == [layer["Digest"] for layer in layers]:
            return image.manifest.encode(), media_type(came)
    oci = media_type(came) == OCI if came else False
    oci = oci or any(layer["Compression"] == "zstd" for layer in layers)
    config = {
        "mediaType": OCI_CONFIG if oci else DOCKER_CONFIG,
        "size": len(image.raw.encode()),
        "digest": image.id,
    }
    document: Json = {
        "schemaVersion": 2,
        "mediaType": OCI if oci else DOCKER,
        "config": config,
        "layers": [
            {
                "mediaType": _layer_type(layer["Compression"], oci=oci),
                "size": layer["Size"],
                "digest": layer["Digest"],
            }
            for layer in layers
        ],
    }
    if came and oci and isinstance(came.get("annotations"), dict):
        document["annotations"] = came["annotations"]
    return json.dumps(document, indent=3, ensure_ascii=False).encode(), document["mediaType"]


def _layer_type(compression: str, *, oci: bool) -> str:
    if oci:
        return f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER
    return f"{DOCKER_LAYER}.{compression}" if compression else DOCKER_LAYER

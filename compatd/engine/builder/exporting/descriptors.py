"""Blobs and what describes them: the documents of OCI images and of Docker's, byte for byte as BuildKit's.

Source: OCI image spec (descriptor, manifest, image-index); moby/buildkit exporter/containerimage/writer.go.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compatd.engine import gojson
from compatd.engine.images import manifests
from compatd.engine.images.platform import Platform

Json = dict[str, Any]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
IN_TOTO = "application/vnd.in-toto+json"
UNKNOWN = Platform("unknown", "unknown")
"""The platform of a manifest of attestations."""


def digest_of(data: bytes) -> str:
    """`sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is. `diff_id` is a layer's digest unpacked; it is in no document by itself."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    diff_id: str = ""

    def document(self) -> Json:
        """As JSON has it."""
        found: Json = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            found["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform:
            found["platform"] = platform_document(self.platform)
        return found

    def with_annotations(self, more: Mapping[str, str]) -> "Descriptor":
        """The same with these, too."""
        return replace(self, annotations={**self.annotations, **more})


def platform_document(platform: Platform) -> Json:
    """A platform as descriptors have it."""
    found = {"architecture": platform.architecture, "os": platform.os}
    return {**found, "variant": platform.variant} if platform.variant else found


def of(data: bytes, media_type: str, **more: Any) -> Descriptor:
    """The descriptor of these bytes."""
    return Descriptor(media_type, digest_of(data), len(data), **more)


def layer_type(compression: str, *, oci: bool) -> str:
    """A layer's media type; Docker's kind has no name for zstd, so it is named as OCI names it."""
    if oci or compression == "zstd":
        return f"{manifests.OCI_LAYER}+{compression}" if compression else manifests.OCI_LAYER
    return f"{manifests.DOCKER_LAYER}.{compression}" if compression else manifests.DOCKER_LAYER


def manifest(
    config: bytes, layers: Sequence[Descriptor], *, oci: bool, annotations: Mapping[str, str] | None = None
) -> tuple[bytes, Descriptor, Descriptor]:
    """An image's manifest: (bytes, its descriptor, the config's)."""
    kind, config_kind = (
        (manifests.OCI, manifests.OCI_CONFIG) if oci else (manifests.DOCKER, manifests.DOCKER_CONFIG)
    )
    described = of(config, config_kind)
    document: Json = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": described.document(),
        "layers": [layer.document() for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    data = gojson.indented(document)
    return data, of(data, kind), described


def index(
    items: Sequence[Descriptor], *, oci: bool, annotations: Mapping[str, str] | None = None
) -> tuple[bytes, Descriptor]:
    """An index of manifests: (bytes, its descriptor)."""
    kind = OCI_INDEX if oci else DOCKER_LIST
    document: Json = {
        "schemaVersion": 2,
        "mediaType": kind,
        "manifests": [item.document() for item in items],
    }
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    data = gojson.indented(document)
    return data, of(data, kind)


def attestation_manifest(
    statements: Sequence[tuple[bytes, str]], target: Descriptor
) -> tuple[list[tuple[Descriptor, bytes]], Descriptor]:
    """The manifest that brings statements (JSON, predicate type) to an image, with all its blobs.

    ([(descriptor, bytes)], the manifest's descriptor: it is among them, last.)
    """
    layers = [
        (of(data, IN_TOTO, annotations={"in-toto.io/predicate-type": kind}), data)
        for data, kind in statements
    ]
    config = gojson.dumps(
        {
            "architecture": UNKNOWN.architecture,
            "os": UNKNOWN.os,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer, _ in layers]},
        }
    )
    data, described, config_descriptor = manifest(config, [layer for layer, _ in layers], oci=True)
    described = replace(
        described,
        platform=UNKNOWN,
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": target.digest,
        },
    )
    return [*layers, (config_descriptor, config), (described, data)], described

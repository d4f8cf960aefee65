"""An output's attributes (`--output type=…,name=value`), read as BuildKit reads them.

Source: moby/buildkit exporter (containerimage, oci, local), util/compression.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from compatd.engine.errors import InvalidParameter
from compatd.engine.images import platform as platforms

GZIP, ZSTD, PLAIN = "gzip", "zstd", ""
_COMPRESSIONS = {"gzip": GZIP, "zstd": ZSTD, "uncompressed": PLAIN}
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")
_MANIFEST = "manifest"
_KINDS = ("index", "index-descriptor", _MANIFEST, "manifest-descriptor")
_LEVELS = {GZIP: range(10), ZSTD: range(23)}


@dataclass(frozen=True, slots=True)
class Compression:
    """How layers are packed; `force`: those, too, that are packed otherwise already."""

    kind: str = GZIP
    force: bool = False
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """By kind ("index", "index-descriptor", "manifest", "manifest-descriptor") and platform ("" for all)."""

    by_kind: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    def of(self, kind: str, platform: str = "") -> dict[str, str]:
        """Those of a manifest of that platform; of an index, whatever the platform that they name."""
        found = self.by_kind.get(kind) or {}
        keys = ("", platform) if kind.startswith(_MANIFEST) else tuple(found)
        return dict(
            sorted({name: text for key in keys for name, text in (found.get(key) or {}).items()}.items())
        )

    @property
    def platforms(self) -> set[str]:
        """The platforms that they name."""
        return {key for found in self.by_kind.values() for key in found if key}

    @property
    def beyond_manifests(self) -> bool:
        """Whether there are such as Docker's own media types have no place for."""
        return any(self.by_kind.get(kind) for kind in _KINDS if kind != _MANIFEST)


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Of the exporters image (moby), oci and docker. `epoch` is in seconds; `oci_types` None: the default."""

    names: tuple[str, ...] = ()
    push: bool = False
    push_by_digest: bool = False
    insecure: bool = False
    store: bool = True
    tar: bool = True
    name_canonical: bool = False
    dangling_prefix: str = ""
    dangling_empty_only: bool = False
    oci_types: bool | None = None
    compression: Compression = Compression()
    epoch: int | None = None
    rewrite_timestamp: bool = False
    inline_attestations: bool = True
    annotations: Annotations = Annotations()


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """Of the exporters local and tar. `split`: a folder a platform (None: if there are several)."""

    epoch: int | None = None
    attestation_prefix: str = ""
    split: bool | None = None


def boolean(name: str, text: str, *, empty: bool | None = True) -> bool:
    """As strconv.ParseBool; "" is `empty`, or an error where that is None. Raises InvalidParameter."""
    if not text and empty is not None:
        return empty
    if text not in _TRUE + _FALSE:
        syntax = f'strconv.ParseBool: parsing "{text}": invalid syntax'
        raise InvalidParameter(f"non-bool value specified for {name}: {syntax}")
    return text in _TRUE


def epoch(name: str, text: str) -> int | None:
    """Seconds since 1970; None for "". Raises InvalidParameter."""
    if not text:
        return None
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise InvalidParameter(f'invalid {name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def compression(attributes: Mapping[str, str]) -> Compression:
    """`compression`, `force-compression` and `compression-level`. Raises InvalidParameter."""
    name = attributes.get("compression", "gzip")
    if name not in _COMPRESSIONS:
        raise InvalidParameter(f"unsupported compression type {name}")
    kind, level = _COMPRESSIONS[name], None
    text = attributes.get("compression-level")
    if text is not None:
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise InvalidParameter(f"non-integer value {text} specified for compression-level")
        allowed = _LEVELS.get(kind, range(1))
        level = min(max(int(text), allowed.start), allowed.stop - 1)
    force = attributes.get("force-compression")
    return Compression(kind, force is not None and boolean("force-compression", force), level)


def annotations(attributes: Mapping[str, str]) -> Annotations:
    """`annotation[-KIND][[PLATFORM]].NAME=VALUE`. Raises InvalidParameter."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for key, value in attributes.items():
        match = _ANNOTATION.fullmatch(key)
        if match:
            kind, platform, name = match[1] or _MANIFEST, match[2] or "", match[3]
            if kind not in _KINDS:
                raise InvalidParameter(f"unrecognized annotation type {kind}")
            if platform:
                platform = str(platforms.parse(platform))
            found.setdefault(kind, {}).setdefault(platform, {})[name] = value
    return Annotations(found)


def image_options(attributes: Mapping[str, str]) -> ImageOptions:
    """Raises InvalidParameter; what is not known is no error, as in BuildKit."""

    def flag(name: str, default: bool = False, *, empty: bool | None = True) -> bool:
        return boolean(name, attributes[name], empty=empty) if name in attributes else default

    found = ImageOptions(
        names=tuple(name for name in attributes.get("name", "").split(",") if name),
        push=flag("push"),
        push_by_digest=flag("push-by-digest"),
        insecure=flag("registry.insecure"),
        store=flag("store", True),
        tar=flag("tar", True),
        name_canonical=flag("name-canonical"),
        dangling_prefix=attributes.get("dangling-name-prefix", ""),
        dangling_empty_only=flag("danging-name-empty-only"),
        oci_types=flag("oci-mediatypes", empty=None) if "oci-mediatypes" in attributes else None,
        compression=compression(attributes),
        epoch=epoch("source-date-epoch", attributes.get("source-date-epoch", "")),
        rewrite_timestamp=flag("rewrite-timestamp", empty=None),
        inline_attestations=flag("attestation-inline", True, empty=None),
        annotations=annotations(attributes),
    )
    flag("unpack"), flag("prefer-nondist-layers", empty=None)  # all images here are unpacked
    if found.oci_types is False and found.compression.kind == ZSTD:
        raise InvalidParameter('exporter option "compression=zstd" conflicts with "oci-mediatypes=false"')
    if found.oci_types is False and found.annotations.beyond_manifests:
        raise InvalidParameter('cannot export annotations with "oci-mediatypes=false"')
    return found


def tree_options(attributes: Mapping[str, str]) -> TreeOptions:
    """Raises InvalidParameter."""
    split = attributes.get("platform-split")
    if split is not None and split not in _TRUE + _FALSE:
        syntax = f'strconv.ParseBool: parsing "{split}": invalid syntax'
        raise InvalidParameter(f"non-bool value for platform-split: {split}: {syntax}")
    return TreeOptions(
        epoch=epoch("source-date-epoch", attributes.get("source-date-epoch", "")),
        attestation_prefix=attributes.get("attestation-prefix", ""),
        split=None if split is None else split in _TRUE,
    )

"""What an image and a layer are in the engine's memory, and as documents in the store."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from compatd.engine import timestamps
from compatd.engine.errors import InvalidParameter
from compatd.engine.images.reference import Reference

Json = dict[str, Any]


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain ID of each layer, base first (OCI image spec, config.md, "Layer ChainID")."""
    chains: list[str] = []
    for diff_id in diff_ids:
        if chains:
            text = f"{chains[-1]} {diff_id}".encode()
            chains.append("sha256:" + hashlib.sha256(text).hexdigest())
        else:
            chains.append(diff_id)
    return chains


@dataclass(slots=True)
class Layer:
    """An unpacked layer, its blob kept as it came.

    `size` is the bytes of its files; `digest`, `blob_size` and `compression` ("" for none) are the blob's;
    `plain_size` the bytes of the uncompressed tar, whose digest is `diff_id`. `known` are blobs of it that
    registries have: {"Digest", "Size", "Compression", "Repository"}, newest last.
    """

    chain_id: str
    diff_id: str
    parent: str
    size: int
    digest: str
    blob_size: int
    plain_size: int
    compression: str
    known: list[Json] = field(default_factory=list)

    def document(self) -> Json:
        """As the store keeps it."""
        return {
            "DiffID": self.diff_id, "Parent": self.parent, "Size": self.size, "Digest": self.digest,
            "BlobSize": self.blob_size, "PlainSize": self.plain_size, "Compression": self.compression,
            "Known": self.known,
        }  # fmt: skip

    @classmethod
    def from_document(cls, chain_id: str, doc: Json) -> "Layer":
        """The inverse of `document`."""
        return cls(
            chain_id, doc["DiffID"], doc["Parent"], doc["Size"], doc["Digest"], doc["BlobSize"],
            doc["PlainSize"], doc["Compression"], doc.get("Known") or [],
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class Image:
    """A local image: its config (`raw` is the exact JSON, whose digest is the ID) and what names it.

    `created` and `last_tagged` are ns since 1970, 0 for never. `parent` is the ID of the image it was built
    on, when that is known here. `chain_ids` is base first. `size` is the bytes of all its layers' files.
    `manifest` is the one that it came with from a registry, byte for byte ("" for none).
    """

    id: str
    raw: str
    config: Json
    chain_ids: list[str]
    size: int = 0
    parent: str = ""
    last_tagged: int = 0
    references: list[Reference] = field(default_factory=list)
    manifest: str = ""

    @property
    def repo_tags(self) -> list[str]:
        """`busybox:latest` and so on, sorted."""
        return [reference.familiar for reference in self.references if reference.tag]

    @property
    def repo_digests(self) -> list[str]:
        """`busybox@sha256:…` for the registries it was pulled from or pushed to, sorted."""
        return [reference.familiar for reference in self.references if not reference.tag]

    @property
    def created(self) -> int:
        """When it was made, ns since 1970; 0 when its config does not say."""
        try:
            return timestamps.from_rfc3339(str(self.config.get("created") or ""))
        except ValueError:
            return 0

    @property
    def labels(self) -> dict[str, str] | None:
        """The labels of its config."""
        labels: dict[str, str] | None = (self.config.get("config") or {}).get("Labels")
        return labels

    @property
    def platform(self) -> str:
        """`linux/arm64/v8`."""
        parts = [self.config.get("os"), self.config.get("architecture"), self.config.get("variant")]
        return "/".join(str(part) for part in parts if part)

    def document(self) -> Json:
        """As the store keeps it."""
        manifest = {"Manifest": self.manifest} if self.manifest else {}
        return {"Raw": self.raw, "Parent": self.parent, "LastTagged": self.last_tagged, **manifest}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _words(value: Any) -> bool:
    return isinstance(value, str) or _texts(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _map(value: Any) -> bool:
    return isinstance(value, dict)


def _labels(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _set(value: Any) -> bool:
    return isinstance(value, dict) and all(item is None or isinstance(item, dict) for item in value.values())


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _items(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


Types = dict[str, Callable[[Any], bool]]
_TOP: Types = {
    **dict.fromkeys(("os", "architecture", "variant", "created", "author", "comment", "os.version"), _text),
    "docker_version": _text, "config": _map, "history": _items,
}  # fmt: skip
_CONFIG: Types = {
    **dict.fromkeys(("User", "WorkingDir", "StopSignal", "Hostname", "Domainname", "Image"), _text),
    **dict.fromkeys(("Entrypoint", "Cmd", "Shell"), _words),
    **dict.fromkeys(("Env", "OnBuild"), _texts),
    **dict.fromkeys(("ExposedPorts", "Volumes"), _set),
    "Labels": _labels, "Healthcheck": _map, "ArgsEscaped": _flag, "StopTimeout": _number,
}  # fmt: skip
_HEALTHCHECK: Types = {
    "Test": _texts,
    **dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"), _number),
}
_HISTORY: Types = {
    **dict.fromkeys(("created", "created_by", "author", "comment"), _text), "empty_layer": _flag,
}  # fmt: skip


def _check_types(document: Json, types: Types, where: str) -> None:
    """What the engine and its clients read must be what Go would take; null is absent."""
    for name, fits in types.items():
        if document.get(name) is not None and not fits(document[name]):
            raise InvalidParameter(f"json: cannot unmarshal into Go struct field {where}.{name}")


def parse_config(raw: bytes) -> Json:
    """An image config, checked as far as the engine relies on it. Raises InvalidParameter."""
    try:
        # It refuses what no answer could hold: NaN, lone surrogates, deep nests
        config = orjson.loads(raw)
    except ValueError:
        raise InvalidParameter("invalid character in image config") from None
    if not isinstance(config, dict):
        raise InvalidParameter("invalid image JSON, no RootFS key")
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict):
        raise InvalidParameter("invalid image JSON, no RootFS key")
    diff_ids = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list) or not all(isinstance(item, str) for item in diff_ids):
        raise InvalidParameter("invalid image JSON, no RootFS key")
    _check_types(config, _TOP, "Image")
    _check_types(config.get("config") or {}, _CONFIG, "Image.config")
    _check_types((config.get("config") or {}).get("Healthcheck") or {}, _HEALTHCHECK, "Image.config")
    for item in config.get("history") or []:
        _check_types(item, _HISTORY, "Image.history")
    return config


def make_image(raw: bytes) -> Image:
    """An image out of its config's bytes. Raises InvalidParameter."""
    config = parse_config(raw)
    diff_ids = (config["rootfs"].get("diff_ids")) or []
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidParameter("invalid character in image config") from None
    return Image("sha256:" + hashlib.sha256(raw).hexdigest(), text, config, chain_ids(diff_ids))

"""BuildKit's format of a build cache that travels (`application/vnd.buildkit.cacheconfig.v0`), as data.

A record is a step: the digest that is its cache key, links to the records of its inputs, and the layers that
it came to. Keys are ours: BuildKit finds none of its own among them, and we none of ours among its.
Source: moby/buildkit cache/remotecache/v1 (types, sorting, parsing).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compatd.engine import gojson, timestamps
from compatd.engine.builder.exporting.descriptors import Descriptor
from compatd.engine.errors import EngineError
from compatd.engine.images.reference import is_digest

Json = dict[str, Any]

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
DIFF_ID, CREATED = "containerd.io/uncompressed", "buildkit/createdat"
MAX_RECORDS = 1 << 17
_MAX_LAYERS = 1000
_MAX_LINKS = 1 << 17
"""Layers of all results' chains, each chain once: a few bytes of JSON may say a long one again and again."""


@dataclass(frozen=True, slots=True)
class Record:
    """A step. `layers`: blobs of all layers that it came to, base first; () for none. `created`: ns."""

    key: str
    parents: tuple[str, ...] = ()
    layers: tuple[Descriptor, ...] = ()
    created: int = 0


def digest_of_key(key: str) -> str:
    """The key as a record's digest."""
    return key if is_digest(key) else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def _complete(records: Iterable[Record]) -> dict[str, Record]:
    """By digest, in order; what is only named as an input is a record, too."""
    found: dict[str, Record] = {}
    for one in records:
        digest = digest_of_key(one.key)
        known = found.get(digest)
        if known is None or (one.layers and not known.layers):
            found[digest] = replace(one, key=digest, parents=tuple(map(digest_of_key, one.parents)))
    for one in list(found.values()):
        for parent in one.parents:
            found.setdefault(parent, Record(parent))
    return dict(sorted(found.items()))


def _documents(records: Mapping[str, Record], results: Mapping[str, int]) -> list[Json]:
    places = {digest: at for at, digest in enumerate(records)}
    found = []
    for digest, one in records.items():
        document: Json = {}
        if digest in results:
            created = timestamps.rfc3339(one.created)
            document["layers"] = [{"layer": results[digest], "createdAt": created}]
        document["digest"] = digest
        if one.parents:
            document["inputs"] = [[{"link": places[parent]}] for parent in one.parents]
        found.append(document)
    return found


def encode(records: Iterable[Record]) -> tuple[bytes, list[Descriptor]]:
    """The config of a cache, and the layers that it speaks of, in its order (each once)."""
    known = _complete(records)
    chains: dict[tuple[str, ...], Descriptor] = {}
    for one in known.values():
        for end in range(1, len(one.layers) + 1):
            chain = tuple(layer.digest for layer in one.layers[:end])
            chains.setdefault(chain, one.layers[end - 1])
    order = sorted(chains, key=lambda chain: (chain[-1], chain))
    places = {chain: at for at, chain in enumerate(order)}
    layers = []
    for chain in order:
        parent = places[chain[:-1]] if len(chain) > 1 else -1
        layers.append({"blob": chain[-1], **({"parent": parent} if parent else {})})
    results = {
        digest: places[tuple(layer.digest for layer in one.layers)]
        for digest, one in known.items()
        if one.layers
    }
    document: Json = {"layers": layers} if layers else {}
    document["records"] = _documents(known, results)
    unique = {chain[-1]: chains[chain] for chain in order}
    return gojson.dumps(document), list(unique.values())


def encode_inline(records: Iterable[Record], diff_ids: Sequence[str]) -> bytes | None:
    """The records for an image's config, of those that came to its first layers; None when there is none."""
    known = _complete(records)
    results = {}
    for digest, one in known.items():
        chain = [layer.diff_id for layer in one.layers]
        if chain and chain == list(diff_ids[: len(chain)]):
            results[digest] = len(chain) - 1
    return gojson.dumps(_documents(known, results)) if results else None


def decode(data: bytes, blobs: Mapping[str, Descriptor]) -> dict[str, Record]:
    """The records of a cache's config by digest, those with layers of which all are among `blobs`.

    Raises EngineError.
    """
    document = _json(data)
    layers, records = _list(document, "layers"), _list(document, "records")
    found: dict[str, Record] = {}
    chains: dict[Any, tuple[Descriptor, ...]] = {}
    links = 0
    for item in records:
        inputs = _inputs(records, item)
        for result in _list(item, "layers"):
            at = result.get("layer")
            if not isinstance(at, int):
                raise EngineError(f"invalid layer index {at}")
            chain = chains.get(at)
            if chain is None:
                chain = chains[at] = _chain(layers, at, blobs)
                links += 1 + len(chain)
                if links > _MAX_LINKS:
                    raise EngineError("invalid build cache: its chains of layers are too long")
            if chain:
                _add(found, item, inputs, result, chain)
    return found


def decode_inline(data: bytes, layers: Sequence[Descriptor]) -> dict[str, Record]:
    """The same of an image's own records; `layers` are all of the image's. Raises EngineError."""
    found: dict[str, Record] = {}
    records = _list({"records": _json(data)}, "records")
    chains = [tuple(layers[: at + 1]) for at in range(min(len(layers), _MAX_LAYERS))]
    for item in records:
        inputs = _inputs(records, item)
        for result in _list(item, "layers"):
            at = result.get("layer")
            if isinstance(at, int) and 0 <= at < len(chains):
                _add(found, item, inputs, result, chains[at])
    return found


def _add(
    found: dict[str, Record],
    item: Json,
    inputs: tuple[str, ...],
    result: Json,
    chain: tuple[Descriptor, ...],
) -> None:
    digest = item.get("digest")
    if isinstance(digest, str) and is_digest(digest):
        try:
            created = timestamps.from_rfc3339(str(result.get("createdAt")))
        except ValueError:
            created = 0
        found[digest] = Record(digest, inputs, chain, created)


def _inputs(records: list[Json], item: Json) -> tuple[str, ...]:
    """The digests of a record's inputs, but for what leads nowhere."""
    inputs = item.get("inputs") or []
    links = [one[0] for one in inputs if isinstance(one, list) and one] if isinstance(inputs, list) else []
    places = [link.get("link", 0) for link in links if isinstance(link, dict)]
    good = [at for at in places if isinstance(at, int) and 0 <= at < len(records)]
    return tuple(str(records[at].get("digest") or "") for at in good)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise EngineError("invalid build cache: it is no JSON") from None


def _list(document: Any, name: str) -> list[Json]:
    items = document.get(name) or [] if isinstance(document, dict) else None
    if not isinstance(items, list) or len(items) > MAX_RECORDS or not all(isinstance(i, dict) for i in items):
        raise EngineError(f"invalid build cache: {name} is no list")
    return items


def _chain(layers: list[Json], at: Any, blobs: Mapping[str, Descriptor]) -> tuple[Descriptor, ...]:
    found: list[Descriptor] = []
    while at != -1:
        if not isinstance(at, int) or not 0 <= at < len(layers):
            raise EngineError(f"invalid layer index {at}")
        if len(found) > _MAX_LAYERS:
            raise EngineError("invalid looping layer")
        blob = blobs.get(str(layers[at].get("blob")))
        if blob is None:
            return ()
        found.append(blob)
        at = layers[at].get("parent", 0)
    return tuple(reversed(found))

"""`--cache-to`: what the build's steps came to, for other builders: in the image, in a folder, in a registry.

Source: moby/buildkit cache/remotecache (export, inline, local, registry).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compatd.engine import gojson, timestamps
from compatd.engine.builder.exporting import cachemodel, descriptors
from compatd.engine.builder.exporting.attributes import Compression, boolean, compression
from compatd.engine.builder.exporting.blobs import Blob, Packer, each, packing, small
from compatd.engine.builder.exporting.cachemodel import Record
from compatd.engine.builder.exporting.descriptors import DOCKER_LIST, OCI_INDEX, Descriptor, digest_of
from compatd.engine.builder.exporting.pushes import upload
from compatd.engine.builder.exporting.task import CacheEntry, Line, Task
from compatd.engine.builder.request import BuildResult, StepRecord
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images import manifests
from compatd.engine.images.model import Layer
from compatd.engine.images.reference import Reference, parse
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.endpoints import Trusting
from compatd.engine.images.registry.trying import at_registry

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

INLINE, LOCAL, REGISTRY = "inline", "local", "registry"
_NAMES = {LOCAL: "exporting cache to client directory", REGISTRY: "exporting cache to registry"}


@dataclass(frozen=True, slots=True)
class _Cache:
    blobs: Sequence[Blob]
    config: bytes
    manifest: bytes
    described: Descriptor  # the manifest


def check(entries: Sequence[CacheEntry]) -> None:
    """Raises EngineError for what cannot be exported to, before the build begins."""
    for entry in entries:
        given = entry.attributes
        if entry.type not in (INLINE, LOCAL, REGISTRY):
            raise EngineError(f'unknown cache exporter: "{entry.type}"')
        try:
            mode = given.get("mode", "min")
            if mode not in ("min", "max"):
                raise InvalidParameter(f"invalid mode {mode}")
            _how(entry)
            if entry.type == LOCAL and not given.get("dest"):
                raise InvalidParameter("local cache exporter requires dest")
            if entry.type == REGISTRY:
                _reference(entry)
            if _flag(entry, "image-manifest", False) and not _flag(entry, "oci-mediatypes", True):
                raise InvalidParameter(
                    "invalid configuration for remote cache, OCI mediatypes are required for "
                    "image-manifest cache format"
                )
        except InvalidParameter as error:
            raise EngineError(f"failed to configure {entry.type} cache exporter: {error.message}") from None


def _flag(entry: CacheEntry, name: str, default: bool) -> bool:
    return boolean(name, entry.attributes[name], empty=None) if name in entry.attributes else default


def _how(entry: CacheEntry) -> Compression:
    return compression(entry.attributes)


def _reference(entry: CacheEntry) -> Reference:
    if not entry.attributes.get("ref"):
        raise InvalidParameter("missing ref")
    return parse(entry.attributes["ref"]).tagged()


def inline(engine: "Engine", entries: Sequence[CacheEntry], result: BuildResult, place: int) -> bytes | None:
    """What goes into the config of the result's image number `place`, if an inline cache is wanted."""
    if not any(entry.type == INLINE for entry in entries):
        return None
    one = result.results[place]
    layers = engine.images.index.layers
    diff_ids = [layers[chain_id].diff_id for chain_id in one.chain_ids]
    records = [record for step in one.steps for record in _with_definition(step, _bare(engine, step))]
    return cachemodel.encode_inline(records, diff_ids)


def _bare(engine: "Engine", step: StepRecord) -> Record:
    chain = _chain(engine, step.layer)
    described = tuple(Descriptor("", "", 0, diff_id=layer.diff_id) for layer in chain)
    return Record(step.key, step.parents, described, step.created)


def _with_definition(step: StepRecord, record: Record) -> list[Record]:
    """The record of a step, and one that leads from its definition to its key."""
    return [record, *([replace(record, key=step.definition, parents=(step.key,))] if step.definition else [])]


def _chain(engine: "Engine", chain_id: str | None) -> list[Layer]:
    """The layer and all below it, base first; [] when they are not (all) there."""
    found: list[Layer] = []
    while chain_id:
        layer = engine.images.index.layers.get(chain_id)
        if layer is None:
            return []
        found.append(layer)
        chain_id = layer.parent
    return found[::-1]


async def export(engine: "Engine", entry: CacheEntry, result: BuildResult, task: Task) -> dict[str, str]:
    """Export to a folder or a registry; inline is done with the image. Raises EngineError."""
    if entry.type == INLINE:
        return {}
    lenient = _flag(entry, "ignore-error", False)
    response: dict[str, str] = {}
    async with task.vertex(_NAMES[entry.type], lenient=lenient) as line, packing(engine.images) as packer:
        with engine.images.index.pinned() as pins:
            with line.part("preparing build cache for export"):
                records, blobs = await _records(engine, entry, result, packer, pins)
                config, order = cachemodel.encode(records)
            if not order:
                line.note("skipping cache export for empty result")
                return {}
            manifest, described = _manifest(entry, config, order)
            cache = _Cache([blobs[layer.digest] for layer in order], config, manifest, described)
            if entry.type == LOCAL:
                await _to_folder(task, entry, cache, line)
            else:
                await _to_registry(engine, task, entry, cache, line)
            document = json.dumps(described.document(), separators=(",", ":"))
            response["cache.manifest"] = document
    return response


async def _records(
    engine: "Engine", entry: CacheEntry, result: BuildResult, packer: Packer, pins: Any
) -> tuple[list[Record], dict[str, Blob]]:
    """All steps' records, and the blobs of their layers by digest (`mode=min`: of the result's alone)."""
    full = entry.attributes.get("mode") == "max"
    wanted = {chain_id for one in result.results for chain_id in one.chain_ids}
    records: dict[str, Record] = {}
    blobs: dict[str, Blob] = {}
    packed: dict[str, Descriptor] = {}
    for one in result.results:
        for step in one.steps:
            layers = _chain(engine, step.layer) if full or step.layer in wanted else []
            for layer in layers:
                pins.add(layer.chain_id)
            chain = []
            for layer in layers:
                if layer.diff_id not in packed:
                    blob = await packer.layer(layer, _how(entry), oci=True, file=True)
                    packed[layer.diff_id] = _annotated(blob.descriptor, step.created)
                    blobs[blob.digest] = replace(blob, descriptor=packed[layer.diff_id])
                chain.append(packed[layer.diff_id])
            record = Record(step.key, step.parents, tuple(chain), step.created)
            for made in _with_definition(step, record):
                if made.key not in records or chain:
                    records[made.key] = made
    return list(records.values()), blobs


def _annotated(descriptor: Descriptor, created: int) -> Descriptor:
    annotations = {cachemodel.DIFF_ID: descriptor.diff_id}
    if created:
        annotations[cachemodel.CREATED] = timestamps.rfc3339(created)
    return descriptor.with_annotations(annotations)


def _manifest(entry: CacheEntry, config: bytes, layers: list[Descriptor]) -> tuple[bytes, Descriptor]:
    described = descriptors.of(config, cachemodel.CONFIG)
    items = [layer.document() for layer in layers]
    if _flag(entry, "image-manifest", False):
        kind = manifests.OCI
        document: Json = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": described.document(),
            "layers": items,
        }
    else:
        kind = OCI_INDEX if _flag(entry, "oci-mediatypes", True) else DOCKER_LIST
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": [*items, described.document()]}
    data = gojson.dumps(document)
    return data, descriptors.of(data, kind)


async def _to_folder(
    task: Task,
    entry: CacheEntry,
    cache: _Cache,
    line: Line,
) -> None:
    if task.client is None:
        raise EngineError("local cache exporter/importer requires session")
    store = task.client.content(f"local:{entry.attributes['dest']}")

    async def write(blob: Blob) -> None:
        with line.part(f"writing layer {blob.digest}"):
            await store.write(blob.descriptor, blob.chunks())

    await each(cache.blobs, write)
    for text, descriptor, data in (
        ("writing config", descriptors.of(cache.config, cachemodel.CONFIG), cache.config),
        ("writing cache manifest", cache.described, cache.manifest),
    ):
        with line.part(f"{text} {descriptor.digest}"):
            await store.write(descriptor, small(descriptor, data).chunks())


async def _to_registry(
    engine: "Engine",
    task: Task,
    entry: CacheEntry,
    cache: _Cache,
    line: Line,
) -> None:
    wanted = _reference(entry)
    auth = await task.auth.credentials(wanted.domain) if task.auth else {}
    trusting = _flag(entry, "registry.insecure", False)
    settings = Trusting(engine.config, wanted.domain) if trusting else engine.config

    async def send(repository: Repository) -> None:
        async def write(blob: Blob) -> None:
            with line.part(f"writing layer {blob.digest}") as part:
                await upload(repository, blob, part.advance)

        await each(cache.blobs, write)
        with line.part(f"writing config {digest_of(cache.config)}"):
            await repository.put_blob(digest_of(cache.config), cache.config)
        with line.part(f"writing cache manifest {cache.described.digest}"):
            await repository.put_manifest(
                wanted.tag or wanted.digest, cache.manifest, cache.described.media_type
            )

    await at_registry(wanted, settings, auth, send, push=True)

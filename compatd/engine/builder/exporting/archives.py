"""The exporters `oci` and `docker`: an archive, or a layout's blobs, to the client.

Source: moby/buildkit exporter/oci, exporter/containerimage/writer.go (what is in which manifest).
"""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compatd.engine import gojson, timestamps
from compatd.engine.builder.exporting import cacheexport, descriptors, layout, provenance
from compatd.engine.builder.exporting.attributes import ImageOptions, image_options
from compatd.engine.builder.exporting.blobs import Blob, Contents, Packer, each, packing
from compatd.engine.builder.exporting.client import TargetExists, send_file
from compatd.engine.builder.exporting.configs import patched
from compatd.engine.builder.exporting.descriptors import Descriptor
from compatd.engine.builder.exporting.retiming import Retimer, base_of
from compatd.engine.builder.exporting.task import CacheEntry, Client, Line, Output, Task
from compatd.engine.builder.request import BuildResult, PlatformResult
from compatd.engine.errors import EngineError
from compatd.engine.images.reference import Reference, parse

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

OCI, DOCKER = "oci", "docker"
_CREATED = "org.opencontainers.image.created"


def check(output: Output) -> ImageOptions:
    """Read the attributes. Raises InvalidParameter."""
    options = image_options(output.attributes)
    for name in options.names:
        parse(name)
    return options


@dataclass(slots=True)
class Writer:
    """Makes the contents of one archive."""

    engine: "Engine"
    packer: Packer
    options: ImageOptions
    task: Task
    line: Line
    pins: Any
    oci: bool
    files: bool = False  # all layers are to have a path

    @property
    def epoch(self) -> int | None:
        return self.task.epoch if self.options.epoch is None else self.options.epoch

    async def contents(
        self,
        result: BuildResult,
        wanted: provenance.Wanted | None,
        caches: Sequence[CacheEntry],
        *,
        inline: bool = False,
    ) -> Contents:
        """Everything, packed; `inline`: with attestations that make no index by themselves, too."""
        annotations, several = self.options.annotations, len(result.results) > 1 or self.task.several
        attest = wanted if wanted and (several or inline or not wanted.inline_only) else None
        listed = several or attest is not None
        if unknown := annotations.platforms - {str(one.platform) for one in result.results}:
            raise EngineError(f"invalid annotation: no platform {sorted(unknown)[0]} found in source")
        if not listed and (annotations.of("index") or annotations.of("index-descriptor")):
            raise EngineError("index annotations not supported for single platform export")
        found = Contents()
        prepared = []
        with self.line.part("exporting layers"):
            for place, one in enumerate(result.results):
                cache = cacheexport.inline(self.engine, caches, result, place)
                prepared.append(await self._layers(one, cache))
        items, statements = [], []
        for one, (blobs, config) in zip(result.results, prepared, strict=True):
            item = self._image(found, one, blobs, config)
            items.append(item)
            if attest:
                statements.append(self._statement(found, one, item, attest))
        found.target = items[0]
        if listed:
            data, target = descriptors.index(
                [*items, *statements], oci=self.oci, annotations=annotations.of("index")
            )
            self.line.note(f"exporting manifest list {target.digest}")
            found.target = target.with_annotations(annotations.of("index-descriptor"))
            found.config = None
            found.add(target, data)
        return found

    async def _layers(self, one: PlatformResult, inline: bytes | None) -> tuple[list[Blob], bytes]:
        chain_ids: Sequence[str] = one.chain_ids
        base = base_of(one)
        if self.options.rewrite_timestamp and self.epoch is not None:
            keep = len(base.chain_ids) if base else 0
            chain_ids = await Retimer(self.engine, self.pins, self.epoch).chain(chain_ids, keep)
        blobs = await self.packer.layers(chain_ids, self.options.compression, oci=self.oci, file=self.files)
        config = one.config
        if self.epoch is not None or inline is not None:
            config = patched(
                config,
                diff_ids=[blob.descriptor.diff_id for blob in blobs],
                inline_cache=inline,
                epoch=self.epoch,
                base_history=(base.document.get("history") or []) if base else (),
            )
        return blobs, config

    def _image(self, found: Contents, one: PlatformResult, blobs: list[Blob], config: bytes) -> Descriptor:
        annotations, platform = self.options.annotations, str(one.platform)
        layers = [blob.descriptor for blob in blobs]
        data, described, config_descriptor = descriptors.manifest(
            config, layers, oci=self.oci, annotations=annotations.of("manifest", platform)
        )
        self.line.note(f"exporting manifest {described.digest}")
        self.line.note(f"exporting config {config_descriptor.digest}")
        found.blobs += blobs
        found.add(config_descriptor, config)
        found.add(described, data)
        found.config, found.layers = config_descriptor, layers
        described = replace(described, platform=one.platform)
        return described.with_annotations(annotations.of("manifest-descriptor", platform))

    def _statement(
        self, found: Contents, one: PlatformResult, item: Descriptor, wanted: provenance.Wanted
    ) -> Descriptor:
        subjects = [
            provenance.subject(provenance.image_url(name, one.platform), item.digest)
            for name in self.options.names
        ]
        predicate = provenance.predicate(wanted, self.task.invocation, one)
        document = gojson.dumps(provenance.statement(subjects, predicate))
        blobs, described = descriptors.attestation_manifest([(document, provenance.PREDICATE)], item)
        self.line.note(f"exporting attestation manifest {described.digest}")
        for descriptor, data in blobs:
            found.add(descriptor, data)
        return described


async def export(
    engine: "Engine", output: Output, result: BuildResult, task: Task, caches: Sequence[CacheEntry] = ()
) -> dict[str, str]:
    """Send the archive. Raises EngineError."""
    options = check(output)
    client = task.client
    if client is None:
        raise EngineError(f"{output.type} exporter needs a client's session")
    wanted = provenance.wanted(task.invocation.attestations)
    docker = output.type == DOCKER
    if docker and (len(result.results) > 1 or task.several or (wanted and not wanted.inline_only)):
        raise EngineError("docker exporter does not currently support exporting manifest lists")
    oci = (not docker) if options.oci_types is None else options.oci_types
    if wanted and not wanted.inline_only and not oci:
        raise EngineError('cannot export attestations with "oci-mediatypes=false"')
    async with (
        task.vertex(f"exporting to {output.type} image format") as line,
        packing(engine.images) as packer,
    ):
        with engine.images.index.pinned() as pins:
            writer = Writer(engine, packer, options, task, line, pins, oci)
            contents = await writer.contents(result, wanted, caches)
            target = _dated(contents, writer.epoch)
            references = [parse(name).tagged() for name in options.names]
            response = response_of(contents, target, references)
            await _send(client, output, contents, target, references, response, line, tar=options.tar)
    return response


def _dated(contents: Contents, epoch: int | None) -> Descriptor:
    assert contents.target
    if _CREATED in contents.target.annotations:
        return contents.target
    now = int(time.time()) if epoch is None else epoch
    return contents.target.with_annotations({_CREATED: timestamps.rfc3339(now * 1_000_000_000)})


def response_of(contents: Contents, target: Descriptor, references: Sequence[Reference]) -> dict[str, str]:
    """What the client is told of it."""
    document = json.dumps(target.document(), separators=(",", ":")).encode()
    found = {
        "containerimage.digest": target.digest,
        "containerimage.descriptor": base64.b64encode(document).decode(),
    }
    if contents.config:
        found["containerimage.config.digest"] = contents.config.digest
    if references:
        found["image.name"] = ",".join(map(str, references))
    return found


async def _send(
    client: Client,
    output: Output,
    contents: Contents,
    target: Descriptor,
    references: Sequence[Reference],
    response: dict[str, str],
    line: Line,
    *,
    tar: bool,
) -> None:
    if not tar:
        store = client.content("export")
        layers = [blob for blob in contents.blobs if blob.descriptor.diff_id]
        await each(layers, lambda blob: store.write(blob.descriptor, blob.chunks()))
        for blob in contents.blobs:
            if not blob.descriptor.diff_id:  # manifests after what they name
                await store.write(blob.descriptor, blob.chunks())
        return
    extra = {}
    if output.type == DOCKER and contents.config:
        digests = [layer.digest for layer in contents.layers]
        extra["manifest.json"] = layout.docker_manifest(contents.config.digest, digests, references)
    chunks = layout.archive(contents.blobs, layout.names(target, references), extra)
    with line.part("sending tarball"):
        try:
            async with client.sending(output.id, response) as packets:
                await send_file(packets, chunks)
        except TargetExists:
            pass  # the client has the image, and has said so

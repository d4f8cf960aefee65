"""The exporter `image` (the docker driver's `moby`): an image in the engine's own store, and its push."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.exporting import archives, blobs, cacheexport, provenance, pushes
from compatd.engine.builder.exporting.attributes import ImageOptions, image_options
from compatd.engine.builder.exporting.configs import patched
from compatd.engine.builder.exporting.descriptors import digest_of
from compatd.engine.builder.exporting.retiming import Retimer, base_of
from compatd.engine.builder.exporting.task import CacheEntry, Line, Output, Task
from compatd.engine.builder.request import BuildResult, PlatformResult
from compatd.engine.errors import EngineError
from compatd.engine.images.model import Image
from compatd.engine.images.reference import Reference, parse

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

MOBY = "moby"


def check(output: Output) -> ImageOptions:
    """Read the attributes. Raises InvalidParameter, EngineError."""
    options = image_options(output.attributes)
    for name in options.names:
        parse(name)
    if options.push_by_digest and output.type == MOBY:
        raise EngineError(
            "push-by-digest is currently not implemented for docker driver, please "
            "create a new builder instance"
        )
    if options.push and not options.names:
        raise EngineError("tag is needed when pushing to registry")
    return options


async def export(
    engine: "Engine", output: Output, result: BuildResult, task: Task, caches: Sequence[CacheEntry] = ()
) -> dict[str, str]:
    """Make and name the image, and push it. Raises EngineError.

    An index (several platforms, attestations) can only be pushed, for the store has images alone.
    """
    options = check(output)
    several = len(result.results) > 1
    wanted = provenance.wanted(task.invocation.attestations)
    # The client of a dockerd pushes the store's image afterwards: an index only where one is asked for
    inline = output.type != MOBY and options.inline_attestations
    listed = several or task.several or (wanted is not None and (inline or not wanted.inline_only))
    response: dict[str, str] = {}
    async with task.vertex("exporting to image") as line:
        if several and not options.push:
            raise EngineError("exporting multiple references to image store is currently unsupported")
        references = [parse(name).tagged() for name in options.names]
        if not several and options.store:
            response = await _store(engine, options, references, result, task, caches, line)
        if options.push and (listed or options.push_by_digest or not options.store):
            attest = wanted if listed else None
            response |= await _push_index(
                engine, options, references, result, task, caches, line, attest, inline=inline
            )
        elif options.push:
            for reference in references:
                await _push(engine, reference, options, task, line)
    return response


async def _store(
    engine: "Engine",
    options: ImageOptions,
    references: Sequence[Reference],
    result: BuildResult,
    task: Task,
    caches: Sequence[CacheEntry],
    line: Line,
) -> dict[str, str]:
    """The image in the engine's store, under its names; what the client is told."""
    inline_cache = cacheexport.inline(engine, caches, result, 0)
    with engine.images.index.pinned() as pins:
        with line.part("exporting layers"):
            config = await _config(engine, options, result.results[0], task, pins, inline_cache)
        if inline_cache is not None:
            line.note("preparing layers for inline cache")
        image = _made(engine, config, line)
    named = [str(parse(name)) for name in options.names]  # a tag that was not given is not shown
    for name, reference in zip(named, references, strict=True):
        with line.part(f"naming to {name}"):
            engine.images.tag(image, reference)
    engine.images.emit(image, "create", image.id)
    response = {"containerimage.config.digest": image.id, "containerimage.digest": image.id}
    if named:
        response["image.name"] = ",".join(named)
    return response


async def _push_index(
    engine: "Engine",
    options: ImageOptions,
    references: Sequence[Reference],
    result: BuildResult,
    task: Task,
    caches: Sequence[CacheEntry],
    line: Line,
    wanted: provenance.Wanted | None,
    *,
    inline: bool,
) -> dict[str, str]:
    """Push it without the store; what the client is told."""
    oci = wanted is not None if options.oci_types is None else options.oci_types
    if wanted and not oci:
        raise EngineError('cannot export attestations with "oci-mediatypes=false"')
    async with blobs.packing(engine.images) as packer:
        with engine.images.index.pinned() as pins:
            writer = archives.Writer(engine, packer, options, task, line, pins, oci, files=True)
            contents = await writer.contents(result, wanted, caches, inline=inline)
            await pushes.push(engine, contents, references, options, task, line)
            assert contents.target
            return archives.response_of(contents, contents.target, references)


async def _config(
    engine: "Engine", options: ImageOptions, one: PlatformResult, task: Task, pins: Any, inline: bytes | None
) -> bytes:
    epoch = task.epoch if options.epoch is None else options.epoch
    if epoch is None and inline is None:
        return one.config
    base = base_of(one)
    diff_ids = None
    if options.rewrite_timestamp and epoch is not None:
        chain_ids = await Retimer(engine, pins, epoch).chain(
            one.chain_ids, len(base.chain_ids) if base else 0
        )
        diff_ids = [engine.images.index.layers[chain_id].diff_id for chain_id in chain_ids]
    history = (base.document.get("history") or []) if base else []
    return patched(one.config, diff_ids=diff_ids, inline_cache=inline, epoch=epoch, base_history=history)


def _made(engine: "Engine", config: bytes, line: Line) -> Image:
    with line.part(f"writing image {digest_of(config)}"):
        return engine.images.index.create(config)


async def _push(
    engine: "Engine", reference: Reference, options: ImageOptions, task: Task, line: Line
) -> None:
    auth = await task.auth.credentials(reference.domain) if task.auth else {}

    async def write(told: Json) -> None:
        detail = told.get("progressDetail") or {}
        if detail.get("current"):
            part.advance(detail["current"], detail.get("total") or 0)

    with line.part(f"pushing {reference}") as part:
        try:
            await engine.images.push(reference, write, auth=auth, insecure=options.insecure)
        except EngineError as error:
            raise EngineError(f"failed to push {reference.familiar}: {error.message}") from error

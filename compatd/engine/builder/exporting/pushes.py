"""A push of what the engine's store cannot hold: an index of platforms, of an image and its attestations.

Source: moby/buildkit util/push; OCI distribution spec, "Pushing manifests".
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.exporting.attributes import ImageOptions
from compatd.engine.builder.exporting.blobs import Blob, Contents, each
from compatd.engine.builder.exporting.task import Line, Task
from compatd.engine.errors import EngineError
from compatd.engine.images.archive import IMAGE_MANIFESTS, INDEXES
from compatd.engine.images.reference import Reference
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.endpoints import Trusting
from compatd.engine.images.registry.errors import RegistryError
from compatd.engine.images.registry.sources import Source
from compatd.engine.images.registry.trying import at_registry
from compatd.engine.images.registry.upload import Upload

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

_MANIFESTS = (*IMAGE_MANIFESTS, *INDEXES)


async def push(
    engine: "Engine",
    contents: Contents,
    references: Sequence[Reference],
    options: ImageOptions,
    task: Task,
    line: Line,
) -> None:
    """All blobs, then the manifests, the target last under its name. Raises EngineError.

    The layers' blobs must have paths.
    """
    for reference in references:
        auth = await task.auth.credentials(reference.domain) if task.auth else {}
        config: Any = engine.config
        if options.insecure:
            config = Trusting(config, reference.domain)
        tag = "" if options.push_by_digest else reference.tag

        async def send(repository: Repository, reference: Reference = reference, tag: str = tag) -> None:
            await _send(repository, contents, reference, tag, line)

        try:
            await at_registry(reference, config, auth, send, push=True)
        except EngineError as error:
            text = error.text if isinstance(error, RegistryError) else error.message
            raise EngineError(f"failed to push {reference}: {text}") from error


async def _send(
    repository: Repository, contents: Contents, reference: Reference, tag: str, line: Line
) -> None:
    target = contents.target
    assert target
    with line.part("pushing layers") as part:
        layers = [blob for blob in contents.blobs if blob.path]
        await each(layers, lambda blob: upload(repository, blob, part.advance))
        for blob in contents.blobs:
            if not blob.path and blob.descriptor.media_type not in _MANIFESTS:
                await repository.put_blob(blob.digest, await _whole(blob))
    with line.part(f"pushing manifest for {reference}@{target.digest}"):
        for blob in contents.blobs:
            if blob.descriptor.media_type in _MANIFESTS:
                name = tag if tag and blob.digest == target.digest else blob.digest
                await repository.put_manifest(name, await _whole(blob), blob.descriptor.media_type)


async def _whole(blob: Blob) -> bytes:
    return b"".join([piece async for piece in blob.chunks()])


async def upload(repository: Repository, blob: Blob, advance: Any) -> None:
    """A blob that is a file into a registry, unless it is there. Raises EngineError."""
    if await repository.has_blob(blob.digest) is not None:
        return
    assert blob.path
    source = Source.of_file(blob.path, blob.descriptor.size, blob.digest)

    async def report(status: str, current: int = 0, total: int = 0) -> None:
        advance(current, total)

    await Upload(repository, source, report).run()

"""What a Control/Solve wants of its results, and how it gets it: `exporting` does the work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compatd.engine.builder.buildkit import errors
from compatd.engine.builder.buildkit.jobs import Job, Solved
from compatd.engine.builder.buildkit.lent import SessionAuth
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.exporting import exports
from compatd.engine.builder.exporting.task import CacheEntry, Invocation, Output, Task
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit

ARCHIVES = True  # exporters beyond an image in the engine's store


@dataclass(frozen=True, slots=True)
class Wanted:
    """Outputs, and where the cache goes."""

    outputs: Sequence[Output] = ()
    caches: Sequence[CacheEntry] = ()


def wanted(request: Message) -> Wanted:
    """Of a moby.buildkit.v1.SolveRequest; all attributes are checked. Raises EngineError."""
    given = [(one.Type, dict(one.Attrs)) for one in request.Exporters]
    if not given and request.ExporterDeprecated:
        given = [(request.ExporterDeprecated, dict(request.ExporterAttrsDeprecated))]
    outputs = [Output(kind, attributes, number) for number, (kind, attributes) in enumerate(given)]
    goes_to = caches(request)
    exports.check(outputs, goes_to)
    return Wanted(outputs, goes_to)


def caches(request: Message) -> list[CacheEntry]:
    """Where a SolveRequest wants the cache to go. Raises EngineError."""
    cache = request.Cache
    if cache is None:
        return []
    entries = [CacheEntry(one.Type, dict(one.Attrs)) for one in cache.Exports]
    if cache.ExportRefDeprecated:
        attributes = {**cache.ExportAttrsDeprecated, "ref": cache.ExportRefDeprecated}
        entries.append(CacheEntry("registry", attributes))
    seen: set[str] = set()
    for entry in entries:
        key = entry.attributes.get("ref") if entry.type == "registry" else ""
        key = key or f"{entry.type}:{sorted(entry.attributes.items())}"
        if key in seen:
            raise EngineError(f"duplicate cache exports [{entry.type}]")
        seen.add(key)
    return entries


async def export(kit: "BuildKit", job: Job, solved: Solved, asked: Wanted) -> Mapping[str, str]:
    """Hand the results on; the ExporterResponse. Raises EngineError, GrpcError."""
    response: dict[str, str] = {}
    if solved.build is not None:
        assert solved.wanted is not None
        task = await task_for(kit, job, solved.wanted, solved.dockerfile, several=solved.several)
        response = await exports.export(kit.engine, solved.build, asked.outputs, asked.caches, task)
    elif asked.outputs and any(reference.files for reference in solved.results.values()):
        raise errors.not_supported("the export of a low-level build")
    for name, data in solved.metadata.items():
        if name.startswith("frontend."):
            response[name] = data.decode("utf-8", "replace")
    return response


async def task_for(
    kit: "BuildKit", job: Job, options: FrontendOptions, dockerfile: bytes, *, several: bool = False
) -> Task:
    """What exports and imports of caches have at hand. Raises GrpcError when the client's session is gone."""
    return Task(
        observer=job.status,
        client=await kit.client(job) if job.session_id else None,
        auth=SessionAuth(kit.sessions.of(job.peer.owner), job.session_id),
        invocation=Invocation(
            ref=job.ref,
            frontend=dict(job.attributes),
            attestations=dict(options.attestations),
            dockerfile=dockerfile,
            filename=options.filename,
            started=job.created,
        ),
        epoch=options.source_date_epoch,
        several=several,
    )

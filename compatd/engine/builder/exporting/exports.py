"""What becomes of a build: all its outputs and caches, one after another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compatd.engine.builder.exporting import archives, cacheexport, images, provenance, trees
from compatd.engine.builder.exporting.task import CacheEntry, Output, Task
from compatd.engine.builder.request import BuildResult
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

_CHECKS = {
    **dict.fromkeys(("moby", "image"), images.check),
    **dict.fromkeys((archives.OCI, archives.DOCKER), archives.check),
    **dict.fromkeys(("local", "tar"), trees.check),
}


def check(outputs: Sequence[Output], caches: Sequence[CacheEntry] = ()) -> None:
    """Before the build begins. Raises EngineError in BuildKit's words for what can be no output."""
    for output in outputs:
        if output.type not in _CHECKS:
            raise EngineError(f'exporter "{output.type}" could not be found')
        _CHECKS[output.type](output)
    cacheexport.check(caches)


async def export(
    engine: "Engine",
    result: BuildResult,
    outputs: Sequence[Output],
    caches: Sequence[CacheEntry],
    task: Task,
) -> dict[str, str]:
    """Make all of them; what the client is told (ExporterResponse). Raises EngineError.

    The result's layers must be pinned until it returns.
    """
    provenance.wanted(task.invocation.attestations)  # what cannot be made is said also where none is kept
    response: dict[str, str] = {}
    for output in outputs:
        if output.type in ("moby", "image"):
            response |= await images.export(engine, output, result, task, caches)
        elif output.type in (archives.OCI, archives.DOCKER):
            response |= await archives.export(engine, output, result, task, caches)
        elif output.type == "tar":
            response |= await trees.export_tar(engine, output, result, task)
        else:
            response |= await trees.export_local(engine, output, result, task)
    for entry in caches:
        response |= await cacheexport.export(engine, entry, result, task)
    return response

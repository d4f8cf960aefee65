"""`docker export`: a container's whole root as a tar, without volumes."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from compatd.engine.containers import filesystem
from compatd.engine.containers.download import Download
from compatd.engine.errors import Conflict, EngineError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

_EXPORT = "runtime.storage.archive:export"


async def export(containers: "Containers", reference: str) -> AsyncIterator[bytes]:
    """The archive's chunks. Raises NotFound, Conflict before the first, EngineError."""
    container = containers.find(reference)
    if container.state.dead:
        raise Conflict(f"You cannot export container {container.id} which is Dead")
    if container.state.removing:
        raise Conflict(f"You cannot export container {container.id} which is being removed")
    view = filesystem.view(containers, container, write=False, volumes=False)
    download = Download(containers.runtime, _EXPORT, {"view": view})
    try:
        async for data in download.chunks():
            yield data
    except EngineError as error:
        raise EngineError(f"Error exporting container {reference}: {error.message}") from error
    finally:
        download.close()
    containers.emit(container, "export")

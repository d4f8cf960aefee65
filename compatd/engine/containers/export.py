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
    try:
        for live in (True, False):
            view = filesystem.view(containers, container, write=False, live=live, volumes=False)
            download = Download(containers.runtime, _EXPORT, {"view": view})
            try:
                while data := await download.read():
                    yield data
                answer = await download.answer()
            finally:
                download.close()
            if not answer.get("gone"):
                break
        if "error" in answer:
            raise EngineError(answer["error"])
    except EngineError as error:
        raise EngineError(f"Error exporting container {reference}: {error.message}") from error
    containers.emit(container, "export")

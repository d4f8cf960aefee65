"""A new container's root on disk, as its storage driver has it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers


async def make(containers: "Containers", container: Container) -> None:
    """Make the writable folder, and of images what must be ready before a start.

    Raises EngineError, OSError.
    """
    storage = containers.storage
    storage.create_rw(container.id)
    works = [storage.fill_work(container.id, container.chain_ids)]
    works += [storage.image_work(point["ChainIds"]) for point in container.mounts if point.get("ChainIds")]
    for work in works:
        if work:
            await _run(containers, *work)


async def _run(containers: "Containers", function: str, arguments: dict[str, Any]) -> None:
    try:
        answer = await containers.runtime.worker(function, arguments)
    finally:
        if "scratch" in arguments:
            containers.storage.discard(Path(arguments["scratch"]))
    if answer.get("error"):
        raise EngineError(f"error creating the container's root: {answer['error']}")

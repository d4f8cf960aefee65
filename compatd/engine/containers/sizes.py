"""How much a container has written, and how big its root is."""

import asyncio
from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container
from compatd.engine.foldersize import folder_size
from runtime.client import WorkerError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers


async def container_sizes(containers: "Containers", container: Container) -> tuple[int, int]:
    """(bytes of the writable layer, bytes of everything); counted in a thread or a worker."""
    work = containers.storage.size_work(container.id)
    if work:
        own = await _told(containers, work)
    else:
        own = await asyncio.to_thread(folder_size, str(containers.storage.rw / container.id / "diff"))
    image = containers.images.get(container.image_id)
    return own, own + int(getattr(image, "size", 0))


async def _told(containers: "Containers", work: tuple[str, dict[str, Any]]) -> int:
    try:
        return int((await containers.runtime.worker(*work))["size"])
    except WorkerError:
        return 0  # it is being removed

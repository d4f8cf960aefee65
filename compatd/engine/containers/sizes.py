"""How much a container has written, and how big its root is."""

import asyncio
import os
import stat
from typing import TYPE_CHECKING

from compatd.engine.containers.model import Container

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers


async def container_sizes(containers: "Containers", container: Container) -> tuple[int, int]:
    """(bytes of the writable layer, bytes of everything); counted in a thread."""
    own = await asyncio.to_thread(folder_size, str(containers.storage.rw / container.id / "diff"))
    image = containers.images.get(container.image_id)
    return own, own + int(getattr(image, "size", 0))


def folder_size(path: str) -> int:
    """Bytes of all files below a folder, and of links, but not of folders; hard links count once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(path):
        for name in [*names, *folders]:
            try:
                info = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            if stat.S_ISDIR(info.st_mode):
                continue
            if info.st_nlink > 1:
                key = (info.st_dev, info.st_ino)
                if key in seen:
                    continue
                seen.add(key)
            total += info.st_size
    return total

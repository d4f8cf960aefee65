"""How much a container has written, and how big its root is."""

import asyncio
import contextlib
import os
import stat
from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container
from runtime.client import WorkerError

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

_LONGEST = 2000
"""Bytes of a path below its beginning, before it begins anew; the kernel takes 4096 with the last name."""


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


def folder_size(path: str) -> int:
    """Bytes of all files below a folder, and of links, but not of folders; hard links count once.

    What cannot be read counts nothing. A container can nest folders deeper than a path is long.
    """
    return _count(path, set())


def _count(top: str, seen: set[tuple[int, int]]) -> int:
    total = 0
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if len(folder) - len(top) > _LONGEST:
                total += _count(f"/proc/self/fd/{fd}/.", seen)
                continue
            with os.scandir(fd) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        info = entry.stat(follow_symlinks=False)
                        if stat.S_ISDIR(info.st_mode):
                            folders.append(f"{folder}/{entry.name}")
                        elif info.st_nlink == 1 or (key := (info.st_dev, info.st_ino)) not in seen:
                            total += info.st_size
                            if info.st_nlink > 1:
                                seen.add(key)
        except OSError:
            continue
        finally:
            os.close(fd)
    return total

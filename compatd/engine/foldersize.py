"""How much is in a folder."""

import contextlib
import os
import stat

_LONGEST = 2000
"""Bytes of a path below its beginning, before it begins anew; the kernel takes 4096 with the last name."""


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

"""What git has checked out, made root's: by directory fds, no link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from runtime.storage.tree import OPEN_DIRECTORY


def _walk(folder: int) -> Iterator[tuple[int, bytes | str, os.stat_result]]:
    """(fd of the folder, name, stat) of all below, what is in a folder before itself."""
    for name in os.listdir(folder):
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
            yield from _walk(inner)
            os.close(inner)
        yield folder, name, info


def give_to_root(path: str) -> None:
    """All of it to root, as if root had checked it out."""
    top = os.open(path, OPEN_DIRECTORY)
    for folder, name, _ in _walk(top):
        os.chown(name, 0, 0, dir_fd=folder, follow_symlinks=False)
    os.fchown(top, 0, 0)
    os.close(top)


def set_times(path: str, when: int) -> None:
    """All of it from then, in ns."""
    top = os.open(path, OPEN_DIRECTORY)
    for folder, name, _ in _walk(top):
        os.utime(name, ns=(when, when), dir_fd=folder, follow_symlinks=False)
    os.utime(top, ns=(when, when))
    os.close(top)

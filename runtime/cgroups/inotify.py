"""inotify(7) on one file, by ctypes."""

from __future__ import annotations

import ctypes
import os

_IN_MODIFY = 0x2
_libc = ctypes.CDLL(None, use_errno=True)


def watch(path: str) -> int:
    """An fd that becomes readable when the file changes, or -1. Reading it takes the news."""
    fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        return -1
    if _libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(_IN_MODIFY)) < 0:
        os.close(fd)
        return -1
    return fd

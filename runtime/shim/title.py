"""The process's name as `ps` and `top` show it."""

from __future__ import annotations

import os

_extent: list[int] = []


def set_title(name: str, title: str) -> None:
    """Show `title` as the command line, cut to the room that argv took, and `name` (15 bytes) in short.

    The kernel shows argv's memory as it is, so it is written over; through /proc, which unlike ctypes
    touches no memory besides.
    """
    _write("/proc/self/comm", name.encode()[:15])
    if not _extent:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # proc(5): arg_start is field 48, arg_end 49; the fields here start with the third.
        _extent[:] = int(fields[45]), int(fields[46])
    start, end = _extent
    if end - start > 1:
        _write("/proc/self/mem", title.encode()[: end - start - 1].ljust(end - start, b"\0"), start)


def _write(path: str, data: bytes, offset: int = 0) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
        os.write(fd, data)
    finally:
        os.close(fd)

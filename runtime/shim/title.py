"""The process's name as `ps` and `top` show it."""

from __future__ import annotations

import ctypes

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_NAME = 15  # linux/prctl.h
_extent: list[int] = []


def set_title(name: str, title: str) -> None:
    """Show `title` as the command line, cut to the room that argv took, and `name` (15 bytes) in short.

    The kernel shows argv's memory as it is, so it is written over.
    """
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)
    if not _extent:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # proc(5): arg_start is field 48, arg_end 49; the fields here start with the third.
        _extent[:] = int(fields[45]), int(fields[46])
    start, end = _extent
    if end - start > 1:
        text = title.encode()[: end - start - 1]
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, text, len(text))


def malloc_trim() -> None:
    """Give memory that malloc(3) holds back to the kernel (glibc)."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)

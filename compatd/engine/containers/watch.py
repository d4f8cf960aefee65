"""inotify(7): to be told when something changes in a folder."""

import asyncio
import contextlib
import ctypes
import os
from pathlib import Path

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Tells of files written, created or renamed in a folder. Raises OSError; close it after use."""

    def __init__(self, folder: Path) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if _libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            error = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(error, os.strerror(error), str(folder))
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, 65536):
                pass
        self._event.set()

    async def changed(self, other: "asyncio.Future[object] | asyncio.Future[tuple[int, str]]") -> None:
        """Wait for a change since the last call, or until `other` is done."""
        if self._event.is_set() or other.done():
            self._event.clear()
            return
        waiter = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((waiter, other), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        self._event.clear()

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

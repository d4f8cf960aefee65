"""What is known of the files' content of a context: sha256 by inode, size and times, in a file beside it.

A file that is as it was then is not read again. Records of 64 bytes: inode, size, mtime and ctime in ns,
sha256.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEY = struct.Struct("<QQqq")
_RECORD = 64
_MAX = 512 << 20
_PIECE = 1 << 20
_THREADS = 2
_SMALL = 1 << 16  # below, handing it to another thread costs more than it gives


def _key(info: os.stat_result) -> bytes:
    return _KEY.pack(info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


class Index:
    """Digests by file; to be opened before the worker leaves the host's tree, and saved behind that, too."""

    def __init__(self, path: str, *, fresh: bool = False, written: bool = False) -> None:
        """`fresh`: only what is met again stays in it; `written`: what is put is not asked for again.

        Raises OSError when its folder is missing.
        """
        folder, self._name = os.path.split(path)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._known: dict[bytes, bytes] = {}
        self._fresh, self._written = fresh, fresh or written
        self._changed = fresh
        self._added = bytearray()  # 64 bytes a file: a million of them are no matter
        try:
            fd = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return
        with open(fd, "rb") as file:
            data = file.read(_MAX)
        for at in range(0, len(data) - _RECORD + 1, _RECORD):
            self._known[data[at : at + 32]] = data[at + 32 : at + _RECORD]

    def get(self, info: os.stat_result) -> bytes | None:
        """The digest of the file that looks like this, if it is known."""
        key = _key(info)
        found = self._known.get(key)
        if found is not None and self._fresh:
            self._added += key + found
        return found

    def put(self, info: os.stat_result, digest: bytes) -> None:
        """Remember it."""
        if self._written:
            self._added += _key(info) + digest
        else:
            self._known[_key(info)] = digest
        self._changed = True

    def save(self) -> None:
        """Write it, by rename. Raises OSError."""
        if not self._changed:
            return
        new = self._name + ".new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(new, flags, 0o600, dir_fd=self._folder), "wb") as file:
            if not self._fresh:
                file.writelines(key + digest for key, digest in self._known.items())
            file.write(self._added)
        os.rename(new, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)


class Hashing:
    """The sha256 of what is written to files, in a thread beside the writing; `done` tells what has come out.

    Pieces given may not change afterwards. One file at a time for each `Stream`.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Any, bytes | memoryview] | None] = SimpleQueue()
        self._pending = threading.Semaphore(32)  # pieces, so that a fast writer does not fill the memory
        self._thread = threading.Thread(target=self._work, name="hash", daemon=True)
        self._started = False

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            item[0].update(item[1])
            self._pending.release()

    def update(self, digest: Any, piece: bytes | memoryview) -> None:
        """Put a piece into a hashlib object: here when it is small and nothing waits, else in the thread."""
        if not self._started:
            if len(piece) < _SMALL:
                digest.update(piece)
                return
            self._started = True
            self._thread.start()
        self._pending.acquire()
        self._queue.put((digest, piece))

    def settle(self) -> None:
        """Wait until all pieces are in."""
        if not self._started:
            return
        event = _Event()
        self._pending.acquire()
        self._queue.put((event, b""))
        event.wait()


class _Event:
    """Looks like a digest to the thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def update(self, _: bytes) -> None:
        self._lock.release()

    def wait(self) -> None:
        self._lock.acquire()


class Later:
    """A digest that is being made."""

    __slots__ = ("_found", "_ready")

    def __init__(self) -> None:
        self._found: bytes | OSError = b""
        self._ready = threading.Lock()
        self._ready.acquire()

    def set(self, found: bytes | OSError) -> None:
        """It is known, or what went wrong."""
        self._found = found
        self._ready.release()

    def result(self) -> bytes:
        """Wait for it. Raises OSError."""
        with self._ready:
            if isinstance(self._found, OSError):
                raise self._found
            return self._found


class Digests:
    """Digests of files, made in two threads, which begin with the first file."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, os.stat_result, Index | None, Later]] = SimpleQueue()
        self._threads = 0

    def of(self, fd: int, info: os.stat_result, index: Index | None) -> Later:
        """The digest of all that is in a file, whose fd is closed then; the index is told."""
        if self._threads < _THREADS:
            self._threads += 1
            threading.Thread(target=self._work, name="hash", daemon=True).start()
        later = Later()
        self._queue.put((fd, info, index, later))
        return later

    def _work(self) -> None:
        buffer = bytearray(_PIECE)
        while True:
            fd, info, index, later = self._queue.get()
            try:
                digest = file_digest(fd, buffer)
                if index:
                    index.put(info, digest)
                later.set(digest)
            except OSError as error:
                later.set(error)
            finally:
                os.close(fd)


def file_digest(fd: int, buffer: bytearray | None = None) -> bytes:
    """sha256 of all that is in a file. Raises OSError."""
    digest = hashlib.sha256()
    view = memoryview(buffer if buffer is not None else bytearray(_PIECE))
    at = 0
    while count := os.preadv(fd, [view], at):
        digest.update(view[:count])
        at += count
    return digest.digest()

"""A log file that rotates by size, as Docker Engine's `max-size` and `max-file` do."""

from __future__ import annotations

import os


class LogFile:
    """Appends whole entries to a file; renames it to `.1`, `.2`, … when it has grown to `max_size`.

    As in Docker Engine the size is looked at before an entry is written, so a file passes the limit by
    at most one entry; with `max_file` 1 the old content is dropped.
    """

    __slots__ = ("_compress", "_fd", "_max_file", "_max_size", "_path", "_size")

    def __init__(self, path: str, max_size: int = -1, max_file: int = 1, compress: bool = False) -> None:
        """`max_size`: bytes, -1 for no limit. Raises OSError when the file cannot be opened."""
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._compress = compress
        self._fd = -1
        self._open(os.O_APPEND)

    def _open(self, flags: int) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o640)
        self._size = os.lseek(self._fd, 0, os.SEEK_END)

    def write(self, entries: bytes) -> None:
        """Append entries (each ends with a newline). Raises OSError, ENOSPC above all."""
        if self._max_size < 0:
            self._write(entries)
            return
        start = 0
        while start < len(entries):
            if self._size >= self._max_size:
                self._rotate()
            # Up to and including the entry that reaches the limit.
            cut = entries.find(b"\n", start + max(self._max_size - self._size, 1) - 1) + 1
            cut = cut or len(entries)
            self._write(entries[start:cut])
            start = cut

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        extension = ".gz" if self._compress else ""
        if self._max_file > 1:
            for number in range(self._max_file - 1, 1, -1):
                _rename(f"{self._path}.{number - 1}{extension}", f"{self._path}.{number}{extension}")
            _rename(self._path, self._path + ".1")
            if self._compress:
                self._pack(self._path + ".1")
        else:
            # A reader may be half way through the old file: leave its inode alone.
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
        self._open(os.O_TRUNC | os.O_APPEND)

    def _pack(self, path: str) -> None:
        # Imported here: few containers rotate, and every shim would carry it.
        import gzip
        import shutil

        try:
            with open(path, "rb") as plain, gzip.open(path + ".gz", "wb") as packed:
                shutil.copyfileobj(plain, packed)
            os.unlink(path)
        except FileNotFoundError:
            pass

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass

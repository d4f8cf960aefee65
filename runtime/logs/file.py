"""A log file that rotates by size, as Docker Engine's `max-size` and `max-file` do."""

from __future__ import annotations

import os
import sys


class LogFile:
    """Appends whole entries to a file; renames it to `.1`, `.2`, … when it has grown to `max_size`.

    As in Docker Engine the size is looked at before an entry is written, so a file passes the limit by
    at most one entry; with `max_file` 1 the old content is dropped.
    """

    __slots__ = ("_compress", "_fd", "_max_file", "_max_size", "_packer", "_path", "_size")

    def __init__(self, path: str, max_size: int = -1, max_file: int = 1, compress: bool = False) -> None:
        """`max_size`: bytes, -1 for no limit. Raises OSError when the file cannot be opened."""
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._compress = compress
        self._fd = -1
        self._packer = 0  # PID of the process that compresses, if one was started
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

    def write_records(self, records: list[bytes]) -> None:
        """Append records of any form. Raises OSError."""
        if self._max_size < 0:
            self._write(b"".join(records))
            return
        batch: list[bytes] = []
        size = self._size
        for record in records:
            if size >= self._max_size:
                self._write(b"".join(batch))
                batch.clear()
                self._rotate()
                size = 0
            batch.append(record)
            size += len(record)
        self._write(b"".join(batch))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        self._await_packer()  # it may hold the file that is about to be renamed
        if self._fd >= 0:  # opening the new file may have failed at the last attempt
            os.close(self._fd)
            self._fd = -1
        extension = ".gz" if self._compress else ""
        if self._max_file > 1:
            _unlink(f"{self._path}.{self._max_file - 1}{extension}")
            for number in range(self._max_file - 1, 1, -1):
                _rename(f"{self._path}.{number - 1}{extension}", f"{self._path}.{number}{extension}")
            _rename(self._path, self._path + ".1")
            if self._compress:
                self._pack(self._path + ".1")
        else:
            # A reader may be half way through the old file: leave its inode alone.
            _unlink(self._path)
        self._open(os.O_TRUNC | os.O_APPEND)

    def _pack(self, path: str) -> None:
        # In a process of its own: the container's output does not wait, and the shim does not grow.
        try:
            self._packer = os.fork()
        except OSError:
            pack(path)
            return
        if self._packer:
            return
        try:
            pack(path)
        except BaseException as error:
            print(f"shim: compressing a log: {error}", file=sys.stderr)
        finally:
            os._exit(0)

    def _await_packer(self) -> None:
        if self._packer:
            try:
                os.waitpid(self._packer, 0)
            except ChildProcessError:
                pass  # the shim has reaped it
            self._packer = 0

    def close(self) -> None:
        """Close the file when what it has rotated is compressed; a second call does nothing."""
        self._await_packer()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def pack(path: str) -> None:
    """Compress a file to `path`.gz. A reader finds one of both whole at any time. Raises OSError."""
    import gzip
    import shutil

    temporary = path + ".gz.tmp"
    try:
        with (
            open(path, "rb") as plain,
            open(temporary, "wb", opener=_private) as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as packed,
        ):
            shutil.copyfileobj(plain, packed)
    except FileNotFoundError:
        return
    os.rename(temporary, path + ".gz")
    _unlink(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o640)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass

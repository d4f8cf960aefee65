"""Reading the files of a log, the rotated ones too, from the oldest entry asked for on; and going on.

A form of log (json-file's lines, local's records) is told by how its bytes are cut into entries.
"""

import gzip
import os
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, Protocol, cast

_CHUNK = 1 << 20
_BLOCK = 1 << 16
_HEAD = 256
_LENGTH = 4


class Form(Protocol):
    """How a file's bytes are entries."""

    def whole(self, data: bytes) -> int:
        """How many bytes at the beginning of `data` are whole entries."""

    def seek_tail(self, file: IO[bytes], count: int, end: int) -> int:
        """Move to the first of the last `count` entries before `end`; how many there are, at most `count`."""


class Lines:
    """json-file: an entry a line."""

    def whole(self, data: bytes) -> int:
        """Up to the last newline."""
        return data.rfind(b"\n") + 1

    def seek_tail(self, file: IO[bytes], count: int, end: int) -> int:
        """Looks for newlines from the end."""
        position = end
        if count == 0 or end == 0:
            file.seek(end)
            return 0
        found = 0
        while position > 0:
            start = max(position - _BLOCK, 0)
            file.seek(start)
            block = file.read(position - start)
            # A newline at the very end closes the last line and begins none.
            index = len(block) - 1 if position == end and block.endswith(b"\n") else len(block)
            while True:
                index = block.rfind(b"\n", 0, index)
                if index < 0:
                    break
                found += 1
                if found == count:
                    file.seek(start + index + 1)
                    return found
            position = start
        file.seek(0)
        return found + 1


class Records:
    """local: an entry stands between two equal lengths of four bytes."""

    def whole(self, data: bytes) -> int:
        """Up to the last record whose second length is there."""
        position = 0
        while True:
            after = position + 2 * _LENGTH + int.from_bytes(data[position : position + _LENGTH], "big")
            if after > len(data) or position + _LENGTH > len(data):
                return position
            position = after

    def seek_tail(self, file: IO[bytes], count: int, end: int) -> int:
        """Goes from length to length backwards; forwards when the file's end is just being written."""
        position = end
        found = 0
        while position > 0 and found < count:
            size = _length(file, position - _LENGTH)
            start = position - 2 * _LENGTH - size
            if start < 0 or _length(file, start) != size:
                return self._from_the_start(file, end, count)
            position = start
            found += 1
        file.seek(position if count else end)
        return found

    def _from_the_start(self, file: IO[bytes], end: int, count: int) -> int:
        starts: deque[int] = deque(maxlen=count)
        position = 0
        while position + 2 * _LENGTH <= end:
            after = position + 2 * _LENGTH + _length(file, position)
            if after > end:
                break
            starts.append(position)
            position = after
        file.seek(starts[0] if starts else position)
        return len(starts)


def _length(file: IO[bytes], position: int) -> int:
    file.seek(position)
    return int.from_bytes(file.read(_LENGTH), "big")


class LogReader:
    """Whole entries of a log from its oldest file on, or of its last `tail`; goes on where it stopped.

    Files that are rotated while they are read are read to their ends, however often that happens; with
    `follow` False only what was there at first is read, or a busy program's log would never end.
    """

    def __init__(self, path: Path, tail: int = -1, form: Form | None = None, *, follow: bool = True) -> None:
        self._path = path
        self._follow = follow
        self._end = -1  # of the newest file, at first
        self._form = form or Lines()
        self._rest = b""
        self._files: list[IO[bytes]] = []
        self._last: IO[bytes] | None = None  # the newest file that was read to its end
        self._open_all(tail)

    def _open_all(self, tail: int) -> None:
        remaining = tail
        kept: list[IO[bytes]] = []
        for file in _snapshot(self._path):
            if tail >= 0 and remaining <= 0 and kept:
                file.close()
                continue
            if tail >= 0:
                file = _seekable(file, self._path.parent)
            if tail >= 0 or not kept:
                end = file.seek(0, os.SEEK_END)
                self._end = self._end if kept else end
                file.seek(0)
            if tail >= 0:
                remaining -= self._form.seek_tail(file, remaining, end)
            kept.insert(0, file)
        self._files = kept

    def read(self) -> bytes:
        """Some whole entries, b"" when there is nothing new now."""
        while True:
            if not self._files and not self._go_on():
                return b""
            data = self._files[0].read(self._room())
            if data:
                data = self._rest + data
                cut = self._form.whole(data)
                self._rest = data[cut:]
                if cut:
                    return data[:cut]
                continue
            if len(self._files) == 1:
                if not self._follow or self._is_newest():
                    return b""
                # What was written between the last read and the rotation.
                data = self._files[0].read(_CHUNK)
                if data:
                    self._rest += data
                    cut = self._form.whole(self._rest)
                    data, self._rest = self._rest[:cut], self._rest[cut:]
                    if data:
                        return data
                    continue
            self._step()

    def _room(self) -> int:
        """How many bytes may be read at once from the oldest file that is not yet read."""
        if self._follow or len(self._files) > 1:
            return _CHUNK
        return max(min(_CHUNK, self._end - self._files[0].tell()), 0)

    def _step(self) -> None:
        if self._last is not None:
            self._last.close()
        self._last = self._files.pop(0)
        self._rest = b""

    def _is_newest(self) -> bool:
        try:
            return self._path.stat().st_ino == _inode(self._files[0])
        except FileNotFoundError:
            return True  # being rotated: the new file is there in a moment

    def _go_on(self) -> bool:
        """After rotations: all files that are newer than the last one that was read."""
        files = _snapshot(self._path)
        mark = _head(self._last) if self._last is not None else b""  # that one is not read any more
        newer: list[IO[bytes]] = []
        seen = False
        for file in files:
            seen = seen or bool(mark and _head(file).startswith(mark))
            file.seek(0)
            if seen or (newer and self._last is not None and not mark):
                file.close()
            else:
                newer.insert(0, file)
        # Where the mark was not seen that file is gone, as all but the newest are where one file is kept.
        self._files = newer
        return bool(newer)

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        if self._last is not None:
            self._last.close()
            self._last = None
        self._files = []


def _snapshot(path: Path) -> list[IO[bytes]]:
    """All files of a log, newest first, opened between two rotations."""
    while True:
        files: list[IO[bytes]] = []
        for candidate in [path, *rotated(path)]:
            try:
                files.append(_open(candidate))
            except FileNotFoundError:
                # A file that was just compressed is there by its other name.
                try:
                    files.append(_open(Path(f"{candidate}.gz")))
                except FileNotFoundError:
                    continue
        try:
            if not files or path.stat().st_ino == _inode(files[0]):
                return files
        except FileNotFoundError:
            if not path.exists():
                return files
        for file in files:
            file.close()


def _inode(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def _head(file: IO[bytes]) -> bytes:
    """The first bytes, which tell a file from all others: an entry has its time. Moves in the file."""
    file.seek(0)
    return file.read(_HEAD)


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb", buffering=0)


def _seekable(file: IO[bytes], folder: Path) -> IO[bytes]:
    """A packed file unpacked to disk (it has no name there): its end cannot be found otherwise."""
    if not isinstance(file, gzip.GzipFile):
        return file
    plain = tempfile.TemporaryFile(dir=folder, buffering=0)
    with file:
        shutil.copyfileobj(file, plain)
    return cast(IO[bytes], plain)


def rotated(path: Path) -> list[Path]:
    """The rotated files of a log that exist, newest first: `.1`, `.2.gz`, …"""
    found = []
    number = 1
    while True:
        for candidate in (Path(f"{path}.{number}"), Path(f"{path}.{number}.gz")):
            if candidate.exists():
                found.append(candidate)
                break
        else:
            return found
        number += 1

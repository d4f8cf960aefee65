"""`GET /containers/{id}/logs`: reading a json-file log, its rotated files too, and following it."""

import asyncio
import gzip
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from compatd.engine.containers import exits
from compatd.engine.containers.logentries import Converter, LogQuery
from compatd.engine.containers.model import Container
from compatd.engine.containers.watch import Watch
from compatd.engine.errors import Conflict, NotBuilt

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

_CHUNK = 1 << 20
_BLOCK = 1 << 16


def check_readable(container: Container) -> None:
    """Raise Conflict for a dead container, NotBuilt (501) when its log driver cannot be read."""
    if container.state.removing or container.state.dead:
        raise Conflict("can not get logs from container which is dead or marked for removal")
    if container.host_config["LogConfig"]["Type"] != "json-file":
        raise NotBuilt("configured logging driver does not support reading")


async def read_logs(containers: "Containers", container: Container, query: LogQuery) -> AsyncIterator[bytes]:
    """Pieces of the answer. With `follow` they end when the container does, or with `until`.

    Raises what `check_readable` raises, before the first piece.
    """
    del containers
    check_readable(container)
    converter = Converter(query, framed=not container.tty)
    if not container.log_path:
        return
    path = Path(container.log_path)
    follow = query.follow and container.state.running
    ended = exits.wait(container, "next-exit") if follow else None
    watch = Watch(path.parent) if follow else None
    try:
        reader = await asyncio.to_thread(LogReader, path, query.tail)
        try:
            while True:
                finished = ended is None or ended.done()
                async for piece in _drain(reader, converter):
                    yield piece
                if converter.done or finished or watch is None or ended is None:
                    return
                await watch.changed(ended)
        finally:
            reader.close()
    finally:
        if watch:
            watch.close()
        if ended:
            ended.cancel()


async def _drain(reader: "LogReader", converter: Converter) -> AsyncIterator[bytes]:
    def step() -> tuple[bytes, bool]:
        lines = reader.read()
        return (converter.feed(lines), True) if lines else (b"", False)

    while not converter.done:
        data, more = await asyncio.to_thread(step)
        if data:
            yield data
        if not more:
            return


class LogReader:
    """Whole lines of a log from its oldest file on, or of its last `tail` lines; goes on where it stopped.

    A file that is rotated while it is read is read to its end first.
    """

    def __init__(self, path: Path, tail: int = -1) -> None:
        self._path = path
        self._rest = b""
        self._inode = 0
        self._files: list[IO[bytes]] = []
        self._open_all(tail)

    def _open_all(self, tail: int) -> None:
        files: list[IO[bytes]] = []
        remaining = tail
        for path in [self._path, *rotated(self._path)]:
            if tail >= 0 and remaining == 0 and files:
                break
            try:
                file = _open(path)
            except FileNotFoundError:
                continue
            if path == self._path:
                self._inode = os.fstat(file.fileno()).st_ino
            if tail >= 0:
                remaining -= seek_tail(file, remaining)
            files.insert(0, file)
        self._files = files

    def read(self) -> bytes:
        """Some whole lines, b"" when there is nothing new now."""
        while True:
            if not self._files and not self._reopen():
                return b""
            data = self._files[0].read(_CHUNK)
            if data:
                lines, newline, rest = (self._rest + data).rpartition(b"\n")
                self._rest = rest
                if newline:
                    return lines + newline
                continue
            if len(self._files) == 1 and not self._rotated():
                return b""
            self._files.pop(0).close()
            self._rest = b""

    def _rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return False

    def _reopen(self) -> bool:
        """After a rotation: the new file. One that was rotated twice in between is not missed by much."""
        try:
            file = _open(self._path)
        except FileNotFoundError:
            return False
        self._inode = os.fstat(file.fileno()).st_ino
        self._files.append(file)
        return True

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        self._files = []


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as packed:
            data = packed.read()
        return io.BytesIO(data)
    return path.open("rb", buffering=0)


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


def seek_tail(file: IO[bytes], count: int) -> int:
    """Move to the beginning of the last `count` lines; how many there are, at most `count`."""
    end = position = file.seek(0, os.SEEK_END)
    if count == 0 or end == 0:
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

"""A layer's original tar without keeping it: its headers here, its files' data in the unpacked layer.

The digest of a layer's tar is part of an image's identity, so the very same bytes must come out again for
`docker save` and push. A recipe is a zlib stream of records, in the order of the tar:

| record | meaning |
|---|---|
| `L`, u32 length, bytes | these bytes |
| `F`, u16 length, path, u64 offset, u64 length | that many bytes of the layer's file `path` from `offset` on |
| `M`, u16 length, path, u32 number | all earlier `F` at or below `path` are now in `lost/<number>`: a later member of the same tar replaced it |

Numbers are big-endian. What comes out is checked against the digest by whoever sends it.
"""  # noqa: E501

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator

from runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from isal import isal_zlib

    def _compressor() -> Any:
        return isal_zlib.compressobj(1)

except ImportError:

    def _compressor() -> Any:
        return zlib.compressobj(1)


_BUFFER = 1 << 18
_PIECE = 1 << 20
_MAX_LITERAL = 1 << 20


class Writer:
    """Writes a recipe to an fd, which stays the caller's; `finish` must come last."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._compress = _compressor()
        self._records = bytearray()
        self._literal = bytearray()

    def literal(self, data: bytes) -> None:
        """These bytes of the tar are no file's data."""
        self._literal += data
        if len(self._literal) >= _BUFFER:
            self._flush_literal()

    def payload(self, path: bytes, offset: int, length: int) -> None:
        """The next bytes of the tar went into the file `path`."""
        self._flush_literal()
        self._records += b"F%b%b%b" % (struct.pack(">H", len(path)), path, struct.pack(">QQ", offset, length))
        self._flush()

    def moved(self, path: bytes, number: int) -> None:
        """What was at `path` has been moved to `lost/<number>`."""
        self._flush_literal()
        self._records += b"M%b%b%b" % (struct.pack(">H", len(path)), path, struct.pack(">I", number))

    def _flush_literal(self) -> None:
        for at in range(0, len(self._literal), _MAX_LITERAL):
            piece = bytes(self._literal[at : at + _MAX_LITERAL])
            self._records += b"L%b%b" % (struct.pack(">I", len(piece)), piece)
        self._literal.clear()
        self._flush()

    def _flush(self, limit: int = _BUFFER) -> None:
        if len(self._records) >= limit:
            self._write(self._compress.compress(bytes(self._records)))
            self._records.clear()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self) -> None:
        """Write what is left."""
        self._flush_literal()
        self._flush(0)
        self._write(self._compress.flush())


def empty_recipe() -> bytes:
    """The recipe of a tar without members."""
    compress = _compressor()
    record = b"L" + struct.pack(">I", 1024) + bytes(1024)
    return bytes(compress.compress(record) + compress.flush())


def _records(fd: int) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(kind, bytes or path, number, number). Raises ValueError for a broken recipe."""
    inflate = zlib.decompressobj()
    data = bytearray()
    at = 0

    def need(count: int) -> bool:
        nonlocal at
        while len(data) - at < count:
            piece = os.read(fd, _BUFFER)
            if not piece:
                return False
            del data[:at]
            at = 0
            data.extend(inflate.decompress(piece))
        return True

    while need(1):
        kind = bytes(data[at : at + 1])
        at += 1
        head = 4 if kind == b"L" else 2
        if not need(head):
            raise ValueError("the recipe is cut off")
        length = int.from_bytes(data[at : at + head], "big")
        at += head
        tail = {b"L": 0, b"F": 16, b"M": 4}[kind]
        if not need(length + tail):
            raise ValueError("the recipe is cut off")
        text = bytes(data[at : at + length])
        at += length
        first = second = 0
        if kind == b"F":
            first, second = struct.unpack(">QQ", data[at : at + tail])
        elif kind == b"M":
            (first,) = struct.unpack(">I", data[at : at + tail])
        at += tail
        yield kind, text, first, second


def rebuild(layer: str) -> Iterator[bytes]:
    """The tar of the layer folder `layer` (`diff`, `recipe`, perhaps `lost`), in pieces of about 1 MiB.

    Paths are looked up inside the layer by the kernel (RESOLVE_IN_ROOT): a link in it leads nowhere else.
    Raises OSError, ValueError.
    """
    fd = os.open(f"{layer}/recipe", os.O_RDONLY | os.O_CLOEXEC)
    roots = {-1: os.open(f"{layer}/diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)}
    try:
        moves = [
            (position, path, number)
            for position, (kind, path, number, _) in enumerate(_records(fd))
            if kind == b"M"
        ]
        if moves:
            roots[0] = os.open(f"{layer}/lost", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.lseek(fd, 0, os.SEEK_SET)
        out = bytearray()
        for position, (kind, text, offset, length) in enumerate(_records(fd)):
            if kind == b"L":
                out += text
            elif kind == b"F":
                for piece in _file(roots, moves, position, text, offset, length):
                    out += piece
                    if len(out) >= _PIECE:
                        yield bytes(out)
                        out.clear()
            if len(out) >= _PIECE:
                yield bytes(out)
                out.clear()
        if out:
            yield bytes(out)
    finally:
        os.close(fd)
        for root in roots.values():
            os.close(root)


def _file(
    roots: dict[int, int],
    moves: list[tuple[int, bytes, int]],
    position: int,
    path: bytes,
    offset: int,
    length: int,
) -> Iterator[bytes]:
    root = roots[-1]
    for when, moved, number in moves:
        if when > position and (path == moved or path.startswith(moved + b"/")):
            root, path = roots[0], b"%d" % number + path[len(moved) :]
            break
    fd = syscalls.openat2(root, path, os.O_RDONLY | os.O_NOFOLLOW, syscalls.RESOLVE_IN_ROOT)
    try:
        while length:
            data = os.pread(fd, min(length, _PIECE), offset)
            if not data:
                raise ValueError("a file of the layer is shorter than it was")
            yield data
            offset += len(data)
            length -= len(data)
    finally:
        os.close(fd)

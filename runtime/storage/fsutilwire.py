"""Packets of fsutil's file transfer (BuildKit's FileSync.DiffCopy) to and from bytes.

Source: tonistiigi/fsutil types/wire.proto and stat.proto; protobuf's encoding.
"""

from __future__ import annotations

from runtime import varint

STAT, REQ, DATA, FIN, ERR = range(5)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Fields of Packet
_TYPE, _STAT, _ID, _DATA = 1, 2, 3, 4
# Go's os.FileMode
DIR, SYMLINK, DEVICE, PIPE, SOCKET, CHARACTER = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24, 1 << 21
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20


class WireError(Exception):
    """What came is no packet."""


class Stat:
    """One entry of the tree. `mode` is Go's; `size`, `mtime` (ns) and device numbers are signed."""

    __slots__ = ("gid", "linkname", "major", "minor", "mode", "mtime", "path", "size", "uid", "xattrs")

    def __init__(self) -> None:
        self.path = self.linkname = b""
        self.mode = self.uid = self.gid = self.size = self.mtime = self.major = self.minor = 0
        self.xattrs: dict[bytes, bytes] = {}

    @property
    def permissions(self) -> int:
        """The mode's twelve bits as the kernel has them."""
        mode = self.mode
        special = (mode & _SETUID and 0o4000) | (mode & _SETGID and 0o2000) | (mode & _STICKY and 0o1000)
        return mode & 0o777 | special


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(number, place behind it). Raises WireError."""
    try:
        return varint.decode(data, at)
    except ValueError:
        raise WireError("varint overflow") from None
    except IndexError:
        raise WireError("unexpected EOF") from None


def _fields(data: memoryview) -> list[tuple[int, int, memoryview]]:
    """(field, number, bytes) of a message; the other of the two is 0 or empty."""
    found = []
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        number, value = 0, data[:0]
        if kind == _VARINT:
            number, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if length > end - at:
                raise WireError("unexpected EOF")
            value = data[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise WireError(f"illegal wireType {kind}")
        found.append((key >> 3, number, value))
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def parse_stat(data: memoryview) -> Stat:
    """A Stat message. Raises WireError."""
    stat = Stat()
    for field, number, value in _fields(data):
        if field == 1:
            stat.path = bytes(value)
        elif field == 2:
            stat.mode = number & 0xFFFFFFFF
        elif field == 3:
            stat.uid = number & 0xFFFFFFFF
        elif field == 4:
            stat.gid = number & 0xFFFFFFFF
        elif field == 5:
            stat.size = _signed(number)
        elif field == 6:
            stat.mtime = _signed(number)
        elif field == 7:
            stat.linkname = bytes(value)
        elif field == 8:
            stat.major = _signed(number)
        elif field == 9:
            stat.minor = _signed(number)
        elif field == 10:
            pair = {key: bytes(part) for key, _, part in _fields(value)}
            stat.xattrs[pair.get(1, b"")] = pair.get(2, b"")
    return stat


def parse(packet: memoryview) -> tuple[int, int, Stat | None, memoryview]:
    """(type, ID, stat, data) of a Packet. Raises WireError."""
    kind = number = 0
    stat = None
    data = packet[:0]
    for field, value, part in _fields(packet):
        if field == _TYPE:
            kind = value
        elif field == _STAT:
            stat = parse_stat(part)
        elif field == _ID:
            number = value & 0xFFFFFFFF
        elif field == _DATA:
            data = part
    return kind, number, stat, data


def number(field: int, value: int) -> bytes:
    """A field with a number, negative ones as 64 bits; none for 0."""
    return varint.encode(field << 3) + varint.encode(value & 0xFFFFFFFFFFFFFFFF) if value else b""


def text(field: int, value: bytes) -> bytes:
    """A field with bytes; none for b""."""
    return varint.encode(field << 3 | _BYTES) + varint.encode(len(value)) + value if value else b""


def encode(kind: int, identity: int = 0, data: bytes = b"", *, about: bytes = b"") -> bytes:
    """A Packet. `about`: its stat, encoded."""
    return number(_TYPE, kind) + text(_STAT, about) + number(_ID, identity) + text(_DATA, data)

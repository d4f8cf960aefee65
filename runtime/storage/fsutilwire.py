"""Packets of fsutil's file transfer (BuildKit's FileSync.DiffCopy) to and from bytes.

Source: tonistiigi/fsutil types/wire.proto and stat.proto; protobuf's encoding.
"""

from __future__ import annotations

STAT, REQ, DATA, FIN, ERR = range(5)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_SHIFT = 63
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


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(number, place behind it). Raises WireError."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
            if shift > _MAX_SHIFT:
                raise WireError("varint overflow")
    except IndexError:
        raise WireError("unexpected EOF") from None


def _fields(data: memoryview) -> list[tuple[int, int, memoryview]]:
    """(field, number, bytes) of a message; the other of the two is 0 or empty."""
    found = []
    at, end = 0, len(data)
    while at < end:
        key, at = varint(data, at)
        kind = key & 7
        number, value = 0, data[:0]
        if kind == _VARINT:
            number, at = varint(data, at)
        elif kind == _BYTES:
            length, at = varint(data, at)
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


def _encoded(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(kind: int, number: int = 0, data: bytes = b"") -> bytes:
    """A Packet without a stat."""
    out = b""
    if kind:
        out += b"\x08" + _encoded(kind)
    if number:
        out += b"\x18" + _encoded(number)
    if data:
        out += b"\x22" + _encoded(len(data)) + data
    return out

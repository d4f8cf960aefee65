"""Tar headers to write: ustar, with a PAX header where a name or a size does not fit."""

from runtime.storage.tarheader import BLOCK

FILE, FOLDER = b"0", b"5"
END = bytes(2 * BLOCK)

_MAX_SIZE = 8**11
_MAX_NAME = 100


def _block(name: bytes, size: int, mode: int, mtime: int, kind: bytes) -> bytes:
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:108] = b"%07o\0" % mode
    block[108:116] = block[116:124] = b"%07o\0" % 0
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"%011o\0" % max(0, mtime)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[329:337] = block[337:345] = b"%07o\0" % 0
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    total = size + len(b"%d" % size)
    total = size + len(b"%d" % total)
    return b"%d %b=%b\n" % (total, key, value)


def header(name: bytes, size: int = 0, *, mode: int = 0o644, mtime: int = 0, kind: bytes = FILE) -> bytes:
    """All blocks in front of a member's data; `mtime` in whole seconds. Owner is root."""
    records = b""
    if len(name) > _MAX_NAME:
        records += _record(b"path", name)
    if size >= _MAX_SIZE:
        records += _record(b"size", b"%d" % size)
    extended = b""
    if records:
        extended = (
            _block(b"PaxHeaders.0/x", len(records), 0o644, mtime, b"x") + records + padding(len(records))
        )
    return extended + _block(name[:_MAX_NAME], size if size < _MAX_SIZE else 0, mode, mtime, kind)


def padding(size: int) -> bytes:
    """The zeros that follow a member's data of that size."""
    return bytes(-size % BLOCK)

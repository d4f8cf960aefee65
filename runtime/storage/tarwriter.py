"""Tar headers to write: ustar, with a PAX header where a name or a number does not fit."""

import os
import stat

from runtime.storage import tarheader as tar
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


def record(key: bytes, value: bytes) -> bytes:
    """A record of a PAX header."""
    size = len(key) + len(value) + 3
    total = size + len(b"%d" % size)
    total = size + len(b"%d" % total)
    return b"%d %b=%b\n" % (total, key, value)


def header(name: bytes, size: int = 0, *, mode: int = 0o644, mtime: int = 0, kind: bytes = FILE) -> bytes:
    """All blocks in front of a member's data; `mtime` in whole seconds. Owner is root."""
    records = b""
    if len(name) > _MAX_NAME:
        records += record(b"path", name)
    if size >= _MAX_SIZE:
        records += record(b"size", b"%d" % size)
    extended = b""
    if records:
        extended = (
            _block(b"PaxHeaders.0/x", len(records), 0o644, mtime, b"x") + records + padding(len(records))
        )
    return extended + _block(name[:_MAX_NAME], size if size < _MAX_SIZE else 0, mode, mtime, kind)


def padding(size: int) -> bytes:
    """The zeros that follow a member's data of that size."""
    return bytes(-size % BLOCK)


# Members of a tree ---------------------------------------------------------------------------------------

_MAX_PREFIX = 155
_MAX_ID = 8**7
_KINDS = {
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFIFO: tar.FIFO,
}


def split(name: bytes) -> tuple[bytes, bytes] | None:
    """(prefix, name) as ustar keeps names of up to 256 bytes, or None when no slash is where it must be."""
    end = min(len(name), _MAX_PREFIX + 1)
    if end == len(name) and name.endswith(b"/"):
        end -= 1
    at = name.rfind(b"/", 0, end)
    if at <= 0 or not 0 < len(name) - at - 1 <= _MAX_NAME:
        return None
    return name[:at], name[at + 1 :]


def _octal(value: int, digits: int) -> bytes:
    return b"%0*o\0" % (digits, value)


def member(
    name: bytes,
    info: os.stat_result,
    link: bytes = b"",
    *,
    hardlink: bool = False,
    xattrs: dict[bytes, bytes] | None = None,
) -> bytes:
    """All blocks in front of the data of a file, folder, link or device as `info` (of lstat) tells.

    `link` is what a symlink holds, or with `hardlink` the name of the member that this one is another name
    of. Times are cut to seconds. A folder's name ends with a slash. Raises KeyError for a socket.
    """
    kind = tar.HARDLINK if hardlink else _KINDS[stat.S_IFMT(info.st_mode)]
    size = info.st_size if kind == tar.REGULAR else 0
    seconds = info.st_mtime_ns // 1_000_000_000
    records: dict[bytes, bytes] = {}
    prefix, short = b"", name
    if len(name) > _MAX_NAME or not name.isascii():
        parts = split(name) if name.isascii() else None
        if parts:
            prefix, short = parts
        else:
            records[b"path"] = name
    if len(link) > _MAX_NAME or not link.isascii():
        records[b"linkpath"] = link
    for key, value, limit in (
        (b"size", size, _MAX_SIZE),
        (b"uid", info.st_uid, _MAX_ID),
        (b"gid", info.st_gid, _MAX_ID),
        (b"mtime", seconds, _MAX_SIZE),
    ):
        if not 0 <= value < limit:
            records[key] = b"%d" % value
    for attribute, content in (xattrs or {}).items():
        records[b"SCHILY.xattr." + attribute] = content
    block = bytearray(BLOCK)
    block[0 : min(len(short), _MAX_NAME)] = short[:_MAX_NAME]
    block[100:108] = _octal(stat.S_IMODE(info.st_mode), 7)
    block[108:116] = _octal(0 if b"uid" in records else info.st_uid, 7)
    block[116:124] = _octal(0 if b"gid" in records else info.st_gid, 7)
    block[124:136] = _octal(0 if b"size" in records else size, 11)
    block[136:148] = _octal(0 if b"mtime" in records else seconds, 11)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + min(len(link), _MAX_NAME)] = link[:_MAX_NAME]
    block[257:265] = b"ustar\x0000"
    device = kind in (tar.CHARACTER, tar.BLOCK_DEVICE)
    block[329:337] = _octal(os.major(info.st_rdev) if device else 0, 7)
    block[337:345] = _octal(os.minor(info.st_rdev) if device else 0, 7)
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % sum(block)
    if not records:
        return bytes(block)
    data = b"".join(record(key, records[key]) for key in sorted(records))
    return _block(b"PaxHeaders.0/x", len(data), 0, 0, b"x") + data + padding(len(data)) + bytes(block)


def marker(name: bytes, mode: int) -> bytes:
    """The header of an empty file of root's, for whiteouts."""
    return header(name, mode=mode)

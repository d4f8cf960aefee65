"""The worker that writes a layer's tar with no time after a moment: `runtime.storage.retime:run`.

Only headers are changed: the time in a member's block, and the times in its PAX header. Names stay bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.storage import tarheader as tar
from runtime.storage.packer import PIECE, Output
from runtime.storage.recipe import rebuild
from runtime.storage.tarheader import BLOCK, TarError
from runtime.storage.tarreader import Source
from runtime.storage.tarstream import decompressor
from runtime.storage.tarwriter import padding, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_TIMES = (b"mtime", b"atime", b"ctime")
_EXTENSIONS = (tar.PAX_LOCAL, tar.PAX_GLOBAL, tar.GNU_LONG_NAME, tar.GNU_LONG_LINK)


def run(arguments: Json, fds: list[int]) -> Json:
    """Write the tar of "layer" (a layer's folder) or "blob" (a file, "compression") to `fds[0]`.

    "epoch": seconds since 1970. {"entries": n} or {"error": text}.
    """
    out = Output(fds[0])
    try:
        return {"entries": retime(Source(_plain(arguments)), out, arguments["epoch"])}
    except BrokenPipeError:
        return {"error": "the reader went away"}
    except (OSError, ValueError, TarError) as error:
        return {"error": f"cannot rewrite timestamps: {error}"}


def _plain(arguments: Json) -> Iterator[bytes]:
    if "layer" in arguments:
        return rebuild(arguments["layer"])
    return decompressor(arguments["compression"])(_pieces(arguments["blob"]))


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while data := file.read(PIECE):
            yield data


def retime(source: Source, out: Output, epoch: int) -> int:
    """Copy the archive; how many members it has. Raises TarError."""
    count = 0
    while (block := source.take(BLOCK)) and block != tar.ZERO_BLOCK:
        if len(block) < BLOCK:
            raise TarError("unexpected EOF")
        entry = tar.parse(block)
        if entry.type in _EXTENSIONS:
            data = source.take(entry.size)
            source.skip(-entry.size % BLOCK)
            if entry.type == tar.PAX_LOCAL:
                data = _records(data, epoch)
                block = _sized(block, len(data))
            out.write(_clamped(block, epoch) + data + padding(len(data)))
            continue
        count += 1
        out.write(_clamped(block, epoch))
        if entry.type == tar.GNU_SPARSE:
            _extensions(source, out, block)
        for piece in source.part(entry.stored + -entry.stored % BLOCK):
            out.write(piece)
    out.end()
    return count


def _extensions(source: Source, out: Output, block: bytes) -> None:
    more = block[482]
    while more:
        extension = source.take(BLOCK)
        if len(extension) < BLOCK:
            raise TarError("unexpected EOF")
        out.write(extension)
        more = extension[504]


def _records(data: bytes, epoch: int) -> bytes:
    """A PAX header's records with times cut. Raises TarError."""
    found = b""
    last = epoch * 1_000_000_000
    position = 0
    while position < len(data):
        digits, space, _ = data[position : position + 20].partition(b" ")
        if not space or not digits.isdigit() or position + int(digits) > len(data):
            raise TarError("archive/tar: invalid tar header")
        text = data[position : position + int(digits)]
        key, _, value = text[len(digits) + 1 : -1].partition(b"=")
        if key in _TIMES and tar.nanoseconds(value) > last:
            text = record(key, b"%d" % epoch)
        found += text
        position += int(digits)
    return found


def _clamped(block: bytes, epoch: int) -> bytes:
    """The block with an earlier time, if its own is later."""
    if tar.number(block[136:148]) <= epoch:
        return block
    return _checked(block[:136] + b"%011o\0" % max(0, epoch) + block[148:])


def _sized(block: bytes, size: int) -> bytes:
    return _checked(block[:124] + b"%011o\0" % size + block[136:])


def _checked(block: bytes) -> bytes:
    body = block[:148] + b" " * 8 + block[156:]
    return body[:148] + b"%06o\0 " % sum(body) + body[156:]

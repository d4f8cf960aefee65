"""A layer's bytes on their way from a file descriptor to the unpacker: copied, unpacked, hashed.

Three threads, because read, write, sha256 and inflate all let go of the interpreter's lock: one reads and
keeps the original (and its digest), one hashes the plain tar, and the caller's places files meanwhile.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import zlib as _zlib
from collections.abc import Callable, Iterator
from queue import Queue

from runtime.storage.tarheader import TarError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from isal import isal_zlib

    _decompressobj: Callable[..., Any] = isal_zlib.decompressobj
    _inflate_errors: Any = (isal_zlib.error, _zlib.error)
except ImportError:
    _decompressobj = _zlib.decompressobj
    _inflate_errors = (_zlib.error,)


def load_thread_end() -> None:
    """Load what glibc loads when a thread is ended from outside, as Python does with daemon threads at exit.

    By then the process is in a chroot, and it would be the image's.
    """
    try:
        ctypes.CDLL("libgcc_s.so.1")
    except OSError:
        pass  # no glibc: musl has it inside


load_thread_end()

CHUNK = 1 << 18
HEAD = 512  # that much shows the compression
PIECE = 4 << 20  # the most that one step of inflating gives, so that a bomb cannot fill the memory
QUEUE = 16
_SLICE = 4096  # of zstd data at a time: gives 128 MiB at most

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
)


def detect(head: bytes) -> str:
    """The compression that the first bytes show: "gzip", "zstd", "bzip2", "xz" or "" for none."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"  # a skippable frame (RFC 8878, 3.1.2) comes first
    return ""


def _gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater: Any = None
    for data in chunks:
        while data:
            if inflater is None:
                data = data.lstrip(b"\0")  # zero padding between or after members
                if not data:
                    break
                inflater = _decompressobj(31)
            try:
                out = inflater.decompress(data, PIECE)
            except _inflate_errors as error:
                raise TarError("gzip: invalid header or checksum") from error
            if out:
                yield out
            if inflater.eof:
                data = inflater.unused_data
                inflater = None
            else:
                data = inflater.unconsumed_tail
    while inflater is not None and not inflater.eof:
        out = inflater.decompress(b"", PIECE)
        if not out:
            raise TarError("unexpected EOF")
        yield out


def _sized(make: Callable[[], Any], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """bz2's and lzma's decompressors: `needs_input`, several streams one after another."""
    inflater = make()
    started = False
    for data in chunks:
        while data or not inflater.needs_input:
            try:
                out = inflater.decompress(data, PIECE)
            except (OSError, ValueError, EOFError) as error:
                raise TarError(f"invalid compressed data: {error}") from error
            started = True
            data = b""
            if out:
                yield out
            if inflater.eof:
                data = inflater.unused_data.lstrip(b"\0")
                inflater = make()
                started = False
                if not data:
                    break
    if started and not inflater.eof:
        raise TarError("unexpected EOF")


def _zstd(make: Callable[[], Any], chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflater = None
    for data in chunks:
        while data:
            if inflater is None:
                inflater = make()
            # zstandard's objects have no output bound of their own, and 4 bytes can stand for 128 KiB
            piece, data = data[:_SLICE], data[_SLICE:]
            try:
                out = inflater.decompress(piece)
            except Exception as error:
                raise TarError(f"invalid zstd data: {error}") from error
            for at in range(0, len(out), PIECE):
                yield out[at : at + PIECE]
            if inflater.eof:
                data = inflater.unused_data + data
                inflater = None
    if inflater is not None:
        raise TarError("unexpected EOF")


def decompressor(kind: str) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """A function from compressed to plain chunks; imports what it needs now, so call it before chroot.

    Raises TarError for a kind that this Python cannot read.
    """
    if kind == "gzip":
        return _gzip
    if kind == "bzip2":
        import bz2

        return lambda chunks: _sized(bz2.BZ2Decompressor, chunks)
    if kind == "xz":
        import lzma

        def make() -> Any:
            return lzma.LZMADecompressor(memlimit=256 << 20)

        # LZMAError is no OSError
        def xz(chunks: Iterator[bytes]) -> Iterator[bytes]:
            try:
                yield from _sized(make, chunks)
            except lzma.LZMAError as error:
                raise TarError(f"invalid xz data: {error}") from error

        return xz
    if kind == "zstd":
        try:
            import zstandard
        except ImportError:
            raise TarError("zstd is not supported here: the zstandard module is missing") from None
        return lambda chunks: _zstd(
            lambda: zstandard.ZstdDecompressor(max_window_size=128 << 20).decompressobj(), chunks
        )
    return lambda chunks: chunks


def plain(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The tar in `pieces`, decompressed; begins to read at once, and imports what it needs."""
    head = b""
    while len(head) < HEAD and (data := next(pieces, b"")):
        head += data
    expand = decompressor(detect(head))

    def original() -> Iterator[bytes]:
        yield head
        yield from pieces

    return expand(original())


def read_pieces(source: int) -> Iterator[bytes]:
    """What an fd gives, to its end."""
    while data := os.read(source, CHUNK):
        yield data


class LayerStream:
    """Plain tar chunks out of `source` (an fd); the original goes to the fd `copy` when that is set.

    `open()` reads the first bytes and chooses the decompressor; then `chunks()` may be iterated once, also
    after a chroot. When it has ended, `digests()` says what passed. Errors of the reading thread are
    raised by `chunks()`: TarError or OSError.
    """

    def __init__(self, source: int, *, hash_raw: bool = True, hash_plain: bool = True) -> None:
        self._source = source
        self.copy = -1
        self._queue: Queue[bytes | BaseException | None] = Queue(QUEUE)
        self._hashing: Queue[bytes | None] = Queue(QUEUE)
        self._raw = hashlib.sha256() if hash_raw else None
        self._plain = hashlib.sha256()
        self._hash_plain = hash_plain
        self._head = b""
        self._stop = False
        self.kind = ""
        self.raw_size = 0
        self.plain_size = 0

    def open(self, *, plain: bool = False) -> None:
        """Read enough to know the compression, unless it is known to be none. Raises OSError, TarError."""
        while len(self._head) < HEAD:
            data = os.read(self._source, CHUNK)
            if not data:
                break
            self._head += data
        self.kind = "" if plain else detect(self._head)
        self._expand = decompressor(self.kind)
        self._reader = threading.Thread(target=self._read_all, name="layer-read", daemon=True)
        self._hasher = threading.Thread(target=self._hash_all, name="layer-hash", daemon=True)

    def _original(self) -> Iterator[bytes]:
        data = self._head
        self._head = b""
        while data:
            self.raw_size += len(data)
            if self.copy >= 0:
                view = memoryview(data)
                while view:
                    view = view[os.write(self.copy, view) :]
            if self.kind and self._raw is not None:
                self._raw.update(data)
            yield data
            data = os.read(self._source, CHUNK)

    def _read_all(self) -> None:
        try:
            for chunk in self._expand(self._original()):
                if self._stop:
                    return
                if self._hash_plain:
                    self._hashing.put(chunk)
                self._queue.put(chunk)
            self._hashing.put(None)
            self._queue.put(None)
        except BaseException as error:
            self._hashing.put(None)
            self._queue.put(error)

    def _hash_all(self) -> None:
        while (chunk := self._hashing.get()) is not None:
            self._plain.update(chunk)
            self.plain_size += len(chunk)

    def chunks(self) -> Iterator[bytes]:
        """The plain tar, in pieces of at most a few MiB."""
        self._reader.start()
        self._hasher.start()
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._stop = True

    def digests(self) -> dict[str, Any]:
        """After the end: {"digest" ("" if not asked), "size", "diff_id", "plain_size", "compression"}."""
        self._hasher.join()
        plain = "sha256:" + self._plain.hexdigest()
        if self._raw is None:
            digest = ""
        elif self.kind:
            digest = "sha256:" + self._raw.hexdigest()
        else:
            digest = plain
        return {
            "digest": digest,
            "size": self.raw_size,
            "diff_id": plain,
            "plain_size": self.plain_size,
            "compression": self.kind,
        }

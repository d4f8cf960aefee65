"""Reading tars: exact lengths out of a stream of chunks, and members out of those."""

import os
from collections.abc import Iterator

from runtime.storage import tarheader as tar
from runtime.storage.recipe import Writer
from runtime.storage.tarheader import BLOCK, Entry, TarError


class Source:
    """Reads of exact lengths out of a stream of chunks; a recipe, if any, is told what was read.

    `chunks` may be another source's `part`, for an archive in an archive.
    """

    def __init__(self, chunks: Iterator[bytes], recipe: Writer | None = None) -> None:
        self._chunks = chunks
        self._recipe = recipe
        self._chunk = b""
        self._at = 0

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = chunk, 0
                return True
        return False

    def take(self, count: int) -> bytes:
        """`count` bytes; fewer only at the end of the stream."""
        data = self._chunk[self._at : self._at + count]
        self._at += len(data)
        while len(data) < count and self._more():
            rest = self._chunk[: count - len(data)]
            self._at = len(rest)
            data += rest
        if self._recipe:
            self._recipe.literal(data)
        return data

    def part(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes as chunks; raises TarError when the stream ends before."""
        while count:
            left = len(self._chunk) - self._at
            if not left:
                if not self._more():
                    raise TarError("unexpected EOF")
                continue
            size = min(left, count)
            start, self._at = self._at, self._at + size
            count -= size
            yield self._chunk[start : self._at]

    def peek(self, count: int) -> bytes:
        """The next `count` bytes (fewer at the end) without taking them."""
        while len(self._chunk) - self._at < count:
            rest = self._chunk[self._at :]
            if not self._more():
                self._chunk, self._at = rest, 0
                break
            self._chunk = rest + self._chunk
        return self._chunk[self._at : self._at + count]

    def write_to(self, fd: int, path: bytes, offset: int, count: int) -> None:
        """Write the next `count` bytes to `fd`, the file `path`, which is at `offset`.

        With path b"" a recipe keeps the bytes themselves. Raises TarError when the stream ends before.
        """
        literal = None
        if self._recipe:
            if path:
                self._recipe.payload(path, offset, count)
            else:
                literal = self._recipe.literal
        while count:
            left = len(self._chunk) - self._at
            if not left:
                if not self._more():
                    raise TarError("unexpected EOF")
                continue
            size = min(left, count)
            view = memoryview(self._chunk)[self._at : self._at + size]
            if literal:
                literal(bytes(view))
            while view:
                view = view[os.write(fd, view) :]
            self._at += size
            count -= size

    def skip(self, count: int) -> None:
        """Pass over `count` bytes; raises TarError when the stream ends before."""
        for piece in self.part(count):
            if self._recipe:
                self._recipe.literal(piece)

    def drain(self) -> None:
        """Read what is left, so that digests and recipe cover all of it."""
        rest = self._chunk[self._at :]
        self._at = len(self._chunk)
        if self._recipe:
            self._recipe.literal(rest)
        for chunk in self._chunks:
            if self._recipe:
                self._recipe.literal(chunk)


class Reader:
    """The members of a tar, extended headers applied; after each, its data must be read or skipped."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._pending = 0

    def _extended(self, entry: Entry) -> bytes:
        if not 0 <= entry.size <= tar.MAX_EXTENDED:
            raise TarError("archive/tar: header field too long")
        data = self.source.take(entry.size)
        if len(data) < entry.size:
            raise TarError("unexpected EOF")
        self.source.skip(-entry.size % BLOCK)
        return data

    def next(self) -> Entry | None:
        """The next member or None at the end. Raises TarError."""
        long_name = long_link = b""
        records: dict[bytes, bytes] = {}
        while True:
            block = self.source.take(BLOCK)
            if not block:
                return None
            if len(block) < BLOCK:
                raise TarError("unexpected EOF")
            if block == tar.ZERO_BLOCK:
                return None
            entry = tar.parse(block)
            kind = entry.type
            if kind == tar.PAX_LOCAL:
                records = tar.pax_records(self._extended(entry))
            elif kind == tar.PAX_GLOBAL:
                self._extended(entry)  # a comment, as git writes it; dockerd ignores it too
            elif kind == tar.GNU_LONG_NAME:
                long_name = tar.c_string(self._extended(entry))
            elif kind == tar.GNU_LONG_LINK:
                long_link = tar.c_string(self._extended(entry))
            else:
                break
        if kind == tar.GNU_SPARSE:
            self._old_sparse(entry, block)
        if long_name:
            entry.name = long_name
        if long_link:
            entry.link = long_link
        if records:
            tar.apply_pax(entry, records)
            if tar.wants_embedded_map(records) and entry.type == tar.REGULAR:
                self._embedded_map(entry, records)
        tar.settle(entry)
        self._pad = -entry.stored % BLOCK
        return entry

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        real = tar.number(block[483:495])
        numbers = tar.gnu_sparse_numbers(block, 386, 4)
        more = block[482]
        while more:
            extension = self.source.take(BLOCK)
            if len(extension) < BLOCK:
                raise TarError("unexpected EOF")
            numbers += tar.gnu_sparse_numbers(extension, 0, 21)
            if len(numbers) > 2 * tar.MAX_SPARSE:
                raise TarError("archive/tar: invalid tar header")
            more = extension[504]
        entry.type = tar.REGULAR
        entry.size = real
        entry.sparse = tar.sparse_map(numbers, real)

    def _embedded_map(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        entry.size = tar.number(b"%o" % int(records.get(b"GNU.sparse.realsize", b"0") or 0))
        text = b""
        wanted = -1
        while wanted < 0 or text.count(b"\n") < 1 + 2 * wanted:
            block = self.source.take(BLOCK)
            if len(block) < BLOCK or len(text) > tar.MAX_EXTENDED:
                raise TarError("archive/tar: invalid tar header")
            text += block
            entry.stored -= BLOCK
            if wanted < 0 and b"\n" in text:
                head = text[: text.index(b"\n")]
                if not head.isdigit() or int(head) > tar.MAX_SPARSE:
                    raise TarError("archive/tar: invalid tar header")
                wanted = int(head)
        lines = text.split(b"\n")[1 : 1 + 2 * wanted]
        if entry.stored < 0 or not all(line.isdigit() for line in lines):
            raise TarError("archive/tar: invalid tar header")
        entry.sparse = tar.sparse_map([int(line) for line in lines], entry.size)

    def skip_data(self, entry: Entry) -> None:
        """Pass over the member's data."""
        self.source.skip(entry.stored)
        self._skip_padding()

    def _skip_padding(self) -> None:
        """The last member's may be missing, as Go allows (and docker's own command line does it)."""
        if self._pad:
            self.source.take(self._pad)

    def write_data(self, entry: Entry, path: bytes, fd: int) -> None:
        """Write the member's data to `fd`, the file `path`; holes stay holes, its padding is passed over."""
        if entry.sparse is None:
            if entry.stored:
                self.source.write_to(fd, path, 0, entry.stored)
            self._skip_padding()
            return
        left = entry.stored
        for offset, length in entry.sparse:
            if length > left:
                raise TarError("archive/tar: sparse file references non-existent data")
            os.lseek(fd, offset, os.SEEK_SET)
            self.source.write_to(fd, path, offset, length)
            left -= length
        os.ftruncate(fd, entry.size)
        self.source.skip(left)
        self._skip_padding()

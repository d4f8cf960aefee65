"""The worker that unpacks a build context: `runtime.storage.buildcontext:untar`.

The tar is a client's: it is unpacked chrooted, and each file's digest is noted on the way, for the cache's
sake.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from runtime.storage.bodystream import Body, Cut, Malformed
from runtime.storage.buildindex import Hashing, Index
from runtime.storage.buildpaths import CopyError, reason
from runtime.storage.buildunpack import FileUnpacker, unpack
from runtime.storage.memory import keep_freed
from runtime.storage.tarheader import Entry, TarError
from runtime.storage.tarreader import Reader, Source
from runtime.storage.tarstream import plain, read_pieces
from runtime.storage.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

MAX_ENTRIES = 1_000_000  # each is an inode; and a digest in memory
_MANY = 1024


class _HashedSource(Source):
    """Hashes what it writes to files."""

    def __init__(self, chunks: Iterator[bytes], hashing: Hashing) -> None:
        super().__init__(chunks)
        self._hashing = hashing
        self.digest = hashlib.sha256()

    def write_to(self, fd: int, path: bytes, offset: int, count: int) -> None:
        """Write the next `count` bytes to `fd`. Raises TarError when the stream ends before."""
        for piece in self.part(count):
            self._hashing.update(self.digest, piece)
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]


class ContextUnpacker(FileUnpacker):
    """Notes files' digests in an index; those with holes are left for later."""

    def __init__(self, tree: Tree, index: Index, hashing: Hashing) -> None:
        super().__init__(tree)
        self._index = index
        self._hashing = hashing
        self._made: list[tuple[os.stat_result, Any]] = []

    def _file(self, path: bytes, entry: Entry, reader: Reader) -> None:
        source = reader.source
        assert isinstance(source, _HashedSource)
        source.digest = hashlib.sha256()
        super()._file(path, entry, reader)
        if entry.sparse is None:
            self._made.append((self.tree.lstat(path), source.digest))
            if len(self._made) >= _MANY:
                self.note()

    def note(self) -> None:
        """Put the digests of the files so far into the index."""
        self._hashing.settle()
        for info, digest in self._made:
            self._index.put(info, digest.digest())
        self._made.clear()


def untar(arguments: Json, fds: list[int]) -> Json:
    """Unpack the (compressed) tar from `fds[0]` into "folder"/data, with an `Index` beside that.

    "body": absent, or what `bodystream.Body` must know when the fd is a client's socket; its state afterwards
    is in the answer, as "body". Answers {"entries": n}, {"error": text}, {"cut": true} too when the client
    went away.
    """
    keep_freed()
    body = Body(fds[0], arguments["body"]) if arguments.get("body") else None
    pieces = body.pieces() if body else read_pieces(fds[0])
    answer = _untar(arguments["folder"], pieces, arguments.get("limit", MAX_ENTRIES))
    return {**answer, "body": body.state()} if body else answer


def _untar(folder: str, pieces: Iterator[bytes], limit: int) -> Json:
    try:
        chunks = plain(pieces)
        index = Index(f"{folder}/index", written=True)
        root = os.open(f"{folder}/data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(root)
        os.chroot(".")
        os.umask(0)
        hashing = Hashing()
        unpacker = ContextUnpacker(Tree(root), index, hashing)
        unpack(unpacker, _HashedSource(chunks, hashing), limit)
        unpacker.note()
        index.save()
    except (CopyError, TarError) as error:
        return {"error": str(error)}
    except Malformed:
        return {"error": "malformed chunked encoding"}
    except Cut:
        return {"error": "unexpected EOF", "cut": True}
    except OSError as error:
        return {"error": reason(error), "errno": error.errno}
    return {"entries": unpacker.count}

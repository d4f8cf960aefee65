"""The worker that takes an archive of images apart in one pass: `runtime.storage.spool:run`.

Members land in one flat folder under numbers; their names are only told, so nothing is created by name. A
member that is itself a plain tar can only be a layer: it is unpacked at once, into `<number>/diff` with its
recipe beside, and never stored. All others (configs, manifests, compressed layers) become files.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from queue import Queue

from runtime.storage import tarheader as tar
from runtime.storage.tarheader import BLOCK, Entry, TarError
from runtime.storage.tarreader import Reader, Source
from runtime.storage.tarstream import QUEUE, LayerStream
from runtime.storage.tree import Tree, clean
from runtime.storage.untar import Failed, Recipe, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MEMBERS = 100_000
_KINDS = {tar.REGULAR: "file", tar.SYMLINK: "symlink", tar.HARDLINK: "hardlink"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Hashed:
    """Chunks passing by while a thread computes their sha256."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self._queue: Queue[bytes | None] = Queue(QUEUE)
        self._thread = threading.Thread(target=self._run, name="layer-hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            self._digest.update(chunk)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._queue.put(chunk)
            yield chunk

    def digest(self) -> str:
        """After the end: `sha256:<hex>`."""
        self._queue.put(None)
        self._thread.join()
        return "sha256:" + self._digest.hexdigest()


class Spool:
    """One archive being taken apart below the folder `root` (an fd)."""

    def __init__(self, root: int, known: set[bytes]) -> None:
        self._root = root
        self._known = known
        self.count = 0

    def members(self, source: Source) -> Iterator[bytes]:
        """Take all members; yields a line about each (see `run`)."""
        reader = Reader(source)
        while (entry := reader.next()) is not None:
            kind = _KINDS.get(entry.type)
            if kind is None:
                reader.skip_data(entry)
                continue
            self.count += 1
            if self.count > MAX_MEMBERS:
                raise TarError("the archive has too many members")
            extra = b""
            if kind != "file":
                reader.skip_data(entry)
                extra = entry.link
            elif entry.name.rpartition(b"/")[2] in self._known:
                reader.skip_data(entry)
                kind = "known"
            elif self._is_layer(entry, source):
                extra = self._layer(entry, reader)
                kind = "layer"
            else:
                self._file(entry, reader)
            fields = (kind.encode(), b"%d" % self.count, b"%d" % entry.size, clean(entry.name), extra)
            yield b"\0".join(fields) + b"\n\0"

    @staticmethod
    def _is_layer(entry: Entry, source: Source) -> bool:
        if entry.sparse is not None or entry.stored < BLOCK or entry.stored % BLOCK:
            return False
        block = source.peek(BLOCK)
        return len(block) == BLOCK and block[257:262] == b"ustar" and tar.checksum_matches(block)

    def _file(self, entry: Entry, reader: Reader) -> None:
        fd = os.open(b"%d" % self.count, _NEW, 0o600, dir_fd=self._root)
        try:
            reader.write_data(entry, b"", fd)
        finally:
            os.close(fd)

    def _layer(self, entry: Entry, reader: Reader) -> bytes:
        """Unpack a layer; its result as text: diff ID, bytes of files, members."""
        name = b"%d" % self.count
        os.mkdir(name, 0o710, dir_fd=self._root)
        folder = os.open(name, _DIRECTORY, dir_fd=self._root)
        os.mkdir("diff", 0o755, dir_fd=folder)
        recipe = Recipe(folder)
        tree = Tree(os.open("diff", _DIRECTORY, dir_fd=folder), recipe.lost, recipe.writer.moved)
        hashed = Hashed(reader.source.part(entry.stored))
        unpacker = unpack(tree, Source(iter(hashed), recipe.writer))
        recipe.close(keep=True)
        tree.close()
        os.close(folder)
        return b"%b %d %d" % (hashed.digest().encode(), unpacker.size, unpacker.count)


def run(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Split the (compressed) tar read from `fds[0]` into files and layers below `arguments["target"]`.

    Arguments: "known": names (last parts) of members that need not be kept, for layers that exist.
    The list of members goes to the file `index` there, a line each: kind (file, layer, known, symlink,
    hardlink), number, size, name, and for links the target, for layers "<diff ID> <bytes> <members>";
    separated by NUL, ended by "\\n\\0" (names cannot hold NUL).
    Answer: {"members": n} or {"error": text}.
    """
    try:
        stream = LayerStream(fds[0], hash_raw=False, hash_plain=False)
        stream.open()
        root = os.open(arguments["target"], _DIRECTORY)
        os.fchdir(root)
        os.chroot(".")
        os.umask(0)
        source = Source(stream.chunks())
        spool = Spool(root, {name.encode() for name in arguments.get("known", ())})
        with open(os.open("index", _NEW, 0o600, dir_fd=root), "wb") as index:
            for line in spool.members(source):
                index.write(line)
        source.drain()
    except Failed as error:
        return {"error": error.args[0], "errno": error.args[1]}
    except TarError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}
    return {"members": spool.count}

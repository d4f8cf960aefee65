"""Archives of ADD, and a build context's: unpacked as moby's archive.Untar does, chrooted or in a tree of
its own.

Made before the worker enters anything: `Archives` brings in what decompresses.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from runtime.storage import tarheader as tar
from runtime.storage.buildpaths import CopyError, Root, reason, shown
from runtime.storage.tarheader import Entry, TarError
from runtime.storage.tarreader import Reader, Source
from runtime.storage.tarstream import CHUNK, HEAD, decompressor, detect
from runtime.storage.tree import Breakout, Tree, clean
from runtime.storage.untar import Unpacker

TYPE_CHECKING = False
if TYPE_CHECKING:
    Expand = Callable[[Iterator[bytes]], Iterator[bytes]]

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = ("", "gzip", "bzip2", "xz", "zstd")


class FileUnpacker(Unpacker):
    """Members to files, what is there replaced, folders merged; `.wh.` means nothing here.

    The root's own attributes are not the archive's, as in dockerd.
    """

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self._setgid = True  # a folder may hand its group down: say each owner

    def put(self, entry: Entry, reader: Reader) -> None:
        """Place one member. Raises TarError, Breakout, OSError."""
        path = clean(entry.name)
        self.count += 1
        if path:
            self._make(path, entry, reader)
        else:
            reader.skip_data(entry)


_CALLS = {tar.DIRECTORY: "mkdir", tar.REGULAR: "open", tar.FIFO: "mknod", tar.CHARACTER: "mknod"}


def failure(entry: Entry, error: OSError) -> str:
    """What could not be made, in Go's words."""
    name = shown(b"/" + clean(entry.name))
    if entry.type == tar.HARDLINK:
        return f"link {shown(b'/' + clean(entry.link))} {name}: {reason(error)}"
    if entry.type == tar.SYMLINK:
        return f"symlink {shown(entry.link)} {name}: {reason(error)}"
    return f"{_CALLS.get(entry.type, 'mknod')} {name}: {reason(error)}"


def unpack(unpacker: FileUnpacker, source: Source, limit: int = 0) -> int:
    """Place all members of a plain tar; gives how many there were. Raises CopyError.

    `limit`: how many members there may be, 0 for any number.
    """
    reader = Reader(source)
    try:
        while (entry := reader.next()) is not None:
            if limit and unpacker.count >= limit:
                raise CopyError(f"archive has more than {limit} entries")
            try:
                unpacker.put(entry, reader)
            except Breakout:
                raise CopyError(f"invalid hardlink {shown(entry.name)!r} -> {shown(entry.link)!r}") from None
            except OSError as error:
                raise CopyError(failure(entry, error), error.errno or 0) from None
        unpacker.finish()
        source.drain()
    except TarError as error:
        raise CopyError(str(error)) from None
    return unpacker.count


class Archives:
    """Tells archives from other files, and unpacks them."""

    def __init__(self) -> None:
        self._expand: dict[str, Expand] = {}
        for kind in _KINDS:
            try:
                self._expand[kind] = decompressor(kind)
            except TarError:
                continue  # a module is missing: such a file is then none of ours

    def open(self, root: Root, path: bytes) -> int:
        """An fd of the archive at a canonical path, or -1 when it is none."""
        try:
            if not stat.S_ISREG(root.lstat(path).st_mode):
                return -1
            above, _, name = path.rpartition(b"/")
            folder = root.folder(above or b"/")
            try:
                fd = os.open(name, _OPEN_FILE, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError:
            return -1
        try:
            if Reader(Source(self._chunks(fd))).next() is not None:
                return fd
        except (TarError, OSError):
            pass
        os.close(fd)
        return -1

    def _chunks(self, fd: int) -> Iterator[bytes]:
        head = os.pread(fd, HEAD, 0)
        expand = self._expand.get(detect(head))
        if expand is None:
            raise TarError("zstd is not supported here: the zstandard module is missing")
        return expand(_pieces(fd))

    def unpack(self, fd: int, folder: int) -> int:
        """Place all that is in an archive into a folder (fds, that one is closed); gives how many members.

        Raises CopyError.
        """
        tree = Tree(folder)
        try:
            return unpack(FileUnpacker(tree), Source(self._chunks(fd)))
        finally:
            tree.close()


def _pieces(fd: int) -> Iterator[bytes]:
    at = 0
    while data := os.pread(fd, CHUNK, at):
        at += len(data)
        yield data

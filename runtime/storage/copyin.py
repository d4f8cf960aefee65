"""A tar unpacked into a folder of a container that may be running and changing it at the same time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from runtime.storage import tarheader as tar
from runtime.storage.tarheader import Entry, TarError
from runtime.storage.tarreader import Reader, Source
from runtime.storage.tree import Breakout, Tree, clean
from runtime.storage.untar import Unpacker

_KINDS = (
    tar.REGULAR,
    tar.DIRECTORY,
    tar.HARDLINK,
    tar.SYMLINK,
    tar.CHARACTER,
    tar.BLOCK_DEVICE,
    tar.FIFO,
)


class CopyFailed(Exception):
    """A member that cannot be placed; the text is for the client."""


def is_local(name: bytes) -> bool:
    """Whether a relative name stays in its folder at every step, whatever is there."""
    depth = 0
    for part in name.split(b"/"):
        if part == b"..":
            depth -= 1
            if depth < 0:
                return False
        elif part not in (b"", b"."):
            depth += 1
    return True


def quoted(name: bytes) -> str:
    """As Go's %q, nearly: the text in quotes."""
    text = name.decode("utf-8", "replace")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class CopyUnpacker(Unpacker):
    """Members to files as `docker cp` wants them: no whiteouts, and what is there is replaced.

    Folders are merged. Links on the way are followed inside the destination only. `owner` is (uid, gid) for
    everything, or None for what the archive says.
    """

    def __init__(self, tree: Tree, *, shown: str, no_overwrite: bool, owner: tuple[int, int] | None) -> None:
        super().__init__(tree)
        self._shown = shown
        self._no_overwrite = no_overwrite
        self._owner = owner
        self._setgid = True  # a folder of the container may hand its group down: say each owner

    def put(self, entry: Entry, reader: Reader) -> None:
        """Place one member. Raises TarError, CopyFailed, OSError."""
        if not is_local(entry.name.lstrip(b"/")):
            raise CopyFailed(f"invalid entry name {quoted(entry.name)}")
        path = clean(entry.name)
        self.count += 1
        if not path:
            reader.skip_data(entry)
            return
        if entry.type not in _KINDS:
            raise TarError(f"unhandled tar header type {entry.type[0]}")
        if entry.type == tar.HARDLINK and (not clean(entry.link) or not is_local(entry.link.lstrip(b"/"))):
            raise CopyFailed(f"invalid hardlink target {quoted(entry.link)}")
        if self._owner:
            entry.uid, entry.gid = self._owner
        if self._no_overwrite:
            self._check(path, entry)
        self._make(path, entry, reader)

    def _check(self, path: bytes, entry: Entry) -> None:
        try:
            there = stat.S_ISDIR(self.tree.lstat(path).st_mode)
        except FileNotFoundError:
            return
        if there and entry.type != tar.DIRECTORY:
            what, how = "directory", "non-directory"
        elif not there and entry.type == tar.DIRECTORY:
            what, how = "non-directory", "directory"
        else:
            return
        folder = self._shown.encode("utf-8", "surrogateescape")
        shown, place = quoted(folder), quoted(os.path.join(folder, path))
        raise CopyFailed(f"cannot overwrite {what} {place} with {how} {shown}")


def unpack(
    folder: int,
    chunks: Iterator[bytes],
    *,
    shown: str,
    no_overwrite: bool,
    owner: tuple[int, int] | None,
) -> int:
    """Place all members of a plain tar into `folder` (an fd), called `shown`; gives how many there were.

    Raises TarError for a broken archive, CopyFailed for what cannot be placed.
    """
    source = Source(chunks)
    reader = Reader(source)
    unpacker = CopyUnpacker(Tree(folder), shown=shown, no_overwrite=no_overwrite, owner=owner)
    while (entry := reader.next()) is not None:
        try:
            unpacker.put(entry, reader)
        except Breakout:
            raise CopyFailed(f"invalid entry name {quoted(entry.name)}") from None
        except OSError as error:
            name = entry.name.decode("utf-8", "replace").strip("/")
            place = f"{shown.rstrip('/')}/{name}"
            raise CopyFailed(f"{place}: {os.strerror(error.errno or 0).lower()}") from None
    unpacker.finish()
    source.drain()
    return unpacker.count

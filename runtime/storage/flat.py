"""Workers of the vfs driver: an image's layers copied into one tree, and what has changed in it since.

All is done by directory fds and no link is followed: the layers are an image's, the tree is a container's.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import sys
from collections.abc import Iterator

from runtime import syscalls
from runtime.storage.changes import ADDED, DELETED, MODIFIED, Change, differ, shut_in
from runtime.storage.copyup import Copier
from runtime.storage.packer import Output, Packer
from runtime.storage.tarwriter import marker
from runtime.storage.tree import OPEN_DIRECTORY, empty, filled, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

FICLONE = 0x40049409  # linux/fs.h
OPAQUE = 3  # beside the kinds of changes: nothing of what was below shows
_PATH_MAX = 4095
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS


def fill(arguments: Json, fds: list[int]) -> Json:
    """Merge the layers "lower" (folders, top first) into the folder "target".

    "base": a file that gets one record of each entry of the result (see `record`); or "scratch": a new folder
    of `prepare_layer`, in which the tree is made and then moved to "target", which another may have made
    meanwhile. Answer: {} or {"error": text}.
    """
    _no_limits()
    try:
        os.umask(0)
        scratch = arguments.get("scratch")
        path = f"{scratch}/diff" if scratch else arguments["target"]
        target = os.open(path, OPEN_DIRECTORY)
        for lower in reversed(arguments["lower"]):
            source = os.open(lower, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            Merger().folder(source, target)
            os.close(source)
        if scratch:
            try:
                os.rename(path, arguments["target"])
            except OSError:
                if not os.path.isdir(arguments["target"]):
                    raise
        else:
            _write_base(arguments["base"], target)
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}
    return {}


def _write_base(path: str, target: int) -> None:
    """The records, by rename: a `base` that has content is whole."""
    with open(path + ".new", "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        for entry, folder, name in walk(target):
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            file.write(record(entry, info, _capability(folder, name)))
    os.rename(path + ".new", path)


class Merger(Copier):
    """Copies a layer over what is there already: overlay's marks are obeyed, not copied."""

    def _entry(self, source: int, target: int, name: bytes) -> None:
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        folder = stat.S_ISDIR(info.st_mode)
        try:
            old = os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            old = None
        if old and not (folder and stat.S_ISDIR(old.st_mode)):
            remove(target, name, old)
            old = None
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            return
        if folder and old:
            self._into(source, target, name)
        else:
            super()._entry(source, target, name)

    def _into(self, source: int, target: int, name: bytes) -> None:
        inner = os.open(name, OPEN_DIRECTORY, dir_fd=source)
        below = os.open(name, OPEN_DIRECTORY, dir_fd=target)
        above = self._path
        self._path += name + b"/"
        try:
            if _opaque(inner):
                empty(below)
            for attribute in os.listxattr(below):
                if not attribute.startswith("system."):
                    os.removexattr(below, attribute)
            self.folder(inner, below)
        finally:
            self._path = above
            os.close(inner)
            os.close(below)

    def _data(self, old: int, new: int, info: os.stat_result) -> None:
        try:
            fcntl.ioctl(new, FICLONE, old)
        except OSError:
            _copy_sparse(old, new, info.st_size)


def _copy_sparse(old: int, new: int, size: int) -> None:
    """Copy what a file holds, and leave holes."""
    for start, end in filled(old, size):
        os.lseek(new, start, os.SEEK_SET)
        while start < end and (sent := os.sendfile(new, old, start, end - start)):
            start += sent
    os.ftruncate(new, size)


def _opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _capability(folder: int, name: bytes) -> bytes:
    try:
        os.fchdir(folder)
        return os.getxattr(name, "security.capability", follow_symlinks=False)
    except OSError:
        return b""


def walk(folder: int, path: bytes = b"") -> Iterator[tuple[bytes, int, bytes]]:
    """(path, fd of its folder, name) of all below the folder, parents first, names in order."""
    for name in sorted(os.fsencode(found) for found in os.listdir(folder)):
        inner = path + b"/" + name
        if len(inner) > _PATH_MAX:
            continue
        yield inner, folder, name
        try:
            below = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from walk(below, inner)
        finally:
            os.close(below)


def record(path: bytes, info: os.stat_result, capability: bytes) -> bytes:
    """An entry as `base` keeps it: mode, uid, gid, rdev, size, mtime in ns, capability in hex, path; NUL."""
    numbers = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, info.st_size, info.st_mtime_ns)
    return b"%d %d %d %d %d %d %b %b\0" % (*numbers, capability.hex().encode() or b"-", path)


class Was:
    """An entry as it was; attributes are named as in os.stat_result."""

    __slots__ = (
        *("capability", "children", "st_gid", "st_mode", "st_mtime_ns", "st_rdev", "st_size", "st_uid"),
    )

    def __init__(self, fields: list[bytes]) -> None:
        numbers = [int(field) for field in fields[:6]]
        self.st_mode, self.st_uid, self.st_gid, self.st_rdev, self.st_size, self.st_mtime_ns = numbers
        self.capability = b"" if fields[6] == b"-" else bytes.fromhex(fields[6].decode())
        self.children: dict[bytes, Was] = {}


def read_base(path: str) -> Was:
    """The root of the tree that was. Raises OSError, ValueError."""
    root = Was([b"0"] * 6 + [b"-"])
    places = {b"": root}
    with open(path, "rb") as file:
        for line in file.read().split(b"\0"):
            if not line:
                continue
            fields = line.split(b" ", 7)
            entry = fields[7]
            above, _, name = entry.rpartition(b"/")
            places[entry] = places[above].children[name] = Was(fields)
    return root


def compare(folder: int, was: Was | None, path: bytes, made: int = 0) -> list[Change]:
    """What differs below the folder (an fd) from what was; parents first.

    `made`: when the tree was whole, in ns. A folder that was born later in the place of another is then as in
    an overlay: OPAQUE follows it, and all that is in it is new. 0: its content is compared.
    """
    changes: list[Change] = []
    old = was.children if was else {}
    try:
        names = {os.fsencode(name) for name in os.listdir(folder)}
    except OSError:
        names = set()
    for name in sorted(names | set(old)):
        inner = path + b"/" + name
        if len(inner) > _PATH_MAX:
            continue
        try:
            new = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            if name in old:
                changes.append((inner, DELETED))
            continue
        before = old.get(name)
        below: list[Change] = []
        if stat.S_ISDIR(new.st_mode):
            below = _below(folder, name, before, inner, made)
        if before is None:
            changes.append((inner, ADDED))
        elif below or differ(before, new) or before.capability != _capability(folder, name):
            changes.append((inner, MODIFIED))
        changes += below
    return changes


def _below(folder: int, name: bytes, before: Was | None, path: bytes, made: int) -> list[Change]:
    try:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
    except OSError:
        return []
    try:
        same = before is not None and stat.S_ISDIR(before.st_mode)
        if made and before is not None and (not same or syscalls.birth(fd) > made):
            return [(path, OPAQUE), *compare(fd, None, path, made)]
        return compare(fd, before if same else None, path, made)
    finally:
        os.close(fd)


def _no_limits() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two a level
    sys.setrecursionlimit(2 * _PATH_MAX)


def _changed(arguments: Json, *, opaque: bool = False) -> tuple[int, list[Change]]:
    _no_limits()
    folder = os.open(arguments["flat"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    made = os.stat(arguments["base"]).st_mtime_ns if opaque else 0
    return folder, compare(folder, read_base(arguments["base"]), b"", made)


def diff(arguments: Json, fds: list[int]) -> Json:
    """{"changes": [[path, kind], …]}, parents first, of the tree "flat" against its "base"."""
    _, changes = _changed(arguments)
    return {"changes": [[os.fsdecode(path), kind] for path, kind in changes]}


def size(arguments: Json, fds: list[int]) -> Json:
    """{"size": bytes of all files that are new or other than in "base"}; hard links count once."""
    folder, changes = _changed(arguments)
    total = 0
    seen: set[tuple[int, int]] = set()
    for path, kind in changes:
        if kind == DELETED:
            continue
        try:
            parent, name = _parent(folder, path)
        except OSError:
            continue
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError:
            continue
        finally:
            os.close(parent)
        key = (info.st_dev, info.st_ino)
        if not stat.S_ISDIR(info.st_mode) and key not in seen:
            seen.add(key)
            total += info.st_size
    return {"size": total}


def layer(arguments: Json, fds: list[int]) -> Json:
    """Write what is other than in "base" as a layer's tar to `fds[0]`; {"entries": n}."""
    _, changes = _changed(arguments, opaque=True)
    folder = shut_in(arguments["flat"])
    packer = Packer(Output(fds[0]), layer=True)
    try:
        for path, kind in changes:
            if kind == DELETED:
                above, _, name = path[1:].rpartition(b"/")
                packer.write(marker((above + b"/.wh." if above else b".wh.") + name, 0o600))
                continue
            if kind == OPAQUE:
                packer.write(marker(path[1:] + b"/.wh..wh..opq", 0o755))
                continue
            try:
                parent, name = _parent(folder, path)
            except OSError:
                continue  # gone meanwhile
            packer.single(parent, name, path[1:])
            os.close(parent)
        packer.out.end()
    except BrokenPipeError:
        return {"error": "the reader went away"}
    return {"entries": packer.count}


def _parent(root: int, path: bytes) -> tuple[int, bytes]:
    above, _, name = path[1:].rpartition(b"/")
    return syscalls.openat2(root, above or b".", OPEN_DIRECTORY, _BENEATH), name

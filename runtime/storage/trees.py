"""Images' trees to read: mounted one beside the other, walked, written as a tar, their files' digests told.

All is read by directory fds and no link is followed; the layers are mounted read only, without devices.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from runtime import syscalls
from runtime.storage.packer import PIECE, Output
from runtime.storage.tarwriter import header, member, padding
from runtime.storage.tree import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_SAFE = syscalls.MS_RDONLY | syscalls.MS_NODEV | syscalls.MS_NOSUID | syscalls.MS_NOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_PATH_MAX = 4095
_OPEN_MAX = 128  # folders open at a time
_FOLDER_MODE = 0o755


class Info:
    """What lstat says, the time perhaps another; or a made-up entry of root's. Named as os.stat_result's."""

    __slots__ = (
        "st_dev", "st_gid", "st_ino", "st_mode", "st_mtime_ns", "st_nlink", "st_rdev", "st_size", "st_uid",
    )  # fmt: skip

    def __init__(self, mode: int, size: int = 0, mtime: int = 0) -> None:
        self.st_mode, self.st_size, self.st_mtime_ns = mode, size, mtime
        self.st_uid = self.st_gid = self.st_rdev = self.st_dev = self.st_ino = 0
        self.st_nlink = 1


def _info(found: os.stat_result, mtime: int | None) -> Info:
    info = Info(found.st_mode, found.st_size, found.st_mtime_ns if mtime is None else mtime)
    info.st_uid, info.st_gid, info.st_rdev = found.st_uid, found.st_gid, found.st_rdev
    info.st_dev, info.st_ino, info.st_nlink = found.st_dev, found.st_ino, found.st_nlink
    return info


class Entry:
    """Something in a tree. `path` has no slash in front; `link` is what a symlink holds, or for a hard link
    (`hard`) the first name of the file; `data` is the content of a file that is in no tree.
    """

    __slots__ = ("data", "folder", "hard", "info", "link", "name", "path")

    def __init__(
        self, path: bytes, info: Info, folder: int = -1, name: bytes = b"", data: bytes | None = None
    ) -> None:
        self.path, self.info, self.folder, self.name, self.data = path, info, folder, name, data
        self.link = b""
        self.hard = False

    def open(self) -> int:
        """An fd of a regular file. Raises OSError."""
        return os.open(self.name, _OPEN_FILE, dir_fd=self.folder)

    def xattrs(self) -> dict[bytes, bytes]:
        """Its attributes that are not the system's own, of files and folders."""
        found: dict[bytes, bytes] = {}
        if self.data is None and self.folder >= 0:
            try:
                os.fchdir(self.folder)
                for name in os.listxattr(self.name, follow_symlinks=False):
                    if name.startswith(("user.", "security.capability")):
                        found[os.fsencode(name)] = os.getxattr(self.name, name, follow_symlinks=False)
            except OSError:
                pass  # a file system without
        return found


def mount(trees: list[list[str]], scratch: str) -> list[int]:
    """Fds of the trees, each given as its layers' folders, top first. Raises OSError.

    `scratch` is a folder of the host to mount on, unseen by others.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", scratch, "tmpfs", syscalls.MS_NODEV | syscalls.MS_NOSUID, "mode=0700")
    found = []
    os.mkdir(f"{scratch}/none")
    for number, lower in enumerate(trees):
        place = f"{scratch}/{number}"
        os.mkdir(place)
        if lower:
            _mount_one(lower, place, f"{scratch}/none")
        found.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    return found


def _mount_one(lower: list[str], place: str, nothing: str) -> None:
    if len({os.path.dirname(path) for path in lower}) == 1:
        # mount(2) has 4 KiB for its options: name the folders by their last part
        os.chdir(os.path.dirname(lower[0]))
        lower = [os.path.basename(path) for path in lower]
    try:
        # With a second, empty folder below, a single layer's whiteouts are obeyed, too
        names = [path.replace("\\", "\\\\").replace(":", "\\:") for path in [*lower, nothing]]
        syscalls.mount("overlay", place, "overlay", _SAFE, "lowerdir=" + ":".join(names))
    except OSError:
        if len(lower) > 1:
            raise
        syscalls.mount(lower[0], place, None, syscalls.MS_BIND)
        syscalls.mount(None, place, None, syscalls.MS_BIND | syscalls.MS_REMOUNT | _SAFE)


def walk(root: int, prefix: bytes, mtime: int | None, extra: dict[bytes, Entry]) -> Iterator[Entry]:
    """All below the folder `root` (an fd) as `prefix`/…, parents first, names in order; sockets are left out.

    `mtime` (ns) is everything's time then. `extra`: entries by their names, put in at the top (or instead).
    """
    links: dict[tuple[int, int], bytes] = {}
    stack: list[tuple[bytes, list[bytes]]] = [(b"", sorted({*_names(root), *extra}, reverse=True))]
    open_fds: dict[int, int] = {0: os.dup(root)}
    try:
        while stack:
            depth = len(stack) - 1
            path, names = stack[-1]
            if not names:
                stack.pop()
                fd = open_fds.pop(depth, -1)
                if fd >= 0:
                    os.close(fd)
                continue
            name = names.pop()
            if not depth and name in extra:
                yield extra[name]
                continue
            if depth not in open_fds:
                open_fds[depth] = syscalls.openat2(root, path or b".", OPEN_DIRECTORY, _BENEATH)
            inner = path + b"/" + name if path else name
            if len(inner) > _PATH_MAX:
                continue
            entry = _entry(open_fds[depth], name, prefix + inner, mtime, links)
            if entry is None:
                continue
            yield entry
            if stat.S_ISDIR(entry.info.st_mode):
                child = os.open(name, OPEN_DIRECTORY, dir_fd=open_fds[depth])
                stack.append((inner, sorted(_names(child), reverse=True)))
                open_fds[depth + 1] = child
                if depth + 1 - _OPEN_MAX in open_fds:
                    os.close(open_fds.pop(depth + 1 - _OPEN_MAX))
    finally:
        for fd in open_fds.values():
            os.close(fd)


def _entry(
    folder: int, name: bytes, path: bytes, mtime: int | None, links: dict[tuple[int, int], bytes]
) -> Entry | None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISSOCK(found.st_mode):
        return None
    entry = Entry(path, _info(found, mtime), folder, name)
    if stat.S_ISLNK(found.st_mode):
        entry.link = os.readlink(name, dir_fd=folder)
    elif found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        first = links.setdefault((found.st_dev, found.st_ino), path)
        if first != path:
            entry.link, entry.hard, entry.info.st_size = first, True, 0
    return entry


def _names(folder: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(folder)]


def extras(told: list[Json], prefix: bytes, mtime: int | None) -> dict[bytes, Entry]:
    """Files to put in, [{"name", "data" (text), "mode", "mtime"}], as `walk` takes them."""
    found = {}
    for one in told:
        data = one["data"].encode("utf-8", "surrogateescape")
        info = Info(stat.S_IFREG | one["mode"], len(data), one["mtime"] if mtime is None else mtime)
        name = os.fsencode(one["name"])
        found[name] = Entry(prefix + name, info, data=data)
    return found


def roots(arguments: Json) -> dict[bytes, int]:
    """Fds of "trees" by what their entries' paths begin with: [{"lower": folders top first, "prefix": name of
    a folder or "", "extra"}]. "scratch" as for `mount`. Raises OSError.
    """
    trees = arguments["trees"]
    found = mount([tree["lower"] for tree in trees], arguments["scratch"])
    return {_prefix(tree): root for tree, root in zip(trees, found, strict=True)}


def _prefix(tree: Json) -> bytes:
    return os.fsencode(tree["prefix"] + "/") if tree["prefix"] else b""


def entries(arguments: Json, roots: dict[bytes, int]) -> Iterator[Entry]:
    """All of the trees, one after another. "mtime" (ns or null) is everything's."""
    mtime = arguments["mtime"]
    for tree in arguments["trees"]:
        prefix = _prefix(tree)
        if prefix:
            yield Entry(prefix[:-1], Info(stat.S_IFDIR | _FOLDER_MODE, 0, mtime or 0))
        yield from walk(roots[prefix], prefix, mtime, extras(tree.get("extra") or [], prefix, mtime))


def tar(arguments: Json, fds: list[int]) -> Json:
    """Write the trees (see `entries`) as a tar to `fds[0]`; {"entries": n}, or {"error"}."""
    out = Output(fds[0])
    count = 0
    try:
        for entry in entries(arguments, roots(arguments)):
            count += 1
            _put(out, entry)
        out.end()
    except BrokenPipeError:
        return {"error": "the reader went away"}
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower()}
    return {"entries": count}


def _put(out: Output, entry: Entry) -> None:
    folder = stat.S_ISDIR(entry.info.st_mode)
    if entry.data is not None:
        mode, seconds = stat.S_IMODE(entry.info.st_mode), entry.info.st_mtime_ns // 1_000_000_000
        out.write(header(entry.path, len(entry.data), mode=mode, mtime=seconds) + entry.data)
        out.write(padding(len(entry.data)))
        return
    info: Any = entry.info
    path = entry.path + b"/" if folder else entry.path
    regular = stat.S_ISREG(entry.info.st_mode) and not entry.hard
    xattrs = entry.xattrs() if regular or folder else {}
    out.write(member(path, info, entry.link, hardlink=entry.hard, xattrs=xattrs))
    if regular:
        fd = entry.open()
        try:
            out.copy(fd, info.st_size)
        finally:
            os.close(fd)
        out.write(padding(info.st_size))


def digests(arguments: Json, fds: list[int]) -> Json:
    """{"files": [[path, sha256 in hex], …]} of the trees' regular files, hard links too; or {"error"}."""
    found: list[list[str]] = []
    known: dict[bytes, str] = {}
    try:
        for entry in entries(arguments, roots(arguments)):
            if not stat.S_ISREG(entry.info.st_mode):
                continue
            if not entry.hard:
                known[entry.path] = _digest(entry)
            found.append([os.fsdecode(entry.path), known[entry.link if entry.hard else entry.path]])
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower()}
    return {"files": found}


def _digest(entry: Entry) -> str:
    digest = hashlib.sha256()
    fd = entry.open()
    try:
        while data := os.read(fd, PIECE):
            digest.update(data)
    finally:
        os.close(fd)
    return digest.hexdigest()

"""Workers for what a container has changed: `docker diff`, and the layer of `docker commit`.

The writable folder is read while the container may run: by directory fds, no link is followed.
"""

from __future__ import annotations

import os
import resource
import stat
import sys

from runtime import syscalls
from runtime.storage.copyup import mount_lower
from runtime.storage.packer import Output, Packer
from runtime.storage.tree import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

MODIFIED, ADDED, DELETED = 0, 1, 2
_PATH_MAX = 4095
_SAFE = syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
Change = tuple[bytes, int]


def diff(arguments: Json, fds: list[int]) -> Json:
    """{"changes": [[path, kind], …]}, parents first, of the folder "upper" against "lower" (top first).

    "scratch" is a folder of the host to mount on, unseen by others. Kinds: 0 modified, 1 added, 2 deleted.
    """
    upper = os.open(arguments["upper"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lower = -1
    if arguments["lower"]:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        mount_lower(arguments["lower"], arguments["scratch"])
        lower = os.open(arguments["scratch"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two a level
    sys.setrecursionlimit(2 * _PATH_MAX)
    found = [[os.fsdecode(path), kind] for path, kind in compare(upper, lower, b"")]
    return {"changes": found}


def compare(upper: int, lower: int, path: bytes) -> list[Change]:
    """The changes below the folder `path`, fds of which are `upper` and `lower` (-1: it is new)."""
    changes: list[Change] = []
    names = _names(upper)
    for name in names:
        inner = path + b"/" + name
        if len(inner) <= _PATH_MAX:
            _entry(upper, lower, name, inner, changes)
    if lower >= 0 and _is_opaque(upper):
        present = set(names)
        changes += [(path + b"/" + name, DELETED) for name in _names(lower) if name not in present]
    return changes


def _entry(upper: int, lower: int, name: bytes, path: bytes, changes: list[Change]) -> None:
    try:
        new = os.stat(name, dir_fd=upper, follow_symlinks=False)
    except OSError:
        return
    old = None
    if lower >= 0:
        try:
            old = os.stat(name, dir_fd=lower, follow_symlinks=False)
        except OSError:
            pass
    if stat.S_ISCHR(new.st_mode) and new.st_rdev == 0:
        if old:
            changes.append((path, DELETED))
        return
    inner = _below(upper, lower, name, path, old) if stat.S_ISDIR(new.st_mode) else []
    if old is None:
        changes.append((path, ADDED))
    elif inner or differ(old, new) or _capability(upper, name) != _capability(lower, name):
        changes.append((path, MODIFIED))
    changes += inner


def _below(upper: int, lower: int, name: bytes, path: bytes, old: os.stat_result | None) -> list[Change]:
    below = -1
    try:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=upper)
        try:
            if old and stat.S_ISDIR(old.st_mode):
                below = os.open(name, OPEN_DIRECTORY, dir_fd=lower)
            return compare(fd, below, path)
        finally:
            os.close(fd)
            if below >= 0:
                os.close(below)
    except OSError:
        return []


def differ(old: Any, new: os.stat_result) -> bool:
    """As dockerd compares two entries: a folder's size and time say nothing. `old` may be a stat_result."""
    if (old.st_mode, old.st_uid, old.st_gid, old.st_rdev) != (
        new.st_mode,
        new.st_uid,
        new.st_gid,
        new.st_rdev,
    ):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    return old.st_size != new.st_size or not _same_time(old.st_mtime_ns, new.st_mtime_ns)


def _same_time(one: int, other: int) -> bool:
    """Times are the same too when one of them has no fraction: archives cut it."""
    billion = 1_000_000_000
    return one == other or (one // billion == other // billion and not (one % billion and other % billion))


def _capability(folder: int, name: bytes) -> bytes:
    try:
        os.fchdir(folder)
        return os.getxattr(name, "security.capability", follow_symlinks=False)
    except OSError:
        return b""


def _is_opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _names(fd: int) -> list[bytes]:
    try:
        return sorted(os.fsencode(name) for name in os.listdir(fd))
    except OSError:
        return []


def shut_in(path: str) -> int:
    """Make the folder this worker's root, on a mount of its own; its descriptor. Raises OSError."""
    tree = syscalls.open_tree(syscalls.AT_FDCWD, path)
    syscalls.mount_setattr(tree, set=_SAFE)  # a device that takes a file's place cannot be opened
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    os.fchdir(tree)
    os.chroot(".")
    return folder


def layer(arguments: Json, fds: list[int]) -> Json:
    """Write the folder "upper" of an overlay as a layer's tar to `fds[0]`; {"entries": n}."""
    folder = shut_in(arguments["upper"])
    packer = Packer(Output(fds[0]), whiteouts=True)
    try:
        packer.below(folder, b"")
        packer.out.end()
    except BrokenPipeError:
        return {"error": "the reader went away"}
    return {"entries": packer.count}

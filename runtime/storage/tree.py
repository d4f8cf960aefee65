"""Placing files under one folder without ever stepping out of it.

Each parent is walked component by component on directory fds; a symlink on the way is followed by the kernel
with the folder as root (openat2, RESOLVE_IN_ROOT), as it would be in a container. The worker is chrooted as
well. The fds of recently used parents are kept: archives list folders one after another.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator

from runtime import syscalls

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CACHED = 128
_NEW_PARENT = 0o755


class Breakout(Exception):
    """A name that can stand for nothing in the target folder."""


def clean(name: bytes) -> bytes:
    """`name` as a relative path without "..", ".", empty parts or a leading slash; b"" is the root.

    ".." at the root stays at the root, as for a program inside, and as dockerd unpacks such archives.
    """
    if b"//" not in name and b"." not in name:
        return name.strip(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part and part != b".":
            parts.append(part)
    return b"/".join(parts)


class Tree:
    """The folder being filled; paths are relative, cleaned bytes.

    With `lost` (a folder's fd) what is removed is moved there under a number instead, and `moved` is called
    with its path and that number.
    """

    def __init__(self, root: int, lost: int = -1, moved: Callable[[bytes, int], None] | None = None) -> None:
        self.root = root
        self._lost = lost
        self._moved = moved
        self._moves = 0
        self._through: set[bytes] = set()
        self._open: dict[bytes, int] = {b"": root}

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """(fd of the parent, last component); missing parents are made with mode 0755, as dockerd does."""
        at = path.rfind(b"/")
        if at < 0:
            return self.root, path
        return self.directory(path[:at]), path[at + 1 :]

    def directory(self, path: bytes) -> int:
        """An fd of the folder `path`, made where missing; it stays the tree's. Raises OSError."""
        fd = self._open.get(path)
        if fd is not None:
            return fd
        parent, name = self.parent(path)
        try:
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            os.mkdir(name, _NEW_PARENT, dir_fd=parent)
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except OSError:
            # A symlink to a folder, perhaps: the kernel follows it as a program in the container would.
            # It is not remembered, for a later entry may replace the link.
            return self._through_link(path)
        if len(self._open) >= CACHED:
            self._shrink(path)
        self._open[path] = fd
        return fd

    def _through_link(self, path: bytes) -> int:
        self._through.add(path)
        fd = syscalls.openat2(self.root, path, os.O_RDONLY | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)
        key = b"\0link"  # no path can be called so
        old = self._open.pop(key, None)
        if old is not None:
            os.close(old)
        self._open[key] = fd
        return fd

    def _shrink(self, keep: bytes) -> None:
        for path in list(self._open):
            if path and not keep.startswith(path + b"/"):
                os.close(self._open.pop(path))
                if len(self._open) < CACHED // 2:
                    return

    def linked(self, path: bytes) -> bool:
        """Whether a symlink was followed on the way to `path`."""
        return bool(self._through) and any(path.startswith(link + b"/") for link in self._through)

    def close(self) -> None:
        """Close everything, the root too."""
        self.forget()
        os.close(self.root)

    def forget(self) -> None:
        """Close all remembered folders: something on their paths is being replaced."""
        for path in [path for path in self._open if path]:
            os.close(self._open.pop(path))

    def lstat(self, path: bytes) -> os.stat_result:
        """Of the entry itself, never of what a link points to. Raises OSError."""
        parent, name = self.parent(path)
        return os.stat(name, dir_fd=parent, follow_symlinks=False)

    def remove(self, path: bytes) -> None:
        """Remove whatever is at `path`, folders with all their content; nothing there is fine."""
        parent, name = self.parent(path)
        try:
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if self._moved and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            os.rename(name, b"%d" % self._moves, src_dir_fd=parent, dst_dir_fd=self._lost)
            self._moved(path, self._moves)
            self._moves += 1
            self.forget()
        elif stat.S_ISDIR(mode):
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
            try:
                empty(fd)
            finally:
                os.close(fd)
            self.forget()
            parent, name = self.parent(path)
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
            if stat.S_ISLNK(mode):
                self.forget()


DEEP = 64


def empty(directory: int) -> None:
    """Remove all that is in the folder (an fd), following no symlink and crossing no mount.

    Folders deeper than DEEP levels are first moved up to `directory`: a program in a container can nest
    them deeper than any limit on open files. Raises OSError for what cannot be removed.
    """
    device = os.fstat(directory).st_dev
    stack: list[tuple[int, list[tuple[bytes, bool]]]] = [(os.dup(directory), _list(directory))]
    names: list[bytes] = []
    moved = 0
    try:
        while stack:
            fd, todo = stack[-1]
            if not todo:
                os.close(fd)
                stack.pop()
                if stack:
                    os.rmdir(names.pop(), dir_fd=stack[-1][0])
                continue
            name, is_directory = todo.pop()
            if not is_directory:
                os.unlink(name, dir_fd=fd)
                continue
            if len(stack) > DEEP:
                moved += 1
                short = b".deep-%d-%d" % (os.getpid(), moved)
                os.rename(name, short, src_dir_fd=fd, dst_dir_fd=directory)
                stack[0][1].append((short, True))
                continue
            child = os.open(name, OPEN_DIRECTORY, dir_fd=fd)
            names.append(name)
            stack.append((child, []))
            if os.fstat(child).st_dev != device:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
            stack[-1] = (child, _list(child))
    finally:
        for fd, _ in stack:
            os.close(fd)


def remove(folder: int, name: bytes, info: os.stat_result) -> None:
    """Remove what is called `name` in the folder (an fd), with all below. `info`: its `lstat`."""
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    fd = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
    try:
        empty(fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)


def filled(file: int, size: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of the parts of a file that are no holes."""
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            break  # a hole up to the end
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield start, at


def _list(fd: int) -> list[tuple[bytes, bool]]:
    with os.scandir(fd) as found:
        return [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in found]

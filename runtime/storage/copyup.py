"""The worker that fills a new volume from the image, `runtime.storage.copyup:run`.

It sees the container's root as a read-only overlay in a mount namespace of its own, finds the path inside
that root with the kernel's help (openat2, RESOLVE_IN_ROOT: links cannot lead out) and copies with dirfds.
"""

from __future__ import annotations

import os
import stat

from runtime import syscalls
from runtime.storage.tree import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE = 1 << 20


def mount_lower(lower: list[str], target: str) -> None:
    """Mount the folders (top first) read-only on `target`. Changes the working folder. Raises OSError."""
    parents = {os.path.dirname(path) for path in lower}
    if len(parents) == 1:
        # mount(2) has 4 KiB for its options: name the folders by their last part
        os.chdir(parents.pop())
        lower = [os.path.basename(path) for path in lower]
    if len(lower) == 1:
        syscalls.mount(lower[0], target, None, syscalls.MS_BIND)
        return
    options = "lowerdir=" + ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in lower)
    syscalls.mount("overlay", target, "overlay", syscalls.MS_RDONLY, options)


def run(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Copy the image's content at a path into a volume's folder, if that is empty.

    Arguments: "overlay": as in `Storage.root_plan`, only "lower" or "flat" of it; "path": the absolute
    path in the container; "mount": an empty folder of the host to mount on (unseen by others);
    "target_fd": index into `fds` of the volume's folder, -1 to only look what the image has.
    Answer: {"copied": false} when the volume has content or the image no folder there, with "file": true
    when it has something else; {"copied": true, "entries": n}; or {"error": text}. The volume's folder takes
    owner and mode of the image's. Of a look: {"copied": false, "folder": whether there is one}.
    """
    index = arguments.get("target_fd", 0)
    target = fds[index] if index >= 0 else -1
    try:
        if target >= 0:
            with os.scandir(target) as found:
                if next(found, None) is not None:
                    return {"copied": False}
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        flat = arguments["overlay"].get("flat")
        mount_lower([flat] if flat else arguments["overlay"]["lower"], arguments["mount"])
        root = os.open(arguments["mount"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        path = arguments["path"].lstrip("/") or "."
        try:
            # Only a folder is ever opened: an image's FIFO would wait for ever, its device node do something
            flags = os.O_RDONLY | os.O_DIRECTORY
            resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
            source = syscalls.openat2(root, path, flags, resolve)
        except FileNotFoundError:
            return {"copied": False, "folder": False}
        except NotADirectoryError:
            return {"copied": False, "folder": False, "file": True}
        if target < 0:
            return {"copied": False, "folder": True}
        os.umask(0)
        copier = Copier()
        copier.folder(source, target)
        return {"copied": True, "entries": copier.count}
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}


class Copier:
    """Copies a tree with owners, modes, times, extended attributes and hard links; sockets are left out."""

    def __init__(self) -> None:
        self.count = 0
        self._links: dict[tuple[int, int], bytes] = {}
        self._path = b""  # of the folder being filled, below the volume's, with a slash at its end
        self._root = -1

    def folder(self, source: int, target: int) -> None:
        """Copy all in the folder `source` into the folder `target` (fds), and its attributes."""
        if self._root < 0:
            self._root = target
        with os.scandir(source) as found:
            names = [os.fsencode(item.name) for item in found]
        for name in names:
            self.count += 1
            self._entry(source, target, name)
        info = os.fstat(source)
        os.fchown(target, info.st_uid, info.st_gid)
        os.fchmod(target, stat.S_IMODE(info.st_mode))
        _xattrs(source, target)
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _entry(self, source: int, target: int, name: bytes) -> None:
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=source)
            copy = os.open(name, OPEN_DIRECTORY, dir_fd=target)
            above = self._path
            self._path += name + b"/"
            try:
                self.folder(inner, copy)
            finally:
                self._path = above
                os.close(inner)
                os.close(copy)
            return
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and key in self._links:
            self._link(self._links[key], target, name)
            return
        if kind == stat.S_IFREG:
            self._file(source, target, name, info)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            self._attributes(target, name, info)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO):
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
            self._attributes(target, name, info)  # chmod would follow a link that took its place
        else:
            return
        if info.st_nlink > 1:
            self._links[key] = self._path + name

    def _link(self, old: bytes, target: int, name: bytes) -> None:
        above, _, last = old.rpartition(b"/")
        flags = os.O_PATH | os.O_DIRECTORY
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        parent = syscalls.openat2(self._root, above or b".", flags, resolve)
        try:
            os.link(last, name, src_dir_fd=parent, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(parent)

    def _attributes(self, target: int, name: bytes, info: os.stat_result) -> None:
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _file(self, source: int, target: int, name: bytes, info: os.stat_result) -> None:
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        new = os.open(name, flags, 0o600, dir_fd=target)
        try:
            self._data(old, new, info)
            os.fchown(new, info.st_uid, info.st_gid)
            os.fchmod(new, stat.S_IMODE(info.st_mode))
            _xattrs(old, new)
            os.utime(new, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(old)
            os.close(new)

    def _data(self, old: int, new: int, info: os.stat_result) -> None:
        while os.sendfile(new, old, None, _PIECE):
            pass


def _xattrs(source: int, target: int) -> None:
    for name in os.listxattr(source):
        if name.startswith(("trusted.overlay.", "system.")):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            continue

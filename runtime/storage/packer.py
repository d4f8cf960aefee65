"""A tree of files written as a tar, while somebody may be changing it.

Everything is looked up once, on directory fds, and no link is followed. What vanishes meanwhile is left out;
a file that shrinks is filled up with zeros and one that grows is cut, so that the archive stays one. Sockets
are left out, as in Docker's archives. Memory does not depend on the files' sizes.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator

from runtime import syscalls
from runtime.storage.tarwriter import END, marker, member, padding
from runtime.storage.tree import OPEN_DIRECTORY

PIECE = 1 << 20
_TOGETHER = 1 << 16
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_OPEN_MAX = 128  # folders open at a time, however deep a program in the container has nested them
_PATH_MAX = 4095
_CAPABILITY = "security.capability"
_CAP_REVISION_2, _CAP_REVISION_3, _CAP_SIZE_2 = 2, 3, 20  # linux/capability.h
_PORTABLE = ("user.", "security.capability")
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"


class Output:
    """Where the tar goes: an fd, compressed on the way when `encoding` is "gzip" or "deflate".

    `together`: how many bytes are held back until they are written.
    """

    def __init__(self, fd: int, encoding: str = "", *, together: int = _TOGETHER) -> None:
        self._fd, self._together = fd, together
        bits = {"gzip": 31, "deflate": -15}.get(encoding)
        self._held: list[bytes] = []
        self._size = 0
        self._compressor = zlib.compressobj(1, zlib.DEFLATED, bits) if bits else None

    def _send(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        if self._size >= self._together:
            self.flush()

    def flush(self) -> None:
        """Write what is held back: heads and small files go together."""
        view = memoryview(b"".join(self._held))
        self._held.clear()
        self._size = 0
        while view:
            view = view[os.write(self._fd, view) :]

    def write(self, data: bytes) -> None:
        """Raises BrokenPipeError when nobody reads any more."""
        self._send(self._compressor.compress(data) if self._compressor else data)

    def copy(self, file: int, size: int) -> None:
        """`size` bytes from the beginning of `file`; zeros for what it does not have."""
        left = size
        if self._compressor is None and size >= _TOGETHER:
            self.flush()
            try:
                while left and (sent := os.sendfile(self._fd, file, None, min(left, PIECE))):
                    left -= sent
            except BrokenPipeError:
                raise
            except OSError:
                pass  # a file system that cannot: read on where it stopped
        while left:
            try:
                data = os.read(file, min(left, PIECE))
            except OSError:
                data = b""
            if not data:
                break
            self.write(data)
            left -= len(data)
        while left:
            self.write(bytes(min(left, PIECE)))
            left -= min(left, PIECE)

    def end(self) -> None:
        """The two zero blocks, and what the compressor still holds."""
        self.write(END)
        if self._compressor:
            self._send(self._compressor.flush())
        self.flush()


class Packer:
    """Writes members to `out`.

    `whiteouts`: the tree is an overlay's upper folder; its device 0/0 becomes `.wh.<name>`, an opaque folder
    gets `.wh..wh..opq`. `layer`, or whiteouts: the extended attributes of users are kept (a layer is a whole
    copy).
    """

    def __init__(self, out: Output, *, whiteouts: bool = False, layer: bool = False) -> None:
        self.out = out
        self.count = 0
        self._whiteouts = whiteouts
        self._layer = layer or whiteouts
        self._links: dict[tuple[int, int], bytes] = {}

    def put(self, parent: int, name: bytes, shown: bytes) -> None:
        """The entry `name` of the folder `parent` (an fd), and all below, as `shown`; missing is nothing."""
        fd = self._one(parent, name, shown)
        if fd is not None:
            self.below(fd, shown + b"/" if not shown.endswith(b"/") else shown)

    def single(self, parent: int, name: bytes, shown: bytes) -> None:
        """The entry `name` of the folder `parent` alone, without what is in it; missing is nothing."""
        fd = self._one(parent, name, shown)
        if fd is not None:
            os.close(fd)

    def top(self, folder: int, shown: bytes) -> None:
        """The folder itself, an fd that stays the caller's, as `shown`, and all below."""
        self._folder(folder, os.fstat(folder), shown)
        self.below(os.dup(folder), shown if shown.endswith(b"/") else shown + b"/")

    def below(self, folder: int, prefix: bytes) -> None:
        """All that is in the folder (an fd, closed here), names beginning with `prefix`; depth first."""
        root = os.dup(folder)
        stack: list[tuple[bytes, Iterator[bytes]]] = [(b"", iter(_names(folder)))]
        open_fds: dict[int, int] = {0: folder}
        try:
            while stack:
                depth = len(stack) - 1
                path, names = stack[-1]
                name = next(names, None)
                if name is None:
                    stack.pop()
                    fd = open_fds.pop(depth, -1)
                    if fd >= 0:
                        os.close(fd)
                    continue
                if depth not in open_fds:
                    try:
                        open_fds[depth] = syscalls.openat2(root, path, OPEN_DIRECTORY, _RESOLVE)
                    except OSError:
                        stack[-1] = (path, iter(()))
                        continue
                inner = path + b"/" + name if path else name
                if len(inner) > _PATH_MAX:
                    continue
                child = self._one(open_fds[depth], name, prefix + inner)
                if child is None:
                    continue
                stack.append((inner, iter(_names(child))))
                open_fds[depth + 1] = child
                if depth + 1 - _OPEN_MAX in open_fds:
                    os.close(open_fds.pop(depth + 1 - _OPEN_MAX))
        finally:
            os.close(root)
            for fd in open_fds.values():
                os.close(fd)

    def _one(self, parent: int, name: bytes, shown: bytes) -> int | None:
        """One entry; of a folder an open fd is given back, that its content can follow."""
        try:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFDIR:
                fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
                self._folder(fd, os.fstat(fd), shown)
                return fd
            if kind == stat.S_IFREG:
                self._file(parent, name, shown)
                return None
            link = b""
            if kind == stat.S_IFLNK:
                link = os.readlink(name, dir_fd=parent)
        except BrokenPipeError:
            raise
        except OSError:
            return None
        if kind == stat.S_IFSOCK:
            return None
        if kind == stat.S_IFCHR and info.st_rdev == 0 and self._whiteouts:
            above, slash, last = shown.rpartition(b"/")
            self.write(marker(above + slash + _WHITEOUT + last, 0o600))
            return None
        self.write(self._linked(info, shown) or member(shown, info, link))
        return None

    def write(self, data: bytes) -> None:
        """One member's header."""
        self.count += 1
        self.out.write(data)

    def _linked(self, info: os.stat_result, shown: bytes) -> bytes | None:
        """The header of another name of a file that is in the archive already."""
        if info.st_nlink < 2:
            return None
        first = self._links.setdefault((info.st_dev, info.st_ino), shown)
        return member(shown, info, first, hardlink=True) if first != shown else None

    def _folder(self, fd: int, info: os.stat_result, shown: bytes) -> None:
        if not shown.endswith(b"/"):
            shown += b"/"
        self.write(member(shown, info, xattrs=self._xattrs(fd)))
        if self._whiteouts:
            try:
                opaque = os.getxattr(fd, "trusted.overlay.opaque") == b"y"
            except OSError:
                opaque = False
            if opaque:
                self.write(marker(shown + _OPAQUE, 0o755))

    def _file(self, parent: int, name: bytes, shown: bytes) -> None:
        fd = os.open(name, _OPEN_FILE, dir_fd=parent)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                return  # it was exchanged meanwhile
            linked = self._linked(info, shown)
            if linked:
                self.write(linked)
                return
            self.write(member(shown, info, xattrs=self._xattrs(fd)))
            self.out.copy(fd, info.st_size)
            self.out.write(padding(info.st_size))
        finally:
            os.close(fd)

    def _xattrs(self, fd: int) -> dict[bytes, bytes] | None:
        found: dict[bytes, bytes] = {}
        names: Callable[[int], list[str]] = os.listxattr if self._layer else _only_capability
        try:
            for name in names(fd):
                if name.startswith(_PORTABLE):
                    value = os.getxattr(fd, name)
                    found[name.encode("utf-8", "surrogateescape")] = (
                        _capability(value) if name == _CAPABILITY else value
                    )
        except OSError:
            pass  # none, or a file system without
        return found or None


def _only_capability(fd: int) -> list[str]:
    return [_CAPABILITY]


def _capability(value: bytes) -> bytes:
    """The root user of a revision 3 capability means nothing on another machine: revision 2 has none."""
    if len(value) > _CAP_SIZE_2 and value[3] == _CAP_REVISION_3:
        return value[:3] + bytes((_CAP_REVISION_2,)) + value[4:_CAP_SIZE_2]
    return value


def _names(fd: int) -> list[bytes]:
    try:
        return sorted(os.fsencode(name) for name in os.listdir(fd))
    except OSError:
        return []

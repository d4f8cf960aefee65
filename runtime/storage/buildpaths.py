"""Paths of COPY and ADD in a tree that an image or a context made, resolved inside that tree by the kernel.

Sources: containerd/continuity fs.RootPath, tonistiigi/fsutil copy (rules and texts of errors).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from runtime import syscalls
from runtime.storage.archive import follow
from runtime.storage.tree import OPEN_DIRECTORY

_LOCATE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_PLAIN = _LOCATE | syscalls.RESOLVE_NO_SYMLINKS


class CopyError(Exception):
    """What cannot be copied; the text is for the client, `@` in front of a path of the target's stands for
    its root.

    `errno` as in OSError, where the kernel said why.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.errno = code


def shown(path: bytes) -> str:
    """A path in a text."""
    return path.decode("utf-8", "replace")


def reason(error: OSError) -> str:
    """The kernel's reason, as Go words it."""
    return os.strerror(error.errno or 0).lower()


def split(path: bytes) -> tuple[bytes, bytes]:
    """(folder, name) of a canonical path; of `/` it is (`/`, b"")."""
    above, _, name = path.rpartition(b"/")
    return above or b"/", name


def join(folder: bytes, name: bytes) -> bytes:
    """A name in a folder."""
    return folder.rstrip(b"/") + b"/" + name


class Root:
    """A tree by the fd of its root. Paths are absolute, `canonical` ones hold no link, `.` or `..`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def canonical(self, path: bytes, *, last: bool = True) -> bytes:
        """Where a path leads inside the tree, as far as there is something; `last`: so does its last part.

        Raises CopyError for links in a circle, OSError.
        """
        try:
            if last:
                return follow(self.fd, path)
            parts = [part for part in path.split(b"/") if part not in (b"", b".")]
            if not parts:
                return b"/"
            return join(follow(self.fd, b"/".join(parts[:-1])), parts[-1])
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CopyError("too many links") from None
            raise

    def folder(self, path: bytes) -> int:
        """An fd of the folder at a canonical path. Raises OSError."""
        return syscalls.openat2(self.fd, path, os.O_RDONLY | os.O_DIRECTORY, _PLAIN)

    def lstat(self, path: bytes) -> os.stat_result:
        """Of what is at a canonical path itself. Raises OSError."""
        fd = syscalls.openat2(self.fd, path, syscalls.O_PATH | os.O_NOFOLLOW, _LOCATE)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def there(self, path: bytes) -> os.stat_result | None:
        """`lstat`, or None where nothing is. Raises OSError for all other reasons."""
        try:
            return self.lstat(path)
        except FileNotFoundError:
            return None

    def make_folders(self, path: bytes, mode: int, owner: tuple[int, int] | None) -> None:
        """A folder at a canonical path with all that are missing above it. Raises CopyError, OSError."""
        done = b""
        fd = os.dup(self.fd)
        try:
            for part in path.split(b"/"):
                if not part:
                    continue
                done += b"/" + part
                try:
                    following = os.open(part, OPEN_DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(part, 0o700, dir_fd=fd)
                    following = os.open(part, OPEN_DIRECTORY, dir_fd=fd)
                    os.fchmod(following, mode)
                    if owner:
                        os.fchown(following, *owner)
                except NotADirectoryError:
                    raise CopyError(f"mkdir {shown(done)}: not a directory", errno.ENOTDIR) from None
                os.close(fd)
                fd = following
        finally:
            os.close(fd)


def names(folder: int) -> list[bytes]:
    """The names in a folder, in order."""
    return sorted(os.fsencode(name) for name in os.listdir(folder))


class Wildcards:
    """A source with wildcards. Made before the worker enters anything: it needs modules."""

    def __init__(self, pattern: str) -> None:
        """Raises PatternError."""
        from runtime.storage.patterns import Glob, has_wildcards

        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        plain = next((at for at, part in enumerate(parts) if has_wildcards(part)), len(parts))
        self.start = os.fsencode("/" + "/".join(parts[:plain]))
        self.glob = Glob("/".join(parts[plain:]))

    def matches(self, root: Root, *, into: bool = False) -> Iterator[bytes]:
        """The canonical paths that match, in the order of a walk. Raises OSError where it cannot begin.

        A folder that matches is not looked into, unless `into`. Links before the first wildcard are followed.
        """
        start = root.canonical(self.start)
        try:
            fd = root.folder(start)
        except NotADirectoryError:
            return
        try:
            yield from self._walk(fd, start, "", 1, into)
        finally:
            os.close(fd)

    def _walk(self, folder: int, start: bytes, above: str, depth: int, into: bool) -> Iterator[bytes]:
        for name in names(folder):
            path = above + os.fsdecode(name)
            if self.glob.matches(path):
                yield join(start, os.fsencode(path))
                if not into:
                    continue
            if depth >= self.glob.depth:
                continue
            try:
                fd = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
            except OSError:
                continue  # no folder
            try:
                yield from self._walk(fd, start, path + "/", depth + 1, into)
            finally:
                os.close(fd)


def is_folder(info: os.stat_result | None) -> bool:
    """Whether there is a folder."""
    return info is not None and stat.S_ISDIR(info.st_mode)

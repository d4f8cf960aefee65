"""The worker of COPY and ADD: `runtime.storage.buildcopy:run`, by BuildKit's rules.

The classic builder's are in `buildclassic`.

Source of rules and texts: tonistiigi/fsutil copy, moby/buildkit solver/llbsolver/file.
"""

from __future__ import annotations

import os
import resource
import stat
import sys

from runtime.storage import buildview
from runtime.storage.buildaction import Action, changed
from runtime.storage.buildpaths import CopyError, Root, is_folder, join, names, reason, shown, split
from runtime.storage.tree import OPEN_DIRECTORY, filled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.storage.buildunpack import Archives
    from runtime.storage.patterns import State

    Json = dict[str, Any]

_PATH_MAX = 4095
_PIECE = 1 << 30
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER_MODE = 0o755
_OWN = ("trusted.overlay.", "user.overlay.")
Owner = tuple[int, int] | None


def run(arguments: Json, fds: list[int]) -> Json:
    """Do all "actions" (see `Action`), in order, in the view that `buildview.enter` makes of the arguments.

    "owner": null, or [uid, gid] for all that is made; "classic": by the classic builder's rules.
    Answer: {"entries": n}, or {"error": text}: `@` in it stands for the target's root.
    """
    kind = Copying
    if arguments.get("classic"):
        from runtime.storage.buildclassic import ClassicCopying

        kind = ClassicCopying
    archives = None
    if any(told.get("unpack") for told in arguments["actions"]):
        from runtime.storage.buildunpack import Archives

        archives = Archives()
    unlimited()
    try:
        actions = [Action(told) for told in arguments["actions"]]
        view = buildview.enter(arguments)
        owner = arguments.get("owner")
        copying = kind(view, tuple(owner) if owner else None, archives)
        for action in actions:
            copying.do(action)
    except ValueError as error:  # a pattern that means nothing
        return {"error": str(error)}
    except CopyError as error:
        return {"error": str(error), "errno": error.errno}
    except OSError as error:
        return {"error": f"copying failed: {reason(error)}", "errno": error.errno}
    return {"entries": copying.count}


def unlimited() -> None:
    """As many open files, and as deep a tree, as there may be: two fds a level."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.setrecursionlimit(8 * _PATH_MAX)


class Copying:
    """Carries out actions in a view; `count` is how many entries were made."""

    def __init__(self, view: buildview.View, owner: Owner, archives: Archives | None) -> None:
        self._sources = [Root(fd) for fd in view.sources]
        self._target = Root(view.target)
        self._owner = owner
        self._archives = archives
        self.count = 0

    def do(self, action: Action) -> None:
        """One action. Raises CopyError, OSError."""
        source = self._sources[action.source]
        if action.wildcards is None:
            self._one(source, action.path, action)
            return
        try:
            found = list(action.wildcards.matches(source))
        except OSError as error:
            raise CopyError(f"lstat {shown(action.wildcards.start)}: {reason(error)}") from None
        for path in found:
            self._one(source, path, action)

    def _one(self, source: Root, path: bytes, action: Action) -> None:
        if self._archives and action.unpack:
            real = source.canonical(path)
            fd = self._archives.open(source, real)
            if fd >= 0:
                self._unpack(fd, action)
                return
        target = self._target
        above, _, name = action.target.rpartition(b"/")
        first = above or b"/" if name not in (b"", b".") else action.target
        target.make_folders(target.canonical(first), FOLDER_MODE, self._owner)
        place = target.canonical(action.target)
        real = source.canonical(path, last=action.follow)
        try:
            info = source.lstat(real)
        except OSError as error:
            raise CopyError(f"lstat {shown(real)}: {reason(error)}", error.errno or 0) from None
        there = target.there(place)
        folder = stat.S_ISDIR(info.st_mode)
        if (folder and not action.contents and there) or (not folder and is_folder(there)):
            base = path.rstrip(b"/").rpartition(b"/")[2]
            place = join(place, base) if base not in (b"", b".") else place
        elif folder and action.contents and not there:
            target.make_folders(place, FOLDER_MODE, self._owner)
        target.make_folders(split(place)[0], FOLDER_MODE, self._owner)
        copier = Copier(target, self._owner, action)
        copier.top(source, real, place)
        self.count += copier.count

    def _unpack(self, fd: int, action: Action) -> None:
        assert self._archives
        place = self._target.canonical(action.target)
        self._target.make_folders(place, FOLDER_MODE, self._owner)
        try:
            self.count += self._archives.unpack(fd, self._target.folder(place))
        finally:
            os.close(fd)


class _Branch:
    """A folder that is made only when something in it is wanted. `made` is its fd then, else -1."""

    __slots__ = ("above", "made", "name", "place", "source")

    def __init__(self, above: _Branch | None, source: int, name: bytes, place: bytes, made: int = -1) -> None:
        self.above, self.source, self.name, self.place, self.made = above, source, name, place, made

    def open(self, copier: Copier) -> int:
        """Its fd; it and all above it are there then."""
        if self.made < 0:
            assert self.above
            folder = self.above.open(copier)
            created = copier.make(folder, self.name, self.place)
            self.made = os.open(self.name, OPEN_DIRECTORY, dir_fd=folder)
            info = os.fstat(self.source)
            if created:
                copier.attributes(self.source, self.made, info)
            else:
                os.fchmod(self.made, stat.S_IMODE(info.st_mode))
        return self.made


class Copier:
    """Copies one source, with all below it."""

    def __init__(self, target: Root, owner: Owner, action: Action | None) -> None:
        self._target = target
        self._owner = owner
        self._mode = action.mode if action else None
        self._chosen = action if action and (action.include or action.exclude) else None
        self._links: dict[tuple[int, int], bytes] = {}
        self.count = 0

    def top(self, source: Root, path: bytes, place: bytes) -> None:
        """What is at the canonical `path` of `source`, to the canonical `place`.

        Raises CopyError, OSError.
        """
        if path == b"/":
            info, parent, name = os.fstat(source.fd), source.fd, b"."
        else:
            above, name = split(path)
            parent = source.folder(above)
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        folder = self._target.folder(split(place)[0])
        if stat.S_ISDIR(info.st_mode):
            self._top_folder(parent, name, info, folder, place)
        else:
            self._other(parent, name, info, folder, place)
        os.close(folder)
        if parent != source.fd:
            os.close(parent)

    def _top_folder(self, parent: int, name: bytes, info: os.stat_result, folder: int, place: bytes) -> None:
        inner = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        last = split(place)[1] or b"."
        created = self.make(folder, last, place)
        below = os.open(last, OPEN_DIRECTORY, dir_fd=folder)
        if self._chosen is None:
            self._all(inner, below, place)
        else:
            self._some(_Branch(None, inner, b"", place, below), "", None, None)
        if created:
            self.attributes(inner, below, info)
        os.utime(below, ns=self.times(info))
        os.close(inner)
        os.close(below)

    def make(self, folder: int, name: bytes, place: bytes) -> bool:
        """Make a folder; False when it is there already. Raises CopyError when something else is."""
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
            self.count += 1
            return True
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise CopyError(f"cannot copy to non-directory: @{shown(place)}") from None
            return False

    def _all(self, source: int, below: int, place: bytes) -> None:
        """All in the folder `source` into the folder `below`, which is at `place`."""
        for name in names(source):
            info = os.stat(name, dir_fd=source, follow_symlinks=False)
            inner_place = join(place, name)
            if not stat.S_ISDIR(info.st_mode):
                self._other(source, name, info, below, inner_place)
                continue
            _check(inner_place)
            self.make(below, name, inner_place)
            inner = os.open(name, OPEN_DIRECTORY, dir_fd=source)
            made = os.open(name, OPEN_DIRECTORY, dir_fd=below)
            self._all(inner, made, inner_place)
            self.attributes(inner, made, info)
            os.utime(made, ns=self.times(info))
            os.close(inner)
            os.close(made)

    def _some(self, branch: _Branch, path: str, include: State | None, exclude: State | None) -> None:
        """As `_all`, of what the patterns want."""
        assert self._chosen
        for name in names(branch.source):
            inner_path = f"{path}/{os.fsdecode(name)}" if path else os.fsdecode(name)
            wanted, may, included, excluded = self._chosen.wanted(inner_path, include, exclude)
            if not wanted and not may:
                continue
            info = os.stat(name, dir_fd=branch.source, follow_symlinks=False)
            place = join(branch.place, name)
            if not stat.S_ISDIR(info.st_mode):
                if wanted:
                    self._other(branch.source, name, info, branch.open(self), place)
                continue
            _check(place)
            inner = _Branch(branch, os.open(name, OPEN_DIRECTORY, dir_fd=branch.source), name, place)
            if wanted:
                inner.open(self)
            self._some(inner, inner_path, included, excluded)
            if wanted:
                self.attributes(inner.source, inner.made, info)
                os.utime(inner.made, ns=self.times(info))
            if inner.made >= 0:
                os.close(inner.made)
            os.close(inner.source)

    def attributes(self, source: int, made: int, info: os.stat_result) -> None:
        """Owner, mode and extended attributes of a file or folder (fds); the times are set later."""
        owner = self._owner or (info.st_uid, info.st_gid)
        os.fchown(made, *owner)
        os.fchmod(made, changed(stat.S_IMODE(info.st_mode), self._mode, folder=stat.S_ISDIR(info.st_mode)))
        _xattrs(source, made)  # behind the owner: a change of that takes capabilities away

    def times(self, info: os.stat_result) -> tuple[int, int]:
        """Access and modification time for the copy, in ns."""
        return info.st_atime_ns, info.st_mtime_ns

    def _other(self, source: int, name: bytes, info: os.stat_result, folder: int, place: bytes) -> None:
        """A file, link or device into the folder `folder`, under the last part of `place`."""
        _check(place)
        new = split(place)[1]
        kind = stat.S_IFMT(info.st_mode)
        self.count += 1
        if kind == stat.S_IFREG:
            self._file(source, name, info, folder, new, place)
            return
        self._clear(folder, new, place)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), new, dir_fd=folder)
        else:
            os.mknod(new, info.st_mode, info.st_rdev, dir_fd=folder)
        os.chown(new, *(self._owner or (info.st_uid, info.st_gid)), dir_fd=folder, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            # Just made by us in a tree that nobody else sees
            os.chmod(new, changed(stat.S_IMODE(info.st_mode), self._mode, folder=False), dir_fd=folder)
        os.utime(new, ns=self.times(info), dir_fd=folder, follow_symlinks=False)

    def _clear(self, folder: int, name: bytes, place: bytes) -> None:
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._clear_folder(folder, name, place)

    def _clear_folder(self, folder: int, name: bytes, place: bytes) -> None:
        raise CopyError(f"cannot replace to directory @{shown(place)} with file") from None

    def _file(
        self, source: int, name: bytes, info: os.stat_result, folder: int, new: bytes, place: bytes
    ) -> None:
        if info.st_nlink > 1:
            first = self._links.setdefault((info.st_dev, info.st_ino), place)
            if first != place:
                self._clear(folder, new, place)
                self._link(first, folder, new)
                return
        old = os.open(name, _OPEN_FILE, dir_fd=source)
        try:
            copy = os.open(new, _NEW_FILE, 0o600, dir_fd=folder)
        except FileExistsError:
            self._clear(folder, new, place)
            copy = os.open(new, _NEW_FILE, 0o600, dir_fd=folder)
        try:
            if info.st_size:
                copy_data(old, copy, info)
            self.attributes(old, copy, info)
            os.utime(copy, ns=self.times(info))
        finally:
            os.close(old)
            os.close(copy)

    def _link(self, first: bytes, folder: int, new: bytes) -> None:
        above, name = split(first)
        parent = self._target.folder(above)
        try:
            os.link(name, new, src_dir_fd=parent, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(parent)


def _check(place: bytes) -> None:
    if len(place) > _PATH_MAX:
        raise CopyError("file name too long", 36)


def copy_data(old: int, new: int, info: os.stat_result) -> None:
    """A file's data; holes stay holes. Raises CopyError."""
    size = info.st_size
    try:
        if info.st_blocks * 512 < size:
            _sparse(old, new, size)
        else:
            _range(old, new, 0, size)
    except OSError as error:
        text = f"failed to copy files: userspace copy failed: {reason(error)}"
        raise CopyError(text, error.errno or 0) from None


def _range(old: int, new: int, start: int, end: int) -> None:
    at = start
    try:
        while at < end and (done := os.copy_file_range(old, new, min(end - at, _PIECE), at, at)):
            at += done
    except OSError:
        pass  # between file systems that cannot: read on where it stopped
    if at < end:
        os.lseek(new, at, os.SEEK_SET)
        while at < end and (done := os.sendfile(new, old, at, min(end - at, _PIECE))):
            at += done


def _sparse(old: int, new: int, size: int) -> None:
    for start, end in filled(old, size):
        _range(old, new, start, end)
    os.ftruncate(new, size)


def _xattrs(source: int, target: int) -> None:
    for name in os.listxattr(source):
        if name.startswith(_OWN):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            continue  # as BuildKit: a kind of attributes that the file system lacks is no reason to fail

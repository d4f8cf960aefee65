"""COPY and ADD by the classic builder's rules, where they differ: it copies as if by a tar.

Source: moby daemon/builder/dockerfile/copy.go, pkg/archive (rules, texts).
"""

from __future__ import annotations

import os
import stat

from runtime.storage.buildaction import Action
from runtime.storage.buildcopy import FOLDER_MODE, Copier, Copying
from runtime.storage.buildpaths import CopyError, Root, is_folder, join, reason, shown, split
from runtime.storage.tree import OPEN_DIRECTORY, empty

_SECOND = 1_000_000_000
_CAPABILITY = "security.capability"


class ClassicCopying(Copying):
    """Without an owner each entry keeps its own (COPY --from without --chown)."""

    def do(self, action: Action) -> None:
        """One action. Raises CopyError, OSError."""
        source = self._sources[action.source]
        if action.wildcards is None:
            self._copy(source, b"/" + action.path, action)
            return
        for path in list(action.wildcards.matches(source, into=True)):
            self._copy(source, path, action)

    def _copy(self, source: Root, path: bytes, action: Action) -> None:
        real = source.canonical(path)
        place = self._place(action.target)
        info = source.lstat(real)
        if stat.S_ISDIR(info.st_mode):
            self._folder(source, real, place)
            return
        if self._archives and action.unpack:
            fd = self._archives.open(source, real)
            if fd >= 0:
                self._target.make_folders(place, FOLDER_MODE, None)
                try:
                    self.count += self._archives.unpack(fd, self._target.folder(place))
                finally:
                    os.close(fd)
                return
        if action.target.endswith(b"/") or is_folder(self._target.there(place)):
            place = join(place, os.path.basename(path.rstrip(b"/")))
        try:
            self._target.make_folders(split(place)[0], FOLDER_MODE, self._owner)
        except CopyError as error:
            raise CopyError(f"failed to create new directory: {error}", error.errno) from None
        copier = ClassicCopier(self._target, self._owner, action)
        copier.top(source, real, place)
        self.count += copier.count

    def _place(self, target: bytes) -> bytes:
        try:
            place = self._target.canonical(target)
            self._target.there(place)
        except CopyError:
            raise CopyError(f"evalSymlinksInScope: too many links in @{shown(target)}") from None
        except NotADirectoryError:
            raise CopyError(f"lstat @{shown(target)}: not a directory") from None
        return place

    def _folder(self, source: Root, path: bytes, place: bytes) -> None:
        there = self._target.there(place)
        if there and not is_folder(there):
            raise CopyError(f"failed to copy directory: mkdir @{shown(place)}: not a directory")
        self._target.make_folders(place, FOLDER_MODE, None)
        copier = ClassicCopier(self._target, self._owner, None)
        copier.content(source.folder(path), self._target.folder(place), place)
        if self._owner and not there:
            made = self._target.folder(place)
            os.fchown(made, *self._owner)
            os.close(made)
        self.count += copier.count


class ClassicCopier(Copier):
    """What is in the way is replaced, whatever it is; times are whole seconds; sockets are left out."""

    def content(self, source: int, below: int, place: bytes) -> None:
        """All that is in a folder into another (fds, closed here), without its own attributes."""
        self._all(source, below, place)
        os.close(source)
        os.close(below)

    def make(self, folder: int, name: bytes, place: bytes) -> bool:
        """Make a folder, instead of what else may be there."""
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return False
            os.unlink(name, dir_fd=folder)
            os.mkdir(name, 0o700, dir_fd=folder)
        self.count += 1
        return True

    def attributes(self, source: int, made: int, info: os.stat_result) -> None:
        """In the order of a tar's unpacking; then the owner, which takes set-ID bits away from files."""
        os.fchown(made, info.st_uid, info.st_gid)
        os.fchmod(made, stat.S_IMODE(info.st_mode))
        try:
            os.setxattr(made, _CAPABILITY, os.getxattr(source, _CAPABILITY))
        except OSError:
            pass
        if self._owner:
            os.fchown(made, *self._owner)

    def _other(self, source: int, name: bytes, info: os.stat_result, folder: int, place: bytes) -> None:
        if not stat.S_ISSOCK(info.st_mode):
            super()._other(source, name, info, folder, place)

    def times(self, info: os.stat_result) -> tuple[int, int]:
        """Access and modification time for the copy, in ns."""
        whole = info.st_mtime_ns // _SECOND * _SECOND
        return whole, whole

    def _clear_folder(self, folder: int, name: bytes, place: bytes) -> None:
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=folder)
        try:
            empty(fd)
        except OSError as error:
            raise CopyError(f"unlinkat @{shown(place)}: {reason(error)}", error.errno or 0) from None
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=folder)

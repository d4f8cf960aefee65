"""Operations that close what the container must not reach: masked and read-only paths, sysctls; and its
names."""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.init import paths
from runtime.init.errors import StepError, reason
from runtime.init.options import MountOptions, attributes
from runtime.init.road import Operation, Road

_ENOENT, _ENOTDIR, _ELOOP = 2, 20, 40


class HostName(Operation):
    __slots__ = ("domain", "name")

    def __init__(self, name: str, domain: str) -> None:
        self.name = name
        self.domain = domain

    def describe(self) -> str:
        return f"hostname {self.name}" + (f", domain {self.domain}" if self.domain else "")

    def run(self, road: Road) -> None:
        if self.name:
            s.sethostname(self.name.encode("utf-8", "surrogateescape"))
        if self.domain:
            s.setdomainname(self.domain.encode("utf-8", "surrogateescape"))


class Sysctl(Operation):
    """Write one sysctl, on a real procfs and through no symlink (CVE-2025-52881)."""

    __slots__ = ("key", "path", "value")

    def __init__(self, key: str, value: str) -> None:
        self.key = key
        self.value = value
        # sysctl(8): the first separator seen says which of "." and "/" separates.
        slash, dot = key.find("/"), key.find(".")
        parts = key if 0 <= slash < dot or dot < 0 else key.translate({46: "/", 47: "."})
        self.path = f"/proc/sys/{parts}"

    def describe(self) -> str:
        return f"sysctl {self.key}={self.value}"

    def run(self, road: Road) -> None:
        try:
            fd = road.open(self.path, os.O_WRONLY, follow=False)
        except OSError as error:
            raise StepError(f"open {self.path}: {reason(error)}") from None
        try:
            if s.filesystem_type(fd) != s.PROC_SUPER_MAGIC:
                raise StepError(f"open {self.path}: not on procfs")
            os.write(fd, self.value.encode())
        except OSError as error:
            raise StepError(f"write {self.path}: {reason(error)}") from None
        finally:
            os.close(fd)


def _open_existing(road: Road, path: str) -> int:
    """O_PATH fd or -1 when the path is not there. What is named under /proc must be on procfs."""
    try:
        fd = road.open(path)
    except OSError as error:
        if error.errno in (_ENOENT, _ENOTDIR):
            return -1
        raise
    if path.startswith("/proc/") and s.filesystem_type(fd) != s.PROC_SUPER_MAGIC:
        # A file that lxcfs put there; anything else cannot be mounted inside /proc.
        os.close(fd)
        return -1
    return fd


class ReadonlyPath(Operation):
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"read-only {self.path}"

    def run(self, road: Road) -> None:
        try:
            fd = _open_existing(road, self.path)
            if fd < 0:
                return
            tree = s.open_tree(fd, b"", s.OPEN_TREE_CLONE | s.AT_RECURSIVE)
            s.mount_setattr(tree, set=s.MOUNT_ATTR_RDONLY)
            s.move_mount(tree, fd)
            os.close(tree)
            os.close(fd)
        except OSError as error:
            raise StepError(f'can\'t make "{self.path}" read-only: {reason(error)}') from None


class MaskedPaths(Operation):
    """Files get /dev/null, folders one shared empty read-only tmpfs on top; what is not there is left out."""

    __slots__ = ("paths",)

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def describe(self) -> str:
        return f"mask {len(self.paths)} paths"

    def run(self, road: Road) -> None:
        empty = -1
        for path in self.paths:
            try:
                fd = _open_existing(road, path)
                if fd < 0:
                    continue
                if os.fstat(fd).st_mode & 0o170000 != 0o040000:
                    tree = s.open_tree(road.null_device(), b"")
                elif empty < 0:
                    # The mount itself goes to the first folder: before Linux 6.15 a mount can be copied
                    # only when it is attached.
                    tree = empty = self._empty()
                else:
                    tree = s.open_tree(empty, b"")
                s.move_mount(tree, fd)
                if tree != empty:
                    os.close(tree)
                os.close(fd)
            except OSError as error:
                raise StepError(f"can't mask path {path}: {reason(error)}") from None
        if empty >= 0:
            os.close(empty)

    @staticmethod
    def _empty() -> int:
        context = s.fsopen("tmpfs")
        s.fsconfig(context, s.FSCONFIG_SET_STRING, "source", "tmpfs")
        s.fsconfig(context, s.FSCONFIG_SET_FLAG, "ro")
        s.fsconfig(context, s.FSCONFIG_CMD_CREATE)
        mount = s.fsmount(context, s.MOUNT_ATTR_RDONLY)
        os.close(context)
        return mount


class LateReadonly(Operation):
    """A tmpfs that had to be writable while things were made in it."""

    __slots__ = ("destination", "options")

    def __init__(self, destination: str, options: MountOptions) -> None:
        self.destination = destination
        self.options = options

    def describe(self) -> str:
        return f"read-only {self.destination}"

    def run(self, road: Road) -> None:
        fd = road.open(self.destination)
        set_, clear = attributes(self.options.set, self.options.clear)
        s.mount_setattr(fd, set=set_, clear=clear)
        os.close(fd)


class WorkingDirectory(Operation):
    """The process's folder is made when the image lacks it, as runc does."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"working directory {self.path}"

    def run(self, road: Road) -> None:
        try:
            fd = paths.ensure(road.root, self.path, folder=True)
            folder = os.fstat(fd).st_mode & 0o170000 == 0o040000
            os.close(fd)
        except OSError as error:
            if error.errno == _ELOOP:  # a magic link such as /proc/self/fd/7: chdir and its check will tell
                return
            raise StepError(f"mkdir {self.path}: {reason(error)}") from None
        if not folder:
            raise StepError(f"mkdir {self.path}: not a directory")

"""Operations for /dev: nodes, links, the console."""

from __future__ import annotations

import fcntl
import os
import sys

from runtime import syscalls as s
from runtime.init import paths
from runtime.init.errors import StepError, reason
from runtime.init.road import Operation, Road

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.spec import Device

# OCI runtime spec, "Default Devices"; runc adds nothing to them.
DEFAULT_DEVICES: tuple[tuple[str, int, int], ...] = (
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
)
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
)
_TYPES = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
# asm-generic/ioctls.h and linux/magic.h
_TIOCSPTLCK, _TIOCGPTPEER, _TIOCSWINSZ, TIOCSCTTY = 0x40045431, 0x5441, 0x5414, 0x540E
_DEVPTS_SUPER_MAGIC = 0x1CD1
_EEXIST, _EPERM = 17, 1


class Nodes(Operation):
    """The default devices and the spec's own, made by mknod, or bound from the host in a user namespace."""

    __slots__ = ("binds", "devices")

    def __init__(self, devices: list[Device], *, binds: bool) -> None:
        listed = {os.path.normpath(device["path"]) for device in devices}
        self.devices: list[Device] = [
            {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}
            for path, major, minor in DEFAULT_DEVICES
            if path not in listed
        ]
        self.devices += [device for device in devices if os.path.normpath(device["path"]) != "/dev/ptmx"]
        self.binds = binds

    def describe(self) -> str:
        return f"{'bind' if self.binds else 'make'} {len(self.devices)} devices"

    def run(self, road: Road) -> None:
        umask = os.umask(0)
        dev = -1
        try:
            dev = paths.ensure(road.root, "/dev", folder=True, follow=False)
            for device in self.devices:
                folder, _, name = os.path.normpath(device["path"]).rpartition("/")
                if folder == "/dev":
                    self._make(device, name, dev)
                else:
                    parent = paths.ensure(road.root, folder or "/", folder=True)
                    self._make(device, name, parent)
                    os.close(parent)
        finally:
            os.umask(umask)
            if dev >= 0:
                os.close(dev)

    def _make(self, device: Device, name: str, folder: int) -> None:
        if self.binds:
            self._bind(device["path"], name, folder)
            return
        mode = (device.get("fileMode", 0o666) & 0o7777) | _TYPES[device.get("type", "c")]
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        try:
            os.mknod(name, mode, number, dir_fd=folder)
        except FileExistsError:
            self._check_existing(device, name, folder)
            return
        except OSError as error:
            if error.errno != _EPERM:
                raise
            self._bind(device["path"], name, folder)
            return
        owner = device.get("uid", 0) or 0, device.get("gid", 0) or 0
        if owner != (0, 0):
            os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)

    def _check_existing(self, device: Device, name: str, folder: int) -> None:
        """A file that is no such device may not stand for it (OCI "Devices"); of two with one path the first
        stays, as with runc."""
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        kind = status.st_mode & 0o170000
        if kind not in _TYPES.values():
            raise StepError(f'error creating device nodes: "{device["path"]}" exists and is not the device')

    @staticmethod
    def _bind(path: str, name: str, folder: int) -> None:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=folder))
        except FileExistsError:
            pass
        place = os.open(name, s.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        tree = s.open_tree(s.AT_FDCWD, path)
        s.move_mount(tree, place)
        os.close(tree)
        os.close(place)


class Links(Operation):
    """/dev/fd, stdin, stdout, stderr, core and ptmx."""

    __slots__ = ("core",)

    def __init__(self) -> None:
        self.core = os.path.exists("/proc/kcore")

    def describe(self) -> str:
        return "links in /dev"

    def run(self, road: Road) -> None:
        dev = paths.ensure(road.root, "/dev", folder=True, follow=False)
        for target, name in (*_LINKS, ("/proc/kcore", "core")) if self.core else _LINKS:
            try:
                os.symlink(target, name, dir_fd=dev)
            except FileExistsError:
                pass
        try:
            os.unlink("ptmx", dir_fd=dev)
        except FileNotFoundError:
            pass
        os.symlink("pts/ptmx", "ptmx", dir_fd=dev)
        os.close(dev)


class Console(Operation):
    """/dev/console is the container's terminal, which is also made its controlling terminal.

    Without a slave from outside, a pair is made in the container's own devpts, so that `tty` names it; the
    master goes to the parent. The ptmx is checked to be the real one (CVE-2025-52565).
    """

    __slots__ = ("mount", "new", "size")

    def __init__(self, new: bool, size: tuple[int, int] | None, *, mount: bool = True) -> None:
        self.new = new
        self.size = size
        self.mount = mount

    def describe(self) -> str:
        return "a new console" if self.new else "the console"

    def run(self, road: Road) -> None:
        try:
            if self.new:
                self._pair(road)
            slave = road.console
            if slave is None:
                return
            if self.size:
                width, height = self.size
                window = b"".join(n.to_bytes(2, sys.byteorder) for n in (height, width, 0, 0))
                fcntl.ioctl(slave, _TIOCSWINSZ, window)
            if self.mount:
                self._mount(road, slave)
        except OSError as error:
            raise StepError(f"error setting up console: {reason(error)}") from None

    @staticmethod
    def _pair(road: Road) -> None:
        flags = os.O_RDWR | os.O_NOCTTY
        master = road.open("/dev/pts/ptmx", flags, follow=False)
        real = os.fstat(master).st_rdev == os.makedev(5, 2)
        if not real or s.filesystem_type(master) != _DEVPTS_SUPER_MAGIC:
            raise StepError("error setting up console: /dev/pts/ptmx is not a real ptmx")
        fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
        road.console_master = master
        road.console = fcntl.ioctl(master, _TIOCGPTPEER, flags | os.O_CLOEXEC)

    @staticmethod
    def _mount(road: Road, slave: int) -> None:
        dev = paths.ensure(road.root, "/dev", folder=True, follow=False)
        try:
            os.close(
                os.open("console", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o620, dir_fd=dev)
            )
        except FileExistsError:
            pass
        place = os.open("console", s.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dev)
        try:
            tree = s.open_tree(slave, b"")
        except OSError:
            # A slave that was opened in another mount namespace: find it again by name, and compare.
            again = os.open(os.ttyname(slave), s.O_PATH | os.O_CLOEXEC)
            mine, given = os.fstat(again), os.fstat(slave)
            if (mine.st_dev, mine.st_ino) != (given.st_dev, given.st_ino):
                raise
            tree = s.open_tree(again, b"")
            os.close(again)
        s.move_mount(tree, place)
        for fd in (tree, place, dev):
            os.close(fd)

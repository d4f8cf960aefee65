"""Operations for the spec's `mounts`: filesystems, binds, cgroups."""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.init import paths
from runtime.init.errors import StepError, reason
from runtime.init.options import MountOptions, attributes
from runtime.init.road import Operation, Road

# Single files that lxcfs puts over procfs; nothing else may cover it.
PROC_MOUNTS = frozenset(
    f"/proc/{name}"
    for name in "cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev "
    "sys/kernel/ns_last_pid sys/crypto/fips_enabled".split()
)


class _Mount(Operation):
    __slots__ = ("destination", "options", "source")

    def __init__(self, source: str, destination: str, options: MountOptions) -> None:
        self.source = source
        self.destination = os.path.normpath("/" + destination.lstrip("/"))
        self.options = options

    def run(self, road: Road) -> None:
        try:
            self.attach(road)
        except OSError as error:
            text = self.failure(error)
        except StepError as error:
            text = str(error)
        else:
            return
        raise StepError(f'error mounting "{self.source}" to rootfs at "{self.destination}": {text}')

    def attach(self, road: Road) -> None:
        raise NotImplementedError

    def failure(self, error: OSError) -> str:
        """runc's words for a failed mount(2); the fd's number is an example there as here."""
        flags = f", flags: {self.options.flags:#x}" if self.options.flags else ""
        data = f", data: {','.join(self.options.data)}" if self.options.data else ""
        return f"mount {self.source}:{self.destination} (via /proc/self/fd/6){flags}{data}: {reason(error)}"


class Bind(_Mount):
    """A host path on a container path, by open_tree, mount_setattr and move_mount: fds only."""

    __slots__ = ("tree",)

    def __init__(self, source: str, destination: str, options: MountOptions) -> None:
        super().__init__(source, destination, options)
        self.tree = -1

    @property
    def shared(self) -> bool:
        """Whether mounts made below it are to be seen on the host, and the other way round."""
        return any(kind & s.MS_SHARED for kind in self.options.propagation)

    def hold(self, road: Road) -> None:
        """Take the copy of the source now, for later; a source that is not there is told by `run`."""
        try:
            self.tree = self.open_source(road, self._flags)
        except OSError:
            pass

    @property
    def _flags(self) -> int:
        return s.OPEN_TREE_CLONE | (s.AT_RECURSIVE if self.options.flags & s.MS_REC else 0)

    def describe(self) -> str:
        word = "rbind" if self.options.flags & s.MS_REC else "bind"
        return f"{word} {self.source} on {self.destination}"

    def attach(self, road: Road) -> None:
        options = self.options
        try:
            tree = self.tree if self.tree >= 0 else self.open_source(road, self._flags)
        except OSError as error:
            raise StepError(f"stat {self.source}: {reason(error)}") from None
        folder = os.fstat(tree).st_mode & 0o170000 == 0o040000
        _refuse_in_proc(road.rootfs + self.destination, self.destination, tree)
        made = road.made if options.stub else None
        target = paths.ensure(road.root, self.destination, folder=folder, made=made)
        self._check_target(road, target, tree)
        if folder != (os.fstat(target).st_mode & 0o170000 == 0o040000):
            raise NotADirectoryError(20, os.strerror(20))  # the kernel says EINVAL to move_mount
        set_, clear = attributes(options.set, options.clear)
        if set_ or clear:
            s.mount_setattr(tree, set=set_, clear=clear)
        set_, clear = attributes(options.rset, options.rclear)
        if set_ or clear:
            s.mount_setattr(tree, set=set_, clear=clear, recursive=True)
        s.move_mount(tree, target)
        for kind in options.propagation:
            s.mount_setattr(tree, propagation=kind & ~s.MS_REC, recursive=bool(kind & s.MS_REC))
        os.close(target)
        os.close(tree)

    def open_source(self, road: Road, flags: int) -> int:
        """A detached copy of the source. flags: those of open_tree."""
        if not self.options.within:
            return s.open_tree(s.AT_FDCWD, self.source, flags)
        return tree_within(self.options.within, self.source, flags)

    def _check_target(self, road: Road, target: int, tree: int) -> None:
        """Nothing may cover the root, /proc or a part of it (CVE-2019-16884), however it is spelt."""
        real = os.readlink(f"/proc/self/fd/{target}")
        inside = real[len(road.rootfs) :] if real.startswith(f"{road.rootfs}/") else ""
        if not inside:
            raise StepError(f'mountpoint "{real}" is on the top of rootfs "{road.rootfs}"')
        _refuse_in_proc(real, inside, tree)


def tree_within(root: str, path: str, flags: int = s.OPEN_TREE_CLONE) -> int:
    """A detached copy of the mount that `path` is; a link on the way from `root` to it is ELOOP."""
    base = os.open(root, s.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        below = os.path.relpath(path, root)
        source = s.openat2(base, below, s.O_PATH, s.RESOLVE_BENEATH | s.RESOLVE_NO_SYMLINKS)
        try:
            return s.open_tree(source, b"", flags)
        finally:
            os.close(source)
    finally:
        os.close(base)


def _refuse_in_proc(path: str, inside: str, tree: int) -> None:
    """path: for the text; inside: the same from the container's root."""
    if inside == "/proc":
        if s.filesystem_type(tree) != s.PROC_SUPER_MAGIC:
            raise StepError(f'"{path}" cannot be mounted because it is not of type proc')
    elif inside.startswith("/proc/") and inside not in PROC_MOUNTS:
        raise StepError(f'"{path}" cannot be mounted because it is inside /proc')


class Filesystem(_Mount):
    """A new instance of a filesystem, mounted on the folder's fd: mount(2) on `.` after fchdir."""

    __slots__ = ("kind",)

    def __init__(self, kind: str, source: str, destination: str, options: MountOptions) -> None:
        super().__init__(source, destination, options)
        self.kind = kind

    def describe(self) -> str:
        return f"{self.kind} on {self.destination}"

    @property
    def late_readonly(self) -> bool:
        """Read-only only at the end: mount points and nodes are still to be made in it."""
        return bool(self.options.flags & s.MS_RDONLY) and (self.kind == "tmpfs" or self.destination == "/dev")

    def attach(self, road: Road) -> None:
        there = self._is_there(road)
        target = self._target(road)
        inside = self.destination.startswith("/proc/")
        if self.kind != "proc" and (inside or s.filesystem_type(target) == s.PROC_SUPER_MAGIC):
            # A filesystem over a part of procfs would catch what is written there (CVE-2025-52881).
            real = f"{road.rootfs}{self.destination}"
            raise StepError(f'"{real}" cannot be mounted because it is inside /proc')
        data = list(self.options.data)
        if self.kind == "tmpfs" and there:
            # The image's folder gives the mode unless the options say another: the kernel takes the last one.
            # Without a folder the kernel's own default, 1777, holds (as with runc).
            data.insert(0, f"mode={os.fstat(target).st_mode & 0o7777:04o}")
        flags = self.options.flags & ~(s.MS_RDONLY if self.late_readonly else 0)
        os.fchdir(target)
        s.mount(self.source, b".", self.kind, flags & ~s.MS_REC, ",".join(data))
        if self.options.copyup:
            from_folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # still below the mount
            _copy_up(from_folder, road.open(self.destination, os.O_RDONLY | os.O_DIRECTORY))
            os.close(from_folder)
        if self.options.propagation:
            mounted = road.open(self.destination)
            for kind in self.options.propagation:
                s.mount_setattr(mounted, propagation=kind & ~s.MS_REC, recursive=bool(kind & s.MS_REC))
            os.close(mounted)
        os.close(target)

    def _is_there(self, road: Road) -> bool:
        if self.kind != "tmpfs":
            return True
        try:
            os.close(road.open(self.destination))
        except OSError:
            return False
        return True

    def _target(self, road: Road) -> int:
        """proc, sysfs and what lies under /dev go on real folders only, never through a symlink of the image
        (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579)."""
        strict = self.kind in ("proc", "sysfs") or f"{self.destination}/".startswith("/dev/")
        try:
            made = road.made if self.options.stub else None
            target = paths.ensure(road.root, self.destination, folder=True, follow=not strict, made=made)
            if os.fstat(target).st_mode & 0o170000 == 0o040000:
                return target
        except (NotADirectoryError, OSError) as error:
            if not strict or error.errno not in (20, 40):
                raise
        if strict:
            raise StepError(f'filesystem "{self.kind}" must be mounted on ordinary directory')
        raise NotADirectoryError(20, os.strerror(20), self.destination)


class Cgroups(Filesystem):
    """/sys/fs/cgroup: v1 as a tmpfs with one bind a controller, v2 as cgroup2; both show the container's
    own."""

    __slots__ = ("private",)

    def __init__(self, destination: str, options: MountOptions, private: bool) -> None:
        super().__init__("cgroup", "cgroup", destination, options)
        self.private = private  # the container has a cgroup namespace

    def attach(self, road: Road) -> None:
        if road.cgroup is None:
            return
        mounts = road.cgroup.mounts()
        target = self._target(road)
        if len(mounts) == 1 and not mounts[0][0]:
            self._unified(target, mounts[0][1])
            return
        os.fchdir(target)
        keep = s.MS_NOSUID | s.MS_NODEV | s.MS_NOEXEC
        s.mount(b"tmpfs", b".", b"tmpfs", keep, b"mode=755")
        base = road.open(self.destination)
        set_, clear = attributes(self.options.set, self.options.clear)
        for name, folder in mounts:
            if "," in name:
                for alias in name.split(","):
                    os.symlink(name, alias, dir_fd=base)
            os.mkdir(name, 0o755, dir_fd=base)
            place = os.open(name, s.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=base)
            tree = s.open_tree(s.AT_FDCWD, folder)
            s.mount_setattr(tree, set=set_, clear=clear)
            s.move_mount(tree, place)
            os.close(tree)
            os.close(place)
        os.close(base)

    def _unified(self, target: int, folder: str) -> None:
        flags = self.options.flags & ~(s.MS_REC | s.MS_BIND)
        os.fchdir(target)
        try:
            s.mount(b"cgroup2", b".", b"cgroup2", flags, None)
        except OSError as error:
            if error.errno not in (1, 16):
                raise
            # In a user namespace without a cgroup namespace the kernel refuses: show the folder instead.
            tree = s.open_tree(s.AT_FDCWD, folder if self.private else os.path.dirname(folder))
            s.mount_setattr(tree, set=self.options.set)
            s.move_mount(tree, target)


class Remount(_Mount):
    """`remount` in the options: change the flags of what the root already has there."""

    __slots__ = ()

    def describe(self) -> str:
        return f"change options of {self.destination}"

    def attach(self, road: Road) -> None:
        fd = road.open(self.destination)
        set_, clear = attributes(self.options.set, self.options.clear)
        s.mount_setattr(fd, set=set_, clear=clear)
        os.close(fd)


def _copy_up(source: int, target: int) -> None:
    """Copy a folder's content into the tmpfs that now covers it (`tmpcopyup`); both fds, no symlink
    followed."""
    for entry in os.scandir(source):
        status = entry.stat(follow_symlinks=False)
        kind = status.st_mode & 0o170000
        name = entry.name
        if kind == 0o040000:
            os.mkdir(name, 0o700, dir_fd=target)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below, beyond = os.open(name, flags, dir_fd=source), os.open(name, flags, dir_fd=target)
            _copy_up(below, beyond)
            os.close(below)
            os.close(beyond)
        elif kind == 0o120000:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif kind == 0o100000:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
            beyond = os.open(name, flags, 0o600, dir_fd=target)
            while os.sendfile(beyond, below, None, 1 << 20):
                pass
            os.close(below)
            os.close(beyond)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if kind != 0o120000:
            os.chmod(name, status.st_mode & 0o7777, dir_fd=target)
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)

"""A worker goes into a container's file system, and out of the host's, for good.

The container is hostile and may be running. So the worker first gathers everything as mounts held by fds,
in a mount namespace of its own, then pivots into them and drops the host's tree: from there on no path, link
or race leads to the host (CVE-2018-15664), and nothing may be imported or looked up by name any more, for it
would be the container's (CVE-2019-14271, CVE-2021-41089). No file is a device here (MS_NODEV), whatever the
container has made: opening one could do something to the machine.

As in Docker the view is the root with volumes, binds and the network's files, without /proc, /sys, /dev and
tmpfs mounts.
"""

from __future__ import annotations

import os

from runtime import syscalls
from runtime.init import paths
from runtime.init.rootfs import OverlayRoot
from runtime.shim.files import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

SAFE = syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
_LOCATE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


class _Gone(Exception):
    """The container's process has ended."""


class View:
    """root: an fd of the container's root, which is `/` too; where: names of what fds are, by readlink."""

    def __init__(self, root: int, proc: int) -> None:
        self.root = root
        self._proc = proc

    def path_of(self, fd: int) -> bytes:
        """The absolute path in the container of what `fd` is, links followed."""
        return os.readlink(b"%d" % fd, dir_fd=self._proc)


def enter(arguments: Json) -> View:
    """Leave the host for the container that `arguments` tells of. Raises OSError.

    "scratch": an absolute path of a host folder to mount on, unseen by others;
    "overlay": `Storage.root_plan(…)["overlay"]`, and "write": whether changes are to last (else they go to
    a tmpfs, and the container may start meanwhile);
    "process": null, or {"pid", "start_time"} of a running container; one that has ended meanwhile is seen as
    a stopped one;
    "mounts": [{"destination", "source", "subpath", "recursive", "writable"}], parents first; of a running
    container its own mounts at these destinations are taken, wherever they came from.
    """
    proc = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.umask(0)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    scratch = arguments["scratch"]
    syscalls.mount("tmpfs", scratch, "tmpfs", syscalls.MS_NODEV | syscalls.MS_NOSUID, "mode=0700")
    for name in ("root", "diff", "work"):
        os.mkdir(f"{scratch}/{name}", 0o755)
    target = f"{scratch}/root"
    process = arguments.get("process")
    found: list[tuple[Json, int]]
    if process:
        try:
            tree, found = _gather(process, arguments["mounts"])
            _attach(tree, os.open(target, syscalls.O_PATH | os.O_CLOEXEC))
        except _Gone:
            process = None
    if not process:
        found = [(mount, _source(mount)) for mount in arguments["mounts"]]
        tree = _overlay(arguments["overlay"], scratch, target, write=arguments["write"])
    for mount, source in found:
        if source >= 0:
            _place(tree, mount, source, make=not process)
    pivot(tree)
    return View(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), proc)


def _gather(process: Json, mounts: list[Json]) -> tuple[int, list[tuple[Json, int]]]:
    """The root and the mounts of a running container, detached copies as fds."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        pidfd = syscalls.pidfd_open(process["pid"])
        # Asked after the fd is there: then both are of the same process, or the answer differs
        if start_time(process["pid"]) != process["start_time"]:
            raise _Gone
        syscalls.setns(pidfd, syscalls.CLONE_NEWNS)
    except ProcessLookupError:
        raise _Gone from None
    except OSError as error:
        if error.errno in (3, 22):  # a zombie has no namespaces any more
            raise _Gone from None
        raise
    os.close(pidfd)
    try:
        # setns has made the namespace's own root ours, whatever the process has changed its root to
        root = os.open("/", syscalls.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        tree = syscalls.open_tree(root, "")
        found = []
        for mount in mounts:
            try:
                place = syscalls.openat2(root, mount["destination"], syscalls.O_PATH, _LOCATE)
            except OSError:
                continue  # the container has moved it away
            found.append((mount, syscalls.open_tree(place, "", _copy(mount))))
            os.close(place)
        os.close(root)
    finally:
        syscalls.setns(own, syscalls.CLONE_NEWNS)
    os.close(own)
    return tree, found


def _copy(mount: Json) -> int:
    return syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if mount["recursive"] else 0)


def _source(mount: Json) -> int:
    """A detached copy of what a stopped container would have mounted, or -1 when there is nothing."""
    try:
        fd = os.open(mount["source"], syscalls.O_PATH | os.O_CLOEXEC)
        if mount.get("subpath"):
            # No link: what is in a volume is another container's to change
            flags = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
            fd = syscalls.openat2(fd, mount["subpath"], syscalls.O_PATH, flags)
        tree = syscalls.open_tree(fd, "", _copy(mount))
    except (FileNotFoundError, NotADirectoryError):
        return -1
    if not mount["writable"]:
        syscalls.mount_setattr(tree, set=syscalls.MOUNT_ATTR_RDONLY, recursive=True)
    return tree


def _overlay(overlay: Json, scratch: str, target: str, *, write: bool) -> int:
    if not write and "flat" not in overlay:
        # The container's own layer is below, read only: nothing is disturbed when it starts now. The root
        # folder shows the attributes of the topmost
        root = os.stat(overlay["upper"])
        os.chown(f"{scratch}/diff", root.st_uid, root.st_gid)
        os.chmod(f"{scratch}/diff", root.st_mode & 0o7777)
        os.utime(f"{scratch}/diff", ns=(root.st_atime_ns, root.st_mtime_ns))
        overlay = {
            "lower": [overlay["upper"], *overlay["lower"]],
            "upper": f"{scratch}/diff",
            "work": f"{scratch}/work",
        }
    mounted = Mounted(target)
    OverlayRoot(overlay).run(mounted)  # type: ignore[arg-type,typeddict-item,unused-ignore]
    syscalls.mount_setattr(mounted.root, set=SAFE)
    return mounted.root


class Mounted:
    """What OverlayRoot needs of a container's start."""

    def __init__(self, rootfs: str) -> None:
        self.rootfs = rootfs
        self.root = -1


def _attach(tree: int, target: int) -> None:
    syscalls.mount_setattr(tree, set=SAFE, propagation=syscalls.MS_PRIVATE, recursive=True)
    syscalls.move_mount(tree, target)


def _place(root: int, mount: Json, tree: int, *, make: bool) -> None:
    """Put a mount where it belongs in the root; where nothing is, `make` makes a place as Docker does."""
    folder = os.fstat(tree).st_mode & 0o170000 == 0o040000
    try:
        if make:
            target = paths.ensure(root, mount["destination"], folder=folder)
        else:
            target = paths.open_in(root, mount["destination"])
    except OSError:
        if make:
            raise
        return
    try:
        _attach(tree, target)
    except NotADirectoryError:
        if make:
            raise
    finally:
        os.close(target)
        os.close(tree)


def pivot(root: int) -> None:
    """Make `root` the only tree that there is."""
    old = os.open("/", syscalls.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(root)
    try:
        syscalls.pivot_root(b".", b".")
    except OSError:
        _ramfs()
    else:
        os.fchdir(old)
        syscalls.umount(b".", syscalls.MNT_DETACH)
    os.close(old)
    os.close(root)
    os.chroot("/")
    os.chdir("/")


def _ramfs() -> None:
    """The host's root is the first ramfs, which cannot be exchanged: move onto it and stay there."""
    syscalls.mount(b".", b"/", None, syscalls.MS_MOVE)
    os.chroot(".")

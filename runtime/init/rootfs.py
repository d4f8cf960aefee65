"""Operations that make the root: propagation, overlay or bind, pivot, read-only."""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.init.errors import StepError, reason
from runtime.init.road import Operation, Road

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.init.mounts import Bind
    from runtime.spec import Overlay

# mount(2) copies one page of options; what does not fit is cut silently.
_OPTIONS_MAX = 4000


class RootPropagation(Operation):
    """Cut the new mount namespace's tie to the host's: nothing mounted here may show up there."""

    __slots__ = ("flags",)

    def __init__(self, flags: int = 0) -> None:
        self.flags = flags or s.MS_SLAVE | s.MS_REC

    def describe(self) -> str:
        return f"propagation of / {self.flags:#x}"

    def run(self, road: Road) -> None:
        s.mount(None, b"/", None, self.flags)


def parent_private(path: str) -> None:
    """Make the mount that holds the folder `path` private; it is found by walking up."""
    while path != "/":
        path = os.path.dirname(path)
        try:
            s.mount(None, path, None, s.MS_PRIVATE)
            return
        except OSError as error:
            if error.errno != 22:
                raise


class PrivateParent(Operation):
    """Where mounts are to be shared with the host, the root is not to be: neither seen there, nor shared,
    which pivot_root(2) refuses.

    binds: those that share. Their sources may be in the mount that becomes private, so they are opened first.
    """

    __slots__ = ("binds",)

    def __init__(self, binds: list[Bind]) -> None:
        self.binds = binds

    def describe(self) -> str:
        return f"the root's parent private, beside {len(self.binds)} shared mounts"

    def run(self, road: Road) -> None:
        for bind in self.binds:
            bind.hold(road)
        parent_private(road.rootfs)


class OverlayRoot(Operation):
    """Mount the layers, or the one tree that has all of them (`flat`), on the rootfs folder.

    Paths that share a parent folder are given relative to it, which keeps the option string short. Too long,
    or with characters that overlay's option parser would split at, the folders are given as fds: the kernel
    resolves the names `7`, `8` … in /proc/self/fd. That holds some 800 layers on any kernel.
    """

    __slots__ = ("flat", "overlay", "readonly")

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.flat = overlay.get("flat", "")
        self.readonly = not overlay.get("upper") and not self.flat

    def describe(self) -> str:
        if self.flat:
            return f"the tree {self.flat} as root"
        mode = "read-only" if self.readonly else "writable"
        return f"{mode} overlay of {len(self.overlay['lower'])} layers"

    def options(self) -> tuple[str, str]:
        """(folder to be in, option string) for the short form; the string is '' when it must be fds."""
        lower = self.overlay["lower"]
        tail = ""
        upper, work = self.overlay.get("upper"), self.overlay.get("work")
        base = os.path.commonpath([os.path.dirname(path) for path in lower])
        cut = len(base) + (base != "/")
        if upper and work:
            tail = f",upperdir={upper},workdir={work}"
        text = f"lowerdir={':'.join(path[cut:] for path in lower)}{tail}"
        awkward = any(mark in path for path in [*lower, upper or "", work or ""] for mark in ":,\\")
        return base, "" if awkward or len(text) > _OPTIONS_MAX else text

    def run(self, road: Road) -> None:
        lower = self.overlay["lower"]
        if self.flat or (self.readonly and len(lower) == 1):  # overlay wants two layers
            tree = s.open_tree(s.AT_FDCWD, self.flat or lower[0])
            target = os.open(road.rootfs, s.O_PATH | os.O_CLOEXEC)
            s.move_mount(tree, target)
            if self.readonly:
                s.mount_setattr(tree, set=s.MOUNT_ATTR_RDONLY)
            road.root = tree
            return
        base, text = self.options()
        fds: list[int] = []
        if not text:
            fds = [os.open(path, s.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY) for path in lower]
            text = f"lowerdir={':'.join(map(str, fds))}"
            if not self.readonly:
                upper, work = (
                    os.open(self.overlay[key], s.O_PATH | os.O_CLOEXEC) for key in ("upper", "work")
                )
                text += f",upperdir={upper},workdir={work}"
                fds += [upper, work]
            base = "/proc/self/fd"
        os.chdir(base)
        try:
            s.mount(b"overlay", road.rootfs, b"overlay", 0, text)
        finally:
            for fd in fds:
                os.close(fd)
        road.root = os.open(road.rootfs, s.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class BindRoot(Operation):
    """The root is a ready tree: bind it onto itself, for pivot_root wants a mount point."""

    __slots__ = ()

    def describe(self) -> str:
        return "bind the root onto itself"

    def run(self, road: Road) -> None:
        s.mount(road.rootfs, road.rootfs, None, s.MS_BIND | s.MS_REC)
        road.root = os.open(road.rootfs, s.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class Pivot(Operation):
    """Make the root `/` and drop the host's tree (pivot_root(2), the `.` over `.` form)."""

    __slots__ = ("parent_private",)

    def __init__(self, parent_private: bool) -> None:
        self.parent_private = parent_private

    def describe(self) -> str:
        return "pivot into the root"

    def run(self, road: Road) -> None:
        try:
            old = os.open("/", os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
            os.fchdir(road.root)
            if self.parent_private:
                parent_private(road.rootfs)
            s.pivot_root(b".", b".")
            os.fchdir(old)
            # Slave first: a shared root would carry the unmount to the host.
            s.mount(None, b".", None, s.MS_SLAVE | s.MS_REC)
            s.umount(b".", s.MNT_DETACH)
            os.chdir("/")
            os.close(old)
        except OSError as error:
            raise StepError(f"error jailing process inside rootfs: {error.strerror}") from None


class ReadonlyRoot(Operation):
    __slots__ = ()

    def describe(self) -> str:
        return "root read-only"

    def run(self, road: Road) -> None:
        try:
            s.mount_setattr(road.root, set=s.MOUNT_ATTR_RDONLY)
        except OSError as error:
            raise StepError(f"error setting rootfs as readonly: {reason(error)}") from None


class FinalPropagation(Operation):
    """`shared` and `unbindable` roots get their kind after the pivot, when `/` is the container's."""

    __slots__ = ("flags",)

    def __init__(self, flags: int) -> None:
        self.flags = flags

    def describe(self) -> str:
        return f"propagation of the new / {self.flags:#x}"

    def run(self, road: Road) -> None:
        s.mount(None, b"/", None, self.flags)

"""What the operations of a container's start share, and the operations' base class."""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.init import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.cgroups import Cgroup


class Road:
    """The state of one child on its way to execve.

    rootfs: the root's path before pivot_root; root: its O_PATH fd once mounted; console: pty slave or None;
    warnings: texts for the log, sent to the parent with the ready message; made: mount points that were not
    there, as paths in the root, of those mounts that want them told.
    """

    __slots__ = ("cgroup", "console", "console_master", "devnull", "made", "root", "rootfs", "warnings")

    def __init__(self, rootfs: str, cgroup: Cgroup | None, console: int | None) -> None:
        self.rootfs = rootfs
        self.root = -1
        self.cgroup = cgroup
        self.console = console
        self.console_master = -1
        self.devnull = -1
        self.warnings: list[str] = []
        self.made: list[str] = []

    def open(self, path: str, flags: int = s.O_PATH, *, follow: bool = True) -> int:
        return paths.open_in(self.root, path, flags, follow=follow)

    def null_device(self) -> int:
        """O_PATH fd of the container's /dev/null, verified to be that device (CVE-2025-31133)."""
        if self.devnull < 0:
            fd = self.open("/dev/null", s.O_PATH | os.O_NOFOLLOW, follow=False)
            status = os.fstat(fd)
            if status.st_mode & 0o170000 != 0o020000 or status.st_rdev != os.makedev(1, 3):
                os.close(fd)
                raise OSError(1, os.strerror(1), "/dev/null")
            self.devnull = fd
        return self.devnull


class Operation:
    """One step. `describe()` says it in one line; `run` raises OSError or StepError."""

    __slots__ = ()

    def describe(self) -> str:
        raise NotImplementedError

    def run(self, road: Road) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

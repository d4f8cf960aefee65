"""What v1 and v2 share: the interface, file access, the removal of a group."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from runtime.spec import Resources

    IoEntry = tuple[int, int, str, int]

_ENOENT, _EBUSY, _SIGKILL = 2, 16, 9


class CgroupError(Exception):
    """With runc's text, as after `unable to start container process: `."""


class Cgroup:
    """One container's group. `path` is relative to the hierarchy's root and starts with a slash."""

    def __init__(self, path: str) -> None:
        self.path = os.path.normpath("/" + path.lstrip("/"))
        if self.path == "/":
            raise CgroupError("the root cgroup is not a container's")
        self.name = self.path
        """What `open_cgroup` finds the same group by."""
        self.created = False

    def folders(self) -> list[str]:
        """The group's folders, one a hierarchy."""
        raise NotImplementedError

    def mounts(self) -> list[tuple[str, str]]:
        """What a container's /sys/fs/cgroup shows: (name, the group's folder); one pair with name '' on
        v2."""
        raise NotImplementedError

    def create(self, resources: Resources) -> None:
        """Make the group with its limits; a second call does nothing. Raises CgroupError, and then leaves
        nothing behind."""
        if self.created:
            return
        made: list[str] = []
        try:
            self.make(made, resources)
            try:
                self.apply(resources)
            except CgroupError as error:
                where = "error during container init: error setting cgroup config for procHooks process"
                raise CgroupError(f"{where}: {error}") from None
        except BaseException:
            for folder in reversed(made):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            raise
        self.created = True

    def make(self, made: list[str], resources: Resources) -> None:
        """Make the folders, and note those that are the group's own in `made`."""
        raise NotImplementedError

    def apply(self, resources: Resources) -> None:
        """Write the limits that are given; the others stay. Raises CgroupError."""
        raise NotImplementedError

    def born(self) -> None:
        """The first process is in. Raises CgroupError, OSError."""

    def birth_fd(self) -> int:
        """Fd of the folder that clone3 can make a process in (v2), or -1; the caller closes it."""
        return -1

    def open_fds(self) -> list[int]:
        """Fds through which `attach_fds` moves a process in, to be opened before it leaves the host's
        tree."""
        raise NotImplementedError

    def attach_self(self) -> None:
        """Move the calling, single-threaded process in."""
        fds = self.open_fds()
        try:
            attach_fds(fds)
        finally:
            for fd in fds:
                os.close(fd)

    def freeze(self) -> None:
        """Returns when every process is frozen."""
        raise NotImplementedError

    def thaw(self) -> None:
        raise NotImplementedError

    def frozen(self) -> bool:
        raise NotImplementedError

    def pids(self) -> list[int]:
        """All processes of the group and those below."""
        found: list[int] = []
        folder = self.folders()[0]
        for path, _, files in os.walk(folder):
            if "cgroup.procs" in files:
                found += read_pids(os.path.join(path, "cgroup.procs"))
        return found

    def kill(self, signal: int) -> None:
        """Send a signal to every process; none can escape by forking."""
        try:
            self.freeze()
        except (OSError, CgroupError):
            pass  # without a freezer the loop below still gets them in the end
        try:
            for pid in self.pids():
                try:
                    os.kill(pid, signal)
                except ProcessLookupError:
                    pass
        finally:
            try:
                self.thaw()
            except (OSError, CgroupError):
                pass

    def oom_fd(self) -> int:
        """An fd that becomes readable (v1: eventfd; v2: inotify on memory.events) at an OOM kill, or -1."""
        raise NotImplementedError

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        raise NotImplementedError

    def note_kills(self) -> None:
        """From here on `kills_missed` knows."""

    def kills_missed(self) -> bool:
        """Whether there was a kill that `oom_kills`, after `note_kills`, could not count: systemd has removed
        the group.
        """
        return False

    def stats(self) -> dict[str, Any]:
        """Raw figures, mostly by file name; what is missing is None.

        {"version": 1|2, "memory": {…, "stat", "failcnt"}, "cpu": {…}, "pids": {"current", "limit"},
        "blkio": {"io_service_bytes_recursive": [(major, minor, operation, value)], …}}
        """
        raise NotImplementedError

    def delete(self) -> None:
        """Remove the group and what is below; processes must be gone or dying. Missing is fine."""
        for folder in self.folders():
            remove(folder)


def attach_fds(fds: Iterable[int]) -> None:
    for fd in fds:
        os.write(fd, b"0")


def write(folder: str, name: str, value: str | int) -> None:
    """Write a control file, or raise CgroupError with runc's text."""
    path = f"{folder}/{name}"
    text = str(value)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        why = (error.strerror or "").lower()
        if error.errno == _ENOENT:
            raise CgroupError(f"openat2 {path}: {why}") from error
        raise CgroupError(f'failed to write "{text}": write {path}: {why}') from error


def read(folder: str, name: str) -> str:
    """The file's text, '' when it is not there."""
    try:
        fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks).decode()
    except OSError:
        return ""
    finally:
        os.close(fd)


def read_pids(path: str) -> list[int]:
    try:
        with open(path, "rb") as file:
            return [int(line) for line in file.read().split()]
    except OSError:
        return []


def keyed(text: str) -> dict[str, int]:
    """Lines of `name number` as a dict."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].lstrip("-").isdigit()}


def number(text: str) -> int | None:
    """A control file's one number; `max` and nothing are None."""
    text = text.strip()
    return int(text) if text.lstrip("-").isdigit() else None


def remove(folder: str) -> None:
    """rmdir, deepest first. A group is busy for a moment after its last process has died."""
    delay = 0.001
    while True:
        try:
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != _EBUSY or delay > 0.3:
                raise
        below = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        for path in below:
            remove(path)
        if not below:
            for pid in read_pids(f"{folder}/cgroup.procs"):
                try:
                    os.kill(pid, _SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(delay)
            delay *= 2

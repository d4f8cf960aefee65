"""One container's way up and down in the shim: cgroup, network namespace, first process."""

from __future__ import annotations

import os
import signal
import sys

from runtime import syscalls
from runtime.shim import files
from runtime.shim.log import Log, open_log
from runtime.shim.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.shim.loop import Loop

_CLONE_NEWNET = 0x40000000
_PR_SET_CHILD_SUBREAPER = 36


class StartError(Exception):
    """The container could not be started; the text is for the client."""


class Container:
    """What the shim holds of its container.

    `streams` exists from the start, `pid` once it runs; `netns` is a descriptor or -1.
    """

    def __init__(self, loop: Loop, bundle: str, seccomp_cache: str) -> None:
        self.bundle = bundle
        self.config: dict[str, Any] = files.read_json(os.path.join(bundle, "shim.json"))
        self.id: str = self.config["id"]
        self.pid = 0
        self.netns = -1
        self.cgroup: Any = None
        self.seccomp_cache = seccomp_cache
        self._loop = loop
        spec = self.spec()
        self.tty = bool(spec["process"].get("terminal"))
        self._log: Log | None = open_log(self.config.get("log"))
        self.streams = Streams(
            loop, tty=self.tty, log=self._log, end_input=bool(self.config.get("stdin_once"))
        )

    def spec(self) -> dict[str, Any]:
        """`config.json`, read anew: it is large and seldom needed, so it is not kept."""
        spec: dict[str, Any] = files.read_json(os.path.join(self.bundle, "config.json"))
        return spec

    def start(self) -> list[dict[str, Any]]:
        """Bring the container up to a running first process; what `runtime.net.plan` says of its network.

        Raises StartError with all undone.
        """
        from runtime import cgroups, init

        started = False
        child = None
        try:
            spec = self.spec()
            syscalls.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            path = spec.get("linux", {}).get("cgroupsPath") or f"/docker/{self.id}"
            self.cgroup = cgroups.open_cgroup(path, systemd=":" in path)
            plan = self.config.get("network")
            self.netns = _open_netns(plan)
            stdin = bool(self.config.get("stdin"))
            # The terminal is made in the container's own devpts: its name must be right inside.
            stdio = (0, 1, 2) if self.tty else self.streams.prepare(stdin)
            child = init.spawn(
                spec,  # type: ignore[arg-type]
                self.config.get("root") or {},  # type: ignore[arg-type]
                stdio=stdio,
                console=init.NEW_CONSOLE if self.tty else None,
                netns=self.netns if self.netns >= 0 else None,
                cgroup=self.cgroup,
                seccomp_cache=self.seccomp_cache,
            )
            self.pid = child.pid
            network = self._connect(plan)
            child.wait_ready()
            if self.tty:
                self.streams.take_master(child.console_master, stdin, self.config.get("console"))
            self._write_state()
            child.go()
            self.streams.started()
            started = True
        except Exception as error:
            # Texts of the init are the client's; anything else is named by what it is.
            text = str(error) or type(error).__name__
            if not isinstance(error, (init.InitError, cgroups.CgroupError, OSError)):
                sys.excepthook(*sys.exc_info())
            raise StartError(text) from error
        finally:
            if not started:
                self._undo()
        return network

    def _connect(self, plan: dict[str, Any] | None) -> list[dict[str, Any]]:
        if not plan or self.netns < 0 or plan.get("mode") != "new":
            return []
        from runtime.net import plan as plans

        try:
            return plans.apply(plan, self.netns)
        except OSError as error:
            raise StartError(f"failed to set up container networking: {error}") from error

    def _write_state(self) -> None:
        state = {
            "pid": self.pid,
            "start_time": files.start_time(self.pid),
            "shim": os.getpid(),
            "shim_start_time": files.start_time(os.getpid()),
        }
        files.write_json(os.path.join(self.bundle, "state.json"), state)

    def _undo(self) -> None:
        if self.pid:
            _end(self.pid)
        self.streams.close()
        self.release()
        try:
            os.unlink(os.path.join(self.bundle, "state.json"))
        except FileNotFoundError:
            pass

    def end_processes(self) -> None:
        """Kill what the first process has left in the cgroup (with a shared PID namespace)."""
        try:
            if self.cgroup is not None and self.cgroup.pids():
                self.cgroup.kill(signal.SIGKILL)
        except OSError as error:
            print(f"shim: ending processes: {error}", file=sys.stderr)

    def close_log(self) -> None:
        """All output is written."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def release(self) -> None:
        """Give back the network namespace, the log and the cgroup. Troubles are reported, not raised."""
        if self.netns >= 0:
            os.close(self.netns)
            self.netns = -1
        self.close_log()
        if self.cgroup is not None:
            cgroup, self.cgroup = self.cgroup, None
            try:
                cgroup.delete()
            except OSError as error:
                print(f"shim: deleting the cgroup: {error}", file=sys.stderr)


def _open_netns(plan: dict[str, Any] | None) -> int:
    """A descriptor of the namespace that the plan asks for, -1 when the spec alone decides."""
    mode = plan.get("mode") if plan else None
    if plan and mode == "container":
        return os.open(f"/proc/{int(plan['pid'])}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if mode != "new":
        return -1
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(_CLONE_NEWNET)
        try:
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            syscalls.setns(own, _CLONE_NEWNET)
    finally:
        os.close(own)


def _end(pid: int) -> None:
    """Kill and reap a child, if it has not been reaped yet."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    except (ChildProcessError, ProcessLookupError):
        pass

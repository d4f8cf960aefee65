"""What the shim holds of its running container."""

from __future__ import annotations

import os
import sys

from runtime.logs.base import BaseLog
from runtime.shim import files, outside, signals, starter, wire
from runtime.shim.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.shim.loop import Loop


class Container:
    """The container that the starter has brought up: `message` and `fds` are the starter's."""

    def __init__(
        self, loop: Loop, bundle: str, config: dict[str, Any], log: BaseLog | None, message: dict[str, Any]
    ) -> None:
        self.bundle = bundle
        self.id: str = config["id"]
        self.pid: int = message["pid"]
        self.cgroup_path: str = message["cgroup"]
        self.netns = -1
        self._hooked = bool(message.get("hooks"))
        self.external = outside.open_external(bundle, config)
        self._log = log
        self._cgroup: Any = None
        self.streams = Streams(loop, tty=message["tty"], log=log, end_input=bool(config.get("stdin_once")))

    @property
    def cgroup(self) -> Any:
        """Its `runtime.cgroups.Cgroup`, made when first needed: many containers never do."""
        if self._cgroup is None:
            from runtime import cgroups

            self._cgroup = cgroups.open_cgroup(self.cgroup_path)
        return self._cgroup

    def kill(self, number: int, everything: bool) -> None:
        """Send a signal to the first process or to all. Raises OSError, CgroupError, InitError."""
        if self.external is not None:
            try:
                self.external.kill(number, everything=everything)
            except Exception:
                if not files.has_ended(self.pid):
                    raise
                # It ended while the other runtime looked for it: a zombie takes every signal.
        elif everything:
            self.cgroup.kill(number)
        else:
            os.kill(self.pid, number)  # not reaped yet, so the PID is its own

    def freeze(self) -> None:
        """Pause all processes. Raises as `kill`."""
        (self.external.pause if self.external is not None else self.cgroup.freeze)()

    def thaw(self) -> None:
        """Let them go on. Raises as `kill`."""
        (self.external.resume if self.external is not None else self.cgroup.thaw)()

    def end_processes(self) -> None:
        """Kill what the first process has left in the cgroup (with a shared PID namespace)."""
        try:
            if self.cgroup.pids():
                self.cgroup.kill(signals.SIGKILL)
        except Exception as error:
            print(f"shim: ending processes: {error}", file=sys.stderr)

    def close_log(self) -> None:
        """All output is written."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def release(self) -> None:
        """Give back the network namespace and the cgroup. Troubles are reported, not raised."""
        if self.netns >= 0:
            os.close(self.netns)
            self.netns = -1
        self.close_log()
        if self.external is not None:
            starter.end_external(self.external, self.bundle)
        try:
            self.cgroup.delete()
        except Exception as error:
            print(f"shim: deleting the cgroup: {error}", file=sys.stderr)
        if self._hooked:
            self._run_last_hooks()

    def _run_last_hooks(self) -> None:
        """In a process of their own, which this waits for: the container is gone when they have run."""

        def work() -> tuple[wire.Message, dict[str, int]]:
            from runtime.shim import hooking

            hooking.run_last(self.bundle, self.id)
            return {}, {}

        pid, link = starter.fork(work)
        starter.running.append(pid)
        try:
            wire.receive(link)
        except (EOFError, OSError):
            pass  # it has told on stderr
        finally:
            link.close()

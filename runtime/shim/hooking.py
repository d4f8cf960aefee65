"""OCI hooks of a container that the built-in runtime runs; other runtimes run theirs themselves.

Only a starter, and a child made for the last of them, imports this: shims without hooks pay nothing.
"""

from __future__ import annotations

import os
import sys

from runtime.init.errors import DURING_INIT, PREFIX, InitError
from runtime.init.stages import Stages
from runtime.oci import hooks
from runtime.shim import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.spec import Spec


class Hooks:
    """The hooks of one container's spec."""

    def __init__(self, spec: Spec, container_id: str, bundle: str) -> None:
        self._spec = spec
        self._id = container_id
        self._bundle = bundle

    def stages(self) -> Stages:
        """Where the hooks come in on the child's road, for `runtime.init.spawn`."""
        stages = Stages()
        if hooks.wanted(self._spec, *hooks.BEFORE_PIVOT):
            stages.before_pivot = self._before_pivot
        if hooks.wanted(self._spec, "createContainer"):
            stages.in_container = lambda: self._run("createContainer", os.getpid(), "creating")
        if hooks.wanted(self._spec, "startContainer"):
            stages.before_program = lambda: self._run("startContainer", os.getpid(), "created")
        return stages

    def _before_pivot(self, pid: int) -> None:
        try:
            for name in hooks.BEFORE_PIVOT:
                self._run(name, pid, "creating")
        except hooks.HookError as error:
            raise InitError(f"{PREFIX}{DURING_INIT}{error}") from None

    def _run(self, name: str, pid: int, status: str) -> None:
        hooks.run(self._spec, name, hooks.state_of(self._spec, self._id, self._bundle, pid, status))

    def started(self, pid: int) -> None:
        """After the program has begun. Raises InitError; the container is to be ended then."""
        try:
            self._run("poststart", pid, "running")
        except hooks.HookError as error:
            raise InitError(f"{PREFIX}{error}") from None

    def stopped(self) -> None:
        """After the container is gone. What fails is told on stderr and stops nothing."""
        state = hooks.state_of(self._spec, self._id, self._bundle, 0, "stopped")
        hooks.run_last(self._spec, state, lambda text: print(f"shim: {text}", file=sys.stderr))


def of(spec: Spec, container_id: str, bundle: str) -> Hooks | None:
    """None when the spec has none."""
    return Hooks(spec, container_id, bundle) if any((spec.get("hooks") or {}).values()) else None


def run_last(bundle: str, container_id: str) -> None:
    """Run the hooks for the end of a bundle's container."""
    Hooks(files.read_json(os.path.join(bundle, "config.json")), container_id, bundle).stopped()

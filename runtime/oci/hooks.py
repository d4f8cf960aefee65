"""OCI hooks: programs of the spec that are run at points of a container's life (OCI runtime spec,
"POSIX-platform Hooks"), with the container's state on their stdin."""

from __future__ import annotations

import json
import subprocess

from runtime.init.errors import StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.spec import Spec

# The runtime's namespaces, before pivot_root: `prestart` is the old name.
BEFORE_PIVOT = ("prestart", "createRuntime")
OCI_VERSION = "1.1.0"


class HookError(StepError):
    """With runc's text; also raised inside the container, on the way to its program."""


def state_of(spec: Spec, container_id: str, bundle: str, pid: int, status: str) -> dict[str, Any]:
    """A container's state as its hooks are told it (OCI runtime spec, "State")."""
    state = {
        "ociVersion": spec.get("ociVersion", OCI_VERSION),
        "id": container_id,
        "pid": 0 if status == "stopped" else pid,
        "status": status,
        "bundle": bundle,
    }
    return {**state, "annotations": spec["annotations"]} if spec.get("annotations") else state


def wanted(spec: Spec, *names: str) -> bool:
    hooks = spec.get("hooks") or {}
    return any(hooks.get(name) for name in names)


def run_last(spec: Spec, state: dict[str, Any], warn: Callable[[str], None]) -> None:
    """The `poststop` hooks: what fails is a warning, and the others are run all the same."""
    hooks = (spec.get("hooks") or {}).get("poststop") or []
    for number, hook in enumerate(hooks):
        try:
            _run_one(hook, "poststop", number, state)
        except HookError as error:
            warn(str(error))


def run(spec: Spec, name: str, state: dict[str, Any]) -> None:
    """Run all hooks of one kind in order, in the namespaces of this process. Raises HookError at the first
    that fails."""
    for number, hook in enumerate((spec.get("hooks") or {}).get(name) or []):
        _run_one(hook, name, number, state)


def _run_one(hook: dict[str, Any], name: str, number: int, state: dict[str, Any]) -> None:
    try:
        result = subprocess.run(
            hook.get("args") or [hook["path"]],
            executable=hook["path"],
            env=dict(entry.partition("=")[::2] for entry in hook.get("env") or []),
            input=json.dumps(state).encode(),
            capture_output=True,
            timeout=hook.get("timeout"),
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"hook ran past specified timeout of {hook['timeout']:.1f}s"
        raise HookError(f"error running {name} hook #{number}: {text}") from None
    except OSError as error:
        text = f"fork/exec {hook['path']}: {(error.strerror or '').lower()}"
        raise HookError(f"error running {name} hook #{number}: {text}") from None
    if result.returncode:
        code = result.returncode
        what = f"exit status {code}" if code > 0 else f"signal: {-code}"
        out = result.stdout.decode("utf-8", "replace"), result.stderr.decode("utf-8", "replace")
        text = f"{what}, stdout: {out[0]}, stderr: {out[1]}"
        raise HookError(f"error running {name} hook #{number}: {text}")

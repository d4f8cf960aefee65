"""Which OCI runtime a container's name of one stands for (dockerd's `--add-runtime`, `--default-runtime`)."""

import json
import shutil
import subprocess
from typing import Any

from compatd.engine.errors import InvalidParameter

BUILTIN = "compatd"
_FEATURES: dict[str, list[str] | None] = {}
"""What mount options the runtimes at these paths say they know; None when they say nothing."""

_STOCK = {"runc": "runc", "io.containerd.runc.v2": "runc", "crun": "crun"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_runtime(name: str, configured: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """shim.json's "runtime": None for the built-in one, else `{"path": …, "args": […]}`.

    Raises InvalidParameter `unknown or invalid runtime name: …`.
    """
    kind = name
    if name in configured:
        entry = configured[name]
        # A shim of containerd (`runtimeType`) is known when it stands for runc; options name the program.
        options = entry.get("options") or {}
        path = str(entry.get("path") or options.get("BinaryName") or "")
        kind = str(entry.get("runtimeType") or "")
        if path and (not kind or kind in _STOCK):
            return {
                "path": shutil.which(path) or path,
                "args": list(entry.get("runtimeArgs") or entry.get("args") or []),
            }
    if kind == BUILTIN:
        return None
    if kind in _STOCK:
        found = shutil.which(_STOCK[kind], path=_PATH)
        if found:
            return {"path": found, "args": []}
    raise InvalidParameter(f"unknown or invalid runtime name: {name}")


def why_not_recursive(name: str, runtime: dict[str, Any] | None) -> str:
    """Why a runtime (as `find_runtime` gives it) cannot make trees of mounts read-only; "" when it can.

    Asks `<path> features` (OCI runtime spec, features.md) once for each path.
    """
    if runtime is None:
        return ""
    path = runtime["path"]
    if path not in _FEATURES:
        _FEATURES[path] = _mount_options(path)
    options = _FEATURES[path]
    if options is None:
        return f'rro is not supported by runtime "{name}": OCI features struct is not available'
    return "" if "rro" in options else f'rro is not supported by runtime "{name}"'


def _mount_options(path: str) -> list[str] | None:
    try:
        done = subprocess.run([path, "features"], capture_output=True, check=True, timeout=10)
        found = json.loads(done.stdout)["mountOptions"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return None
    return [str(option) for option in found]

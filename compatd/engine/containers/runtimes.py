"""Which OCI runtime a container's name of one stands for (dockerd's `--add-runtime`, `--default-runtime`)."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

from compatd.engine.errors import InvalidParameter

BUILTIN = "compatd"
BUILTIN_PATH = "compat-runtime"
_STATUS = "org.opencontainers.runtime-spec.features"
_FEATURES: dict[str, dict[str, Any] | None] = {}
"""What the runtimes at these paths say they can; None when they say nothing."""

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
    found = features(runtime["path"])
    options = found.get("mountOptions") if found else None
    if not isinstance(options, list):
        return f'rro is not supported by runtime "{name}": OCI features struct is not available'
    return "" if "rro" in options else f'rro is not supported by runtime "{name}"'


def features(path: str) -> dict[str, Any] | None:
    """What `PATH features` prints (OCI runtime spec, features.md), None where it does not; asked once.

    Blocks.
    """
    if path not in _FEATURES:
        _FEATURES[path] = _ask(path)
    return _FEATURES[path]


def statuses(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """`/info`'s `status` of the runtimes at these paths, of those that say what they can. Blocks."""
    found = {path: features(_place(path)) for path in paths}
    return {path: {_STATUS: json.dumps(said, separators=(",", ":"))} for path, said in found.items() if said}


def _place(path: str) -> str:
    return path if path == BUILTIN_PATH else shutil.which(path) or path


def _ask(path: str) -> dict[str, Any] | None:
    if path == BUILTIN_PATH:
        from runtime.oci.cli import features as own

        return own()
    try:
        done = subprocess.run([path, "features"], capture_output=True, check=True, timeout=10)
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return found if isinstance(found, dict) else None

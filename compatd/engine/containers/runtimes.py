"""Which OCI runtime a container's name of one stands for (dockerd's `--add-runtime`, `--default-runtime`)."""

import shutil
from typing import Any

from compatd.engine.errors import InvalidParameter

BUILTIN = "compatd"
_STOCK = {"runc": "runc", "io.containerd.runc.v2": "runc", "crun": "crun"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_runtime(name: str, configured: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """shim.json's "runtime": None for the built-in one, else `{"path": …, "args": […]}`.

    Raises InvalidParameter `unknown or invalid runtime name: …`.
    """
    if name in configured:
        entry = configured[name]
        path = str(entry.get("path") or "")
        if path:
            return {
                "path": shutil.which(path) or path,
                "args": list(entry.get("runtimeArgs") or entry.get("args") or []),
            }
        name = str(entry.get("runtimeType") or "")
    if name == BUILTIN:
        return None
    if name in _STOCK:
        found = shutil.which(_STOCK[name], path=_PATH)
        if found:
            return {"path": found, "args": []}
    raise InvalidParameter(f"unknown or invalid runtime name: {name}")

"""Another OCI runtime, where a bundle asks for one: `runtime.external` with the bundle's folders."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.external import External

#: In the bundle: the other runtime's state and what we hand to it.
FOLDER = "runtime"


def open_external(bundle: str, config: dict[str, Any]) -> External | None:
    """The other runtime that ShimConfig's `runtime` names, None for the built-in one."""
    chosen = config.get("runtime")
    if not chosen:
        return None
    from runtime.external import External

    folder = os.path.join(bundle, FOLDER)
    return External(chosen["path"], chosen.get("args") or [], config["id"], folder)


def remove_folder(bundle: str) -> None:
    """Remove our folder for the other runtime and all in it. Nothing is mounted there."""
    for path, folders, names in os.walk(os.path.join(bundle, FOLDER), topdown=False):
        for name in names:
            os.unlink(os.path.join(path, name))
        for name in folders:
            below = os.path.join(path, name)
            if os.path.islink(below):
                os.unlink(below)
            else:
                os.rmdir(below)
        if path.endswith("/" + FOLDER):
            os.rmdir(path)

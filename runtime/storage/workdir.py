"""The worker that makes a container's working directory in its own layer when the image lacks it."""

from __future__ import annotations

import os

from runtime import syscalls
from runtime.init import paths, users
from runtime.init.errors import UserError
from runtime.init.road import Road
from runtime.init.rootfs import OverlayRoot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ELOOP = 40
_ENOTDIR = 20


def is_there(lower: list[str], path: str) -> bool:
    """Whether a folder is at `path` in the layers (top first), as far as can be seen without mounting them.

    False means that it has to be looked at closely. True may be wrong for what an upper layer hides; then
    the folder is made by the container's start.
    """
    parts = [part for part in path.split("/") if part]
    for layer in lower:
        here = layer
        for part in parts:
            here = f"{here}/{part}"
            try:
                mode = os.lstat(here).st_mode
            except FileNotFoundError:
                break
            except OSError:
                return False
            if mode & 0o170000 != 0o040000:
                return False
        else:
            return True
    return False


def run(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Make the folder "path" (absolute, in the container) with all above it, mode 0755, owned by root or
    "user".

    "overlay": `Storage.root_plan(...)["overlay"]`; "mount": an empty folder of the host to mount on (unseen
    by others); "user": as in an image's config, looked up there. Answer: {} or {"error": text}.
    """
    path = arguments["path"]
    try:
        flat = arguments["overlay"].get("flat")
        if is_there([flat] if flat else arguments["overlay"]["lower"], path):
            return {}
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        road = Road(arguments["mount"], None, None)
        OverlayRoot(arguments["overlay"]).run(road)
        os.umask(0)
        owner = users.resolve(road.root, arguments["user"]) if arguments.get("user") else None
        made: list[str] = []
        found = paths.ensure(road.root, path, folder=True, made=made)
        if owner:
            for one in made:
                os.chown(one, owner.uid, owner.gid, follow_symlinks=False)
        if os.fstat(found).st_mode & 0o170000 != 0o040000:
            return {"error": f"Cannot mkdir: {path} is not a directory"}
    except UserError as error:
        return {"error": str(error)}
    except OSError as error:
        if error.errno == _ELOOP:  # as /proc/self/fd/7 at a start: chdir and its check will tell
            return {}
        if error.errno == _ENOTDIR:
            return {"error": f"lstat {path}: not a directory"}
        return {"error": f"mkdir {path}: {(error.strerror or str(error)).lower()}"}
    return {}

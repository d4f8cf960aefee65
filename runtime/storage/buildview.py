"""What COPY and ADD see: the files that they read and the root that they write to, and nothing of the host.

Contexts and images are hostile. As in `containerfs` all is gathered as mounts, in a mount namespace of the
worker's own, on a small tmpfs that then is the only tree there is. No name that a Dockerfile, a context or an
image chose is ever looked up outside of it, and nothing may be imported any more after `enter`.
"""

from __future__ import annotations

import os

from runtime import syscalls
from runtime.init.rootfs import OverlayRoot
from runtime.storage.containerfs import SAFE, Mounted, pivot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class View:
    """fds of the roots: `target` (-1: none), `sources` in the order in which they were asked for."""

    def __init__(self, target: int, sources: list[int]) -> None:
        self.target, self.sources = target, sources


def enter(arguments: Json) -> View:
    """Leave the host for the trees that `arguments` tells of. Raises OSError.

    "scratch": a folder of the host to mount on, unseen by others; "target": null, or `Snapshots.view`;
    "sources": a list of {"folder": path}, {"lower": [folders, top first]}, {"files": {name: text}}.
    """
    os.umask(0)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    scratch = arguments["scratch"]
    syscalls.mount("tmpfs", scratch, "tmpfs", syscalls.MS_NODEV | syscalls.MS_NOSUID, "mode=0700")
    top = os.open(scratch, syscalls.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    target = -1
    if arguments.get("target"):
        target = _mount(arguments["target"], f"{scratch}/t")
    sources = [_source(source, f"{scratch}/{number}") for number, source in enumerate(arguments["sources"])]
    pivot(top)
    return View(target, sources)


def _source(source: Json, place: str) -> int:
    if "files" in source:
        os.mkdir(place, 0o755)
        for name, text in source["files"].items():
            with open(f"{place}/{name}", "xb", opener=_new) as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        return os.open(place, _OPEN)
    plan = {"flat": source["folder"]} if "folder" in source else {"lower": source["lower"]}
    return _mount(plan, place, readonly=True)


def _new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def _mount(plan: Json, place: str, *, readonly: bool = False) -> int:
    os.mkdir(place, 0o755)
    if not plan.get("flat") and not plan.get("lower"):
        if not plan.get("upper"):
            return os.open(place, _OPEN)  # an image without layers
        plan = {"flat": plan["upper"]}
    mounted = Mounted(place)
    OverlayRoot({"lower": [], **plan}).run(mounted)  # type: ignore[arg-type,typeddict-item,unused-ignore]
    attributes = SAFE | (syscalls.MOUNT_ATTR_RDONLY if readonly else 0)
    syscalls.mount_setattr(mounted.root, set=attributes)
    os.close(mounted.root)
    return os.open(place, _OPEN)

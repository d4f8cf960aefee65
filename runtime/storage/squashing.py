"""The worker that makes one layer's folder of several: `runtime.storage.squashing:run`.

Files are linked, not copied: a layer's files never change. What hides something of the layers below stays,
and what hides nothing (any more) goes.
"""

from __future__ import annotations

import os
import resource
import stat
import sys

from runtime.storage.tree import OPEN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OPAQUE = "trusted.overlay.opaque"
_DEPTH = 4096


def run(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Fill the empty folder "target" with what "layers" come to on top of "below" (folders, top first).

    Answer: {} or {"error": text, "errno"}.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # some a level
    sys.setrecursionlimit(2 * _DEPTH)
    try:
        layers = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in arguments["layers"]]
        below = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in arguments["below"]]
        target = os.open(arguments["target"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        merge(target, layers, below)
    except OSError as error:
        return {"error": (error.strerror or str(error)).lower(), "errno": error.errno}
    return {}


def merge(target: int, layers: list[int], below: list[int]) -> None:
    """One folder: `layers` and `below` are what stands at its place, fds, top first. Raises OSError."""
    seen: set[bytes] = set()
    for number, layer in enumerate(layers):
        for name in map(os.fsencode, os.listdir(layer)):
            if name in seen:
                continue
            seen.add(name)
            found = _lstat(layer, name)
            if found is None:
                continue
            if _hides(found):
                if _shown(below, name):
                    os.mknod(name, stat.S_IFCHR, 0, dir_fd=target)
            elif stat.S_ISDIR(found.st_mode):
                _folder(target, name, found, layers[number:], below)
            else:
                os.link(name, name, src_dir_fd=layer, dst_dir_fd=target, follow_symlinks=False)


def _folder(target: int, name: bytes, info: os.stat_result, layers: list[int], below: list[int]) -> None:
    upper, closed = _stack(layers, name)
    lower = [] if closed else _stack(below, name)[0]
    os.mkdir(name, 0o700, dir_fd=target)
    made = os.open(name, OPEN_DIRECTORY, dir_fd=target)
    try:
        merge(made, upper, lower)
        for key in os.listxattr(upper[0]):
            if not key.startswith("trusted.overlay."):
                os.setxattr(made, key, os.getxattr(upper[0], key))
        if closed and _shown(below, name):
            os.setxattr(made, _OPAQUE, b"y")
        os.fchown(made, info.st_uid, info.st_gid)
        os.fchmod(made, stat.S_IMODE(info.st_mode))
        os.utime(made, ns=(info.st_atime_ns, info.st_mtime_ns))
    finally:
        for fd in (made, *upper, *lower):
            os.close(fd)


def _stack(layers: list[int], name: bytes) -> tuple[list[int], bool]:
    """The folders of that name that are seen together, and whether nothing below them is seen."""
    found: list[int] = []
    for layer in layers:
        info = _lstat(layer, name)
        if info is None:
            continue
        if not stat.S_ISDIR(info.st_mode):
            return found, True
        found.append(os.open(name, OPEN_DIRECTORY, dir_fd=layer))
        if _is_opaque(found[-1]):
            return found, True
    return found, False


def _shown(layers: list[int], name: bytes) -> bool:
    """Whether something of that name is seen."""
    for layer in layers:
        info = _lstat(layer, name)
        if info is not None:
            return not _hides(info)
    return False


def _lstat(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _hides(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _is_opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, _OPAQUE) == b"y"
    except OSError:
        return False

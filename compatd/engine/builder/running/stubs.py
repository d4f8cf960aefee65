"""Mount points that the runtime has made in a root, and that must not stay in the layer.

BuildKit's rule (moby/buildkit executor/stubs.go): what was not there before goes again if it is empty, with
the folders that were made for it; the folder above keeps its time.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from runtime import syscalls

_WITHIN = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS


def made(bundle: Path) -> list[str]:
    """What the start of a container has made and told, parents first; [] when it did not come so far."""
    try:
        found = json.loads((bundle / "state.json").read_bytes()).get("made")
    except (OSError, ValueError):
        return []
    return [path for path in found or () if isinstance(path, str)]


def remove(folder: Path, paths: Iterable[str]) -> None:
    """Remove those of `paths` below `folder` that are empty, the last ones first. Never raises.

    `folder` is what a command could write to: no link in it is followed. Nothing may run in it any more.
    """
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in sorted(set(paths), key=lambda path: path.count("/"), reverse=True):
            _remove(root, path.strip("/"))
    finally:
        os.close(root)


def _remove(root: int, path: str) -> None:
    above, _, name = path.rpartition("/")
    try:
        parent = syscalls.openat2(root, above or ".", os.O_RDONLY | os.O_DIRECTORY, _WITHIN)
    except OSError:
        return  # below another mount, or replaced by the command
    try:
        before = os.fstat(parent)
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if info.st_mode & 0o170000 == 0o040000:
            os.rmdir(name, dir_fd=parent)
        elif info.st_mode & 0o170000 == 0o100000 and info.st_size == 0:
            os.unlink(name, dir_fd=parent)
        else:
            return
        os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError:
        return
    finally:
        os.close(parent)

"""Paths in the container's tree, resolved by the kernel inside that tree, on fds.

A container's image or another container that shares a volume may put symlinks anywhere and change them at any
time. So a target is opened once with openat2(RESOLVE_IN_ROOT), and the mount goes onto that fd: no name is
looked up twice (CVE-2021-30465, CVE-2024-45310).
"""

from __future__ import annotations

import os

from runtime import syscalls as s

_RESOLVE = s.RESOLVE_IN_ROOT | s.RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 255


def open_in(root: int, path: str, flags: int = s.O_PATH, *, follow: bool = True) -> int:
    """Open what `path` is inside `root`. With `follow=False` a symlink anywhere in the path is ELOOP."""
    return s.openat2(root, path, flags, _RESOLVE if follow else _RESOLVE | s.RESOLVE_NO_SYMLINKS)


def ensure(
    root: int,
    path: str,
    *,
    folder: bool,
    mode: int = 0o755,
    follow: bool = True,
    made: list[str] | None = None,
) -> int:
    """O_PATH fd of `path` in `root`; what is missing is made, one component at a time, on fds.

    `folder=False` makes an empty file at the end. A symlink that points nowhere is made to point somewhere
    (as runc's securejoin does) unless `follow` is false. `made` gets what is made, as it was reached: parents
    first, no links in it, below the root's own path. Raises OSError.
    """
    try:
        return open_in(root, path, follow=follow)
    except FileNotFoundError:
        pass
    parts = _parts(path)
    links = 0
    done = 0  # parts[:done] is known to exist
    while True:
        base = open_in(root, "/".join(parts[:done]) or ".", s.O_PATH | os.O_DIRECTORY, follow=follow)
        try:
            while done < len(parts):
                last = done == len(parts) - 1
                new = _make(base, parts[done], folder or not last, mode)
                if not new:
                    target = _readlink(base, parts[done])
                    if target is not None:
                        links += 1
                        if not follow or links > _MAX_LINKS:
                            raise OSError(40, os.strerror(40), path)
                        head = [] if target.startswith("/") else parts[:done]
                        parts, done = _parts("/".join([*head, target, *parts[done + 1 :]])), 0
                        break
                flags = s.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if last else os.O_DIRECTORY)
                following = os.open(parts[done], flags, dir_fd=base)
                if new and made is not None:
                    made.append(os.readlink(f"/proc/self/fd/{following}"))
                os.close(base)
                base = following
                done += 1
            else:
                result, base = base, -1
                return result
        finally:
            if base >= 0:
                os.close(base)


def _parts(path: str) -> list[str]:
    """Components with `.` and `..` taken out lexically; `..` never leaves the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _make(base: int, name: str, folder: bool, mode: int) -> bool:
    try:
        if folder:
            os.mkdir(name, mode, dir_fd=base)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_WRONLY
            os.close(os.open(name, flags, mode, dir_fd=base))
    except FileExistsError:
        return False
    return True


def _readlink(base: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=base)
    except OSError:
        return None

"""The layer between an image and a container: mount points that Docker makes in every root.

They must exist before a read-only root is mounted, and must not show up as a container's own change. Docker
makes `/.dockerenv`, `/dev/console`, `/dev/pts`, `/dev/shm`, `/etc/hosts`, `/etc/hostname`,
`/etc/resolv.conf`, `/etc/mtab`, `/proc` and `/sys`. What the image has at the files' places (or symlinks on
the way) is hidden: a mount must land inside the root.
"""

import os
import stat

FOLDERS = ("dev/pts", "dev/shm", "proc", "sys")
FILES = (".dockerenv", "etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console")
LINKS = {"etc/mtab": "/proc/mounts"}


def build(target: str, diffs: list[str]) -> None:
    """Fill the empty folder `target` for an image with these layer folders, top first. Raises OSError."""
    for path in FOLDERS:
        _folder(target, path, diffs)
    for path in FILES:
        _folder(target, os.path.dirname(path), diffs)
        fd = os.open(f"{target}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        os.fchmod(fd, 0o755)
        os.close(fd)
    for path, link in LINKS.items():
        _folder(target, os.path.dirname(path), diffs)
        os.symlink(link, f"{target}/{path}")


def _folder(target: str, path: str, diffs: list[str]) -> None:
    """Make `path` in `target` with the owner, mode and times of the image's folder there, if it has one."""
    if not path or os.path.isdir(f"{target}/{path}"):
        return
    parent = os.path.dirname(path)
    _folder(target, parent, diffs)
    os.mkdir(f"{target}/{path}")
    found = attributes(path, diffs)
    os.chmod(f"{target}/{path}", stat.S_IMODE(found.st_mode) if found else 0o755)
    if found:
        os.chown(f"{target}/{path}", found.st_uid, found.st_gid)
        os.chmod(f"{target}/{path}", stat.S_IMODE(found.st_mode))
        os.utime(f"{target}/{path}", ns=(found.st_atime_ns, found.st_mtime_ns))


def attributes(path: str, diffs: list[str]) -> os.stat_result | None:
    """What the merged layers show at `path` if it is a folder reached through folders only, or None."""
    for diff in diffs:
        position = diff
        found = None
        opaque = False
        for part in path.split("/"):
            position += "/" + part
            try:
                found = os.lstat(position)
            except OSError:
                found = None
                break
            if not stat.S_ISDIR(found.st_mode):
                return None  # a file, a link, or a whiteout of what is below
            opaque = opaque or _opaque(position)
        if found is not None:
            return found
        if opaque:
            return None
    return None


def _opaque(path: str) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False

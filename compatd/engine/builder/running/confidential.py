"""`RUN --mount=type=secret`: files on a tmpfs that lives as long as the command, and variables."""

import os
from pathlib import Path

from runtime import syscalls

FOLDER = "secrets"  # below the bundle
_MODE = 0o400


class Vault:
    """The tmpfs of one RUN. Blocking: to be used in a thread."""

    def __init__(self, bundle: Path) -> None:
        self._folder = bundle / FOLDER
        self._count = 0

    def put(self, data: bytes, uid: int, gid: int, mode: int | None) -> Path:
        """A file with that content. Raises OSError."""
        if not self._count:
            self._folder.mkdir(mode=0o700)
            flags = syscalls.MS_NODEV | syscalls.MS_NOSUID
            syscalls.mount("tmpfs", str(self._folder), "tmpfs", flags, "mode=0700")
        path = self._folder / str(self._count)
        self._count += 1
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            os.fchown(fd, uid, gid)
            os.fchmod(fd, _MODE if mode is None else mode & 0o777)
        return path

    def close(self) -> None:
        """Take it away; nothing is no error."""
        if self._count:
            syscalls.umount(str(self._folder), syscalls.MNT_DETACH)
            self._folder.rmdir()
            self._count = 0

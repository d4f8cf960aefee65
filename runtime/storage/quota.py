"""Project quotas: how much a folder may take of its file system (quotactl_fd(2), ioctl_xfs_fsgetxattr(2)).

A folder with a project ID gives it to all that is made below; the kernel counts and limits by it. xfs has
project quotas when mounted with `pquota`, ext4 when made with `-O quota,project` and mounted with `prjquota`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading

from runtime import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# linux/fs.h
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FS_XFLAG_PROJINHERIT = 0x200
# linux/dqblk_xfs.h, linux/quota.h
Q_XGETQUOTA, Q_XSETQLIM, Q_XGETQSTAT = 0x5803, 0x5804, 0x5805
PRJQUOTA = 2
FS_QUOTA_PDQ_ACCT, FS_QUOTA_PDQ_ENFD = 1 << 4, 1 << 5
FS_DQ_BSOFT, FS_DQ_BHARD = 1 << 2, 1 << 3
FS_DQUOT_VERSION, FS_PROJ_QUOTA = 1, 2
_SECTOR = 512

# struct fsxattr: flags, extent size, extents, project, extent size of copies
_ATTRIBUTES = struct.Struct("=5I8x")
# struct fs_disk_quota: version, flags, fields, ID; limits hard and soft of blocks, then of inodes; blocks; …
_LIMITS = struct.Struct("=bbHI5Q64x")
# struct fs_quota_stat: version, flags, …
_STATUS = struct.Struct("=bxH76x")


def limits(project: int, size: int) -> bytes:
    """A `struct fs_disk_quota` that limits the project to `size` bytes; 0 is no limit."""
    blocks = size // _SECTOR
    fields = FS_DQ_BSOFT | FS_DQ_BHARD
    return _LIMITS.pack(FS_DQUOT_VERSION, FS_PROJ_QUOTA, fields, project, blocks, blocks, 0, 0, 0)


class Quotas:
    """The project quotas of one file system, on whose `folder` all others lie."""

    def __init__(self, folder: Path, taken: Iterable[Path]) -> None:
        """taken: folders below which project IDs are in use already. Raises OSError where quotas are off.

        IDs begin after the folder's own, so an administrator can keep those before it.
        """
        self._folder = folder
        status = bytearray(_STATUS.size)
        self._call(Q_XGETQSTAT, 0, status)
        flags = _STATUS.unpack(status)[1]
        if not flags & FS_QUOTA_PDQ_ACCT or not flags & FS_QUOTA_PDQ_ENFD:
            raise OSError(95, "project quotas are not enforced", str(folder))
        # Nobody has this one: it tells whether limits can be set at all.
        probe = project_of(folder) + 1
        self._next = max([probe, *(project_of(path) for path in taken)]) + 1
        self._lock = threading.Lock()
        self._call(Q_XSETQLIM, probe, bytearray(limits(probe, 0)))

    def limit(self, folder: Path, size: int) -> None:
        """Limit a new, empty folder to `size` bytes. Raises OSError."""
        with self._lock:
            project, self._next = self._next, self._next + 1
        _set_project(folder, project)
        self._call(Q_XSETQLIM, project, bytearray(limits(project, size)))

    def limit_of(self, folder: Path) -> tuple[int, int]:
        """A folder's limit, and how much is in use, in bytes. Raises OSError."""
        answer = bytearray(_LIMITS.size)
        self._call(Q_XGETQUOTA, project_of(folder), answer)
        fields = _LIMITS.unpack(answer)
        return fields[4] * _SECTOR, fields[8] * _SECTOR

    def _call(self, command: int, project: int, buffer: bytearray) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syscalls.quotactl_fd(fd, command << 8 | PRJQUOTA, project, buffer)
        finally:
            os.close(fd)


def project_of(folder: Path) -> int:
    """The folder's project ID. Raises OSError."""
    return int(_attributes(folder)[3])


def _attributes(folder: Path) -> tuple[int, ...]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _ATTRIBUTES.unpack(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(_ATTRIBUTES.size)))
    finally:
        os.close(fd)


def _set_project(folder: Path, project: int) -> None:
    flags, extent, extents, _, copies = _attributes(folder)
    packed = _ATTRIBUTES.pack(flags | FS_XFLAG_PROJINHERIT, extent, extents, project, copies)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, packed)
    finally:
        os.close(fd)

"""Project quotas: the kernel's structures, byte by byte, and what is said where there are none."""

import struct
from pathlib import Path

import pytest

from runtime.storage import base, quota
from runtime.storage.base import Storage, StorageError
from runtime.storage.overlay import Overlay
from runtime.storage.quota import Quotas
from runtime.storage.vfs import Vfs


def test_limits_are_a_struct_fs_disk_quota() -> None:
    """Offsets as a C compiler gives them for linux/dqblk_xfs.h."""
    packed = quota.limits(0x01020304, 10 << 20)
    assert len(packed) == 112
    assert packed[:4] == struct.pack("=bbH", 1, 2, 1 << 2 | 1 << 3)  # soft and hard limit of blocks
    assert struct.unpack_from("=I", packed, 4) == (0x01020304,)
    assert struct.unpack_from("=2Q", packed, 8) == (20480, 20480)
    assert packed[24:] == bytes(88)


def test_no_limit_is_zero() -> None:
    assert struct.unpack_from("=2Q", quota.limits(1, 0), 8) == (0, 0)


class Kernel:
    """A file system whose folders have project IDs, and the quota calls that it got."""

    def __init__(self, flags: int = quota.FS_QUOTA_PDQ_ACCT | quota.FS_QUOTA_PDQ_ENFD) -> None:
        self.flags = flags
        self.projects: dict[str, tuple[int, int]] = {}  # path: flags, project
        self.limits: dict[int, int] = {}

    def quotactl_fd(self, fd: int, command: int, project: int, buffer: bytearray) -> None:
        kind, call = command & 0xFF, command >> 8
        assert kind == quota.PRJQUOTA
        if call == quota.Q_XGETQSTAT:
            assert len(buffer) == 80
            struct.pack_into("=H", buffer, 2, self.flags)
        elif call == quota.Q_XSETQLIM:
            self.limits[project] = struct.unpack_from("=Q", buffer, 8)[0] * 512
        else:
            assert call == quota.Q_XGETQUOTA
            buffer[:] = quota.limits(project, self.limits[project])
            struct.pack_into("=Q", buffer, 40, 6)

    def ioctl(self, fd: int, request: int, argument: bytes) -> bytes:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        if request in (base.FS_IOC_GETFLAGS, base.FS_IOC_SETFLAGS):
            raise OSError(25, "not this file system")
        assert len(argument) == 28
        if request == quota.FS_IOC_FSSETXATTR:
            flags, *_, project, _ = struct.unpack("=5I8x", argument)
            self.projects[path] = flags, project
            return argument
        assert request == quota.FS_IOC_FSGETXATTR
        flags, project = self.projects.get(path, (0, 0))
        return struct.pack("=5I8x", flags, 0, 0, project, 0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(quota.syscalls, "quotactl_fd", made.quotactl_fd)
    monkeypatch.setattr(quota.fcntl, "ioctl", made.ioctl)
    return made


def test_each_folder_gets_a_project_of_its_own(kernel: Kernel, tmp_path: Path) -> None:
    old, one, two = (tmp_path / name for name in ("old", "one", "two"))
    for folder in (old, one, two):
        folder.mkdir()
    kernel.projects[str(tmp_path)], kernel.projects[str(old)] = (0, 999), (0, 1003)
    quotas = Quotas(tmp_path, [old])
    assert kernel.limits == {1000: 0}
    quotas.limit(one, 1 << 20)
    quotas.limit(two, 2 << 20)
    assert kernel.projects[str(one)] == (quota.FS_XFLAG_PROJINHERIT, 1004)
    assert kernel.projects[str(two)] == (quota.FS_XFLAG_PROJINHERIT, 1005)
    assert (kernel.limits[1004], kernel.limits[1005]) == (1 << 20, 2 << 20)
    assert quotas.limit_of(one) == (1 << 20, 6 * 512)


@pytest.mark.parametrize("flags", [0, quota.FS_QUOTA_PDQ_ACCT])
def test_quotas_that_are_not_enforced(kernel: Kernel, tmp_path: Path, flags: int) -> None:
    kernel.flags = flags
    with pytest.raises(OSError, match="not enforced"):
        Quotas(tmp_path, [])


@pytest.mark.parametrize("driver", [Overlay, Vfs])
def test_containers_are_limited(kernel: Kernel, tmp_path: Path, driver: type[Storage]) -> None:
    storage = driver(tmp_path, 5 << 20)
    storage.open()
    storage.create_rw("as-all")
    storage.create_rw("more", 7 << 20)
    storage.create_rw("free", 0)
    projects = {name: quota.project_of(storage.rw / name) for name in ("as-all", "more", "free")}
    assert (kernel.limits[projects["as-all"]], kernel.limits[projects["more"]]) == (5 << 20, 7 << 20)
    assert projects["free"] == 0
    before = dict(kernel.limits)
    again = driver(tmp_path)
    again.open()
    assert kernel.limits == before  # another start of the daemon takes no limit away
    again.create_rw("later", 1 << 20)
    assert quota.project_of(storage.rw / "later") > max(projects.values())


def test_a_limit_for_all_without_quotas(kernel: Kernel, tmp_path: Path) -> None:
    kernel.flags = 0
    with pytest.raises(StorageError, match="Filesystem does not support, or has not enabled quotas"):
        Vfs(tmp_path, 1 << 20).open()
    with pytest.raises(StorageError, match=r"^Storage [Oo]ption overlay2\.size "):
        Overlay(tmp_path, 1 << 20).open()
    storage = Overlay(tmp_path)
    storage.open()
    assert storage.quotas is None

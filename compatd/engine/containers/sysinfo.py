"""What this kernel can limit: the facts behind dockerd's warnings (cgroups(7), namespaces(7))."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SysInfo:
    """Each flag says that a limit works here. `cpus` and `mems` are lists such as `0-3,5`."""

    cgroup_v2: bool = False
    memory: bool = True
    swap: bool = True
    swappiness: bool = True
    reservation: bool = True
    oom_kill_disable: bool = True
    pids: bool = True
    cpu_shares: bool = True
    cpu_cfs: bool = True
    cpu_realtime: bool = False
    cpuset: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_throttle: bool = True
    cgroup_namespaces: bool = True
    ipv4_forwarding: bool = True
    cpus: str = "0"
    mems: str = "0"
    cpu_count: int = 1


def detect(root: Path = Path("/")) -> SysInfo:
    """Read the facts from `/proc` and `/sys/fs/cgroup` below `root`."""
    cgroups = root / "sys/fs/cgroup"
    if (cgroups / "cgroup.controllers").exists():
        return _unified(root, cgroups)
    return _legacy(root, cgroups)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _common(root: Path) -> tuple[bool, bool, int]:
    namespaces = (root / "proc/self/ns/cgroup").exists()
    forwarding = _read(root / "proc/sys/net/ipv4/ip_forward") == "1"
    return namespaces, forwarding, os.cpu_count() or 1


def _legacy(root: Path, cgroups: Path) -> SysInfo:
    def has(controller: str, file: str) -> bool:
        return (cgroups / controller / file).exists()

    namespaces, forwarding, count = _common(root)
    return SysInfo(
        cgroup_v2=False,
        memory=has("memory", "memory.limit_in_bytes"),
        swap=has("memory", "memory.memsw.limit_in_bytes"),
        swappiness=has("memory", "memory.swappiness"),
        reservation=has("memory", "memory.soft_limit_in_bytes"),
        oom_kill_disable=has("memory", "memory.oom_control"),
        pids=(cgroups / "pids").is_dir(),
        cpu_shares=has("cpu", "cpu.shares"),
        cpu_cfs=has("cpu", "cpu.cfs_quota_us"),
        cpu_realtime=has("cpu", "cpu.rt_period_us"),
        cpuset=has("cpuset", "cpuset.cpus"),
        blkio_weight=has("blkio", "blkio.weight"),
        blkio_weight_device=has("blkio", "blkio.weight_device"),
        blkio_throttle=has("blkio", "blkio.throttle.read_bps_device"),
        cgroup_namespaces=namespaces,
        ipv4_forwarding=forwarding,
        cpus=_read(cgroups / "cpuset/cpuset.cpus"),
        mems=_read(cgroups / "cpuset/cpuset.mems"),
        cpu_count=count,
    )


def _unified(root: Path, cgroups: Path) -> SysInfo:
    controllers = _read(cgroups / "cgroup.controllers").split()
    namespaces, forwarding, count = _common(root)
    return SysInfo(
        cgroup_v2=True,
        memory="memory" in controllers,
        swap="memory" in controllers,
        swappiness=False,
        reservation="memory" in controllers,
        oom_kill_disable=False,
        pids="pids" in controllers,
        cpu_shares="cpu" in controllers,
        cpu_cfs="cpu" in controllers,
        cpu_realtime=False,
        cpuset="cpuset" in controllers,
        blkio_weight="io" in controllers,
        blkio_weight_device="io" in controllers,
        blkio_throttle="io" in controllers,
        cgroup_namespaces=namespaces,
        ipv4_forwarding=forwarding,
        cpus=_read(cgroups / "cpuset.cpus.effective"),
        mems=_read(cgroups / "cpuset.mems.effective"),
        cpu_count=count,
    )


def parse_cpu_list(text: str) -> set[int]:
    """`0-3,5` → {0, 1, 2, 3, 5}. Raises ValueError in the words of Docker's parser."""
    result: set[int] = set()
    for part in filter(None, (item.strip() for item in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"invalid format: {text}")
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high > 8192:
            raise ValueError(f"invalid format: {text}")
        result.update(range(low, high + 1))
    return result

"""What this machine's kernel can limit and guard, and the warnings where it cannot (cgroups(7))."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compatd.engine import apparmor
from compatd.engine.cgroupdriver import CGROUPFS, cgroup_driver

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_THROTTLES = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}


@dataclass(frozen=True)
class SysInfo:
    """Each flag says that something works here. `cpus` and `mems` are lists such as `0-3,5`."""

    cgroup_v2: bool = False
    cgroup_driver: str = CGROUPFS
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
    seccomp: bool = True
    apparmor: bool = False
    cpus: str = "0"
    mems: str = "0"
    cpu_count: int = 1

    @property
    def cgroup_version(self) -> str:
        """`1` (the hybrid layout also) or `2`, as `/info` has it."""
        return "2" if self.cgroup_v2 else "1"


def detect(root: Path = Path("/"), exec_opts: Iterable[str] = ()) -> SysInfo:
    """Read the facts from `/proc` and `/sys` below `root`; `exec_opts` are the daemon's.

    Raises EngineError for a cgroup driver that cannot be had.
    """
    cgroups = root / "sys/fs/cgroup"
    unified = (cgroups / "cgroup.controllers").exists()
    return SysInfo(
        cgroup_v2=unified,
        cgroup_driver=cgroup_driver(exec_opts, cgroup_v2=unified),
        cgroup_namespaces=(root / "proc/self/ns/cgroup").exists(),
        ipv4_forwarding=_read(root / _FORWARDING.relative_to("/")) == "1",
        seccomp=(root / "proc/sys/kernel/seccomp/actions_avail").exists(),
        apparmor=apparmor.supported(root),
        cpu_count=os.cpu_count() or 1,
        **(_unified(cgroups) if unified else _legacy(cgroups)),
    )


def forwarding_now(info: SysInfo) -> SysInfo:
    """The same with the kernel's forwarding of IPv4 as it is now."""
    return replace(info, ipv4_forwarding=_read(_FORWARDING) == "1")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _legacy(cgroups: Path) -> dict[str, Any]:
    def has(controller: str, *files: str) -> bool:
        return any((cgroups / controller / file).exists() for file in files)

    return {
        "memory": has("memory", "memory.limit_in_bytes"),
        "swap": has("memory", "memory.memsw.limit_in_bytes"),
        "swappiness": has("memory", "memory.swappiness"),
        "reservation": has("memory", "memory.soft_limit_in_bytes"),
        "oom_kill_disable": has("memory", "memory.oom_control"),
        "pids": (cgroups / "pids").is_dir(),
        "cpu_shares": has("cpu", "cpu.shares"),
        "cpu_cfs": has("cpu", "cpu.cfs_quota_us"),
        "cpu_realtime": has("cpu", "cpu.rt_period_us"),
        "cpuset": has("cpuset", "cpuset.cpus"),
        "blkio_weight": has("blkio", "blkio.weight"),
        "blkio_weight_device": has("blkio", "blkio.weight_device"),
        "blkio_throttle": has("blkio", "blkio.throttle.read_bps_device"),
        "cpus": _read(cgroups / "cpuset/cpuset.cpus"),
        "mems": _read(cgroups / "cpuset/cpuset.mems"),
    }


def _unified(cgroups: Path) -> dict[str, Any]:
    controllers = _read(cgroups / "cgroup.controllers").split()
    memory, cpu, io = "memory" in controllers, "cpu" in controllers, "io" in controllers
    return {
        "memory": memory,
        "swap": memory and _has_swap_file(cgroups),
        "swappiness": False,
        "reservation": memory,
        "oom_kill_disable": False,
        "pids": "pids" in controllers,
        "cpu_shares": cpu,
        "cpu_cfs": cpu,
        "cpu_realtime": False,
        "cpuset": "cpuset" in controllers,
        "blkio_weight": io,
        "blkio_weight_device": io,
        "blkio_throttle": io,
        "cpus": _read(cgroups / "cpuset.cpus.effective"),
        "mems": _read(cgroups / "cpuset.mems.effective"),
    }


def _has_swap_file(cgroups: Path) -> bool:
    """The root of v2 has no `memory.swap.max`; any group below it has, when the kernel accounts swap."""
    groups = [path for path in cgroups.iterdir() if (path / "memory.max").exists()]
    return not groups or any((path / "memory.swap.max").exists() for path in groups)


def warnings(info: SysInfo, *, forwarding: bool) -> list[str]:
    """The lines of `docker info` for what is missing, in dockerd's words and order.

    `forwarding`: whether the kernel forwards IPv4 now; this can change while the daemon runs.
    """
    lines = []
    if not info.memory:
        lines.append("WARNING: No memory limit support")
    if not info.swap:
        lines.append("WARNING: No swap limit support")
    if not info.oom_kill_disable and not info.cgroup_v2:
        lines.append("WARNING: No oom kill disable support")
    if not info.cpu_cfs:
        lines.append("WARNING: No cpu cfs quota support")
        lines.append("WARNING: No cpu cfs period support")
    if not info.cpu_shares:
        lines.append("WARNING: No cpu shares support")
    if not info.cpuset:
        lines.append("WARNING: No cpuset support")
    lines += _disk_warnings(info)
    if not forwarding:
        lines.append("WARNING: IPv4 forwarding is disabled")
    return lines


def _disk_warnings(info: SysInfo) -> list[str]:
    """Of weights dockerd says nothing on v1: kernels since 5.0 have none there, and nobody can help it."""
    lines = []
    if not info.blkio_weight and info.cgroup_v2:
        lines.append("WARNING: No io.weight support")
    if not info.blkio_weight_device and info.cgroup_v2:
        lines.append("WARNING: No io.weight (per device) support")
    if info.blkio_throttle:
        return lines
    for short, long in _THROTTLES.items():
        what = f"io.max ({short})" if info.cgroup_v2 else f"blkio throttle.{long}_device"
        lines.append(f"WARNING: No {what} support")
    return lines


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

"""What this machine's kernel can limit and guard, and the warnings where it cannot."""

from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")


class Features(NamedTuple):
    """What was found below the cgroup mount and in /proc."""

    cgroup_version: str
    memory: bool
    swap: bool
    oom_kill_disable: bool
    cpu_shares: bool
    cpu_quota: bool
    cpuset: bool
    pids: bool
    seccomp: bool
    apparmor: bool


def probe(cgroups: Path = CGROUPS, proc: Path = Path("/proc")) -> Features:
    """Look at the cgroup file system (v1: a folder a controller; v2: one tree) and at the kernel."""
    unified = (cgroups / "cgroup.controllers").exists()
    seccomp = (proc / "sys/kernel/seccomp/actions_avail").exists()
    apparmor = _reads(Path("/sys/module/apparmor/parameters/enabled"), "Y")
    if unified:
        controllers = (cgroups / "cgroup.controllers").read_text().split()
        return Features(
            cgroup_version="2",
            memory="memory" in controllers,
            swap="memory" in controllers and _has_swap_file(cgroups),
            oom_kill_disable=False,
            cpu_shares="cpu" in controllers,
            cpu_quota="cpu" in controllers,
            cpuset="cpuset" in controllers,
            pids="pids" in controllers,
            seccomp=seccomp,
            apparmor=apparmor,
        )
    return Features(
        cgroup_version="1",
        memory=(cgroups / "memory/memory.limit_in_bytes").exists(),
        swap=(cgroups / "memory/memory.memsw.limit_in_bytes").exists(),
        oom_kill_disable=(cgroups / "memory/memory.oom_control").exists(),
        cpu_shares=(cgroups / "cpu/cpu.shares").exists(),
        cpu_quota=(cgroups / "cpu/cpu.cfs_quota_us").exists(),
        cpuset=(cgroups / "cpuset/cpuset.cpus").exists(),
        pids=(cgroups / "pids").is_dir(),
        seccomp=seccomp,
        apparmor=apparmor,
    )


def _has_swap_file(cgroups: Path) -> bool:
    """The root of v2 has no `memory.swap.max`; any group below it has, when the kernel accounts swap."""
    groups = [path for path in cgroups.iterdir() if (path / "memory.max").exists()]
    return not groups or any((path / "memory.swap.max").exists() for path in groups)


def _reads(path: Path, start: str) -> bool:
    try:
        return path.read_text().startswith(start)
    except OSError:
        return False


def warnings(features: Features) -> list[str]:
    """The lines of `docker info` for what is missing, in dockerd's words and order."""
    lines = []
    if not features.memory:
        lines.append("WARNING: No memory limit support")
    if not features.swap:
        lines.append("WARNING: No swap limit support")
    if not features.oom_kill_disable and features.cgroup_version == "1":
        lines.append("WARNING: No oom kill disable support")
    if not features.cpu_quota:
        lines.append("WARNING: No cpu cfs quota support")
        lines.append("WARNING: No cpu cfs period support")
    if not features.cpu_shares:
        lines.append("WARNING: No cpu shares support")
    if not features.cpuset:
        lines.append("WARNING: No cpuset support")
    if not _reads(Path("/proc/sys/net/ipv4/ip_forward"), "1"):
        lines.append("WARNING: IPv4 forwarding is disabled")
    return lines

"""Control groups: version, controllers, who manages them (cgroups(7))."""

from collections.abc import Iterator

from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "cgroups"
_MOUNT = "/sys/fs/cgroup"
_V1 = ("cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio")
_V2 = ("cpu", "cpuset", "memory", "pids", "io")
_LOST = {
    "cpu": "--cpus and --cpu-shares",
    "cpuset": "--cpuset-cpus",
    "memory": "--memory",
    "pids": "--pids-limit",
    "io": "--device-read-bps and --blkio-weight",
    "blkio": "--device-read-bps and --blkio-weight",
    "devices": "rules for devices: a container with CAP_MKNOD reaches any device",
    "freezer": "docker pause",
}


def check(machine: Machine) -> Iterator[Finding]:
    """Which controllers are there, and whether memory can be limited at all."""
    if machine.exists(f"{_MOUNT}/cgroup.controllers"):
        here = machine.read(f"{_MOUNT}/cgroup.controllers").split()
        yield from _controllers("2", _V2, here)
        return
    here = [name for name in _V1 if machine.exists(f"{_MOUNT}/{name}/tasks")]
    if not here:
        yield Finding(
            NAME,
            PROBLEM,
            f"no control groups are mounted on {_MOUNT}",
            [f"mount -t cgroup2 cgroup2 {_MOUNT}", "boot with systemd, or install cgroupfs-mount"],
        )
        return
    yield from _controllers("1", _V1, here)
    if "memory" in here and not machine.exists(f"{_MOUNT}/memory/memory.memsw.limit_in_bytes"):
        yield Finding(
            NAME,
            WARNING,
            "swap is not limited (--memory-swap has no effect)",
            ["add swapaccount=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && reboot"],
        )


def _controllers(version: str, wanted: tuple[str, ...], here: list[str]) -> Iterator[Finding]:
    there = [name for name in wanted if name in here]
    yield Finding(NAME, OK, f"version {version}, with {', '.join(there) or 'no controllers'}")
    for name in wanted:
        if name in here:
            continue
        hint = (
            "add cgroup_enable=memory to the kernel's command line, then reboot"
            if name == "memory"
            else f"boot a kernel whose /proc/cgroups has {name} enabled"
        )
        yield Finding(NAME, WARNING, f"no controller {name}; not to be had: {_LOST[name]}", [hint])

"""cgroup v2: one hierarchy (Documentation/admin-guide/cgroup-v2)."""

from __future__ import annotations

import os
import time

from runtime.cgroups import base
from runtime.cgroups.base import Cgroup, CgroupError, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.cgroups.detect import Layout
    from runtime.spec import Resources

_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")


def cpu_weight(shares: int) -> int:
    """v1's cpu.shares [2, 262144] as cpu.weight [1, 10000] (the runtimes' agreed conversion)."""
    return 1 + ((shares - 2) * 9999) // 262142 if shares else 0


def io_weight(weight: int) -> int:
    """v1's blkio.weight [10, 1000] as io.weight [1, 10000]."""
    return 1 + (weight - 10) * 9999 // 990 if weight else 0


def memory_swap(swap: int, limit: int) -> str | None:
    """OCI's memory+swap total as memory.swap.max; None leaves it."""
    if swap == -1:
        return "max"
    if not swap:
        return None
    if limit == -1:
        return "max"
    if not limit:
        raise CgroupError("unable to set swap limit without memory limit")
    if swap < limit:
        raise CgroupError("memory+swap limit should be >= memory limit")
    return str(swap - limit)


class V2(Cgroup):
    def __init__(self, layout: Layout, path: str) -> None:
        super().__init__(path)
        self.root = layout.unified
        self.dir = layout.unified + self.path

    def folders(self) -> list[str]:
        return [self.dir]

    def mounts(self) -> list[tuple[str, str]]:
        return [("", self.dir)]

    def make(self, made: list[str], resources: Resources) -> None:
        parent = self.root
        for part in self.path.strip("/").split("/"):
            self._enable(parent)
            parent = f"{parent}/{part}"
            try:
                os.mkdir(parent, 0o755)
            except FileExistsError:
                continue
            except OSError as error:
                why = (error.strerror or "").lower()
                raise CgroupError(f"unable to apply cgroup configuration: mkdir {parent}: {why}") from None
            if parent == self.dir:  # the folders above are shared: they stay
                made.append(parent)

    @staticmethod
    def _enable(folder: str) -> None:
        """Hand the controllers down; one that cannot be had is missed only when a limit needs it."""
        have = base.read(folder, "cgroup.controllers").split()
        now = base.read(folder, "cgroup.subtree_control").split()
        wanted = [f"+{name}" for name in _CONTROLLERS if name in have and name not in now]
        if not wanted:
            return
        try:
            write(folder, "cgroup.subtree_control", " ".join(wanted))
        except CgroupError:
            for one in wanted:
                try:
                    write(folder, "cgroup.subtree_control", one)
                except CgroupError:
                    pass

    def apply(self, resources: Resources) -> None:
        self._memory(resources.get("memory") or {})
        self._cpu(resources.get("cpu") or {})
        self._io(resources.get("blockIO") or {})
        limit = (resources.get("pids") or {}).get("limit")
        if limit:
            write(self.dir, "pids.max", limit if limit > 0 else "max")
        for page in resources.get("hugepageLimits") or []:
            write(self.dir, f"hugetlb.{page['pageSize']}.max", page["limit"])
        if resources.get("devices"):
            from runtime.cgroups.device_program import attach

            attach(self.dir, resources["devices"])
        for name, value in (resources.get("unified") or {}).items():
            if "/" in name:
                raise CgroupError(f'unified resource "{name}" must be a file name (no slashes)')
            write(self.dir, name, value)

    def _memory(self, memory: dict[str, Any]) -> None:
        limit = memory.get("limit") or 0
        swap = memory_swap(memory.get("swap") or 0, limit)
        if limit and limit > 0:
            usage = base.number(base.read(self.dir, "memory.current"))
            if usage is not None and memory.get("checkBeforeUpdate") and limit < usage:
                raise CgroupError(f"unable to set memory limit to {limit} (current usage: {usage})")
        if swap is not None and os.path.exists(f"{self.dir}/memory.swap.max"):
            write(self.dir, "memory.swap.max", swap)
        if limit:
            write(self.dir, "memory.max", limit if limit > 0 else "max")
        if memory.get("reservation"):
            value = memory["reservation"]
            write(self.dir, "memory.low", value if value > 0 else "max")

    def _cpu(self, cpu: dict[str, Any]) -> None:
        if cpu.get("idle") is not None:
            write(self.dir, "cpu.idle", cpu["idle"])
        if cpu.get("shares"):
            write(self.dir, "cpu.weight", cpu_weight(cpu["shares"]))
        quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
        if quota or period:
            text = str(quota) if quota > 0 else "max"
            write(self.dir, "cpu.max", f"{text} {period}" if period else f"{text} 100000")
        if cpu.get("burst") is not None:
            write(self.dir, "cpu.max.burst", cpu["burst"])
        for key in ("cpus", "mems"):
            if cpu.get(key):
                write(self.dir, f"cpuset.{key}", cpu[key])

    def _io(self, block: dict[str, Any]) -> None:
        if block.get("weight"):
            if os.path.exists(f"{self.dir}/io.bfq.weight"):
                write(self.dir, "io.bfq.weight", block["weight"])
            elif os.path.exists(f"{self.dir}/io.weight"):
                write(self.dir, "io.weight", io_weight(block["weight"]))
        # io.weight takes a disk's only where somebody has set up a cost model for that: left out, as by runc.
        if os.path.exists(f"{self.dir}/io.bfq.weight"):
            for item in block.get("weightDevice") or []:
                write(self.dir, "io.bfq.weight", f"{item['major']}:{item['minor']} {item['weight']}")
        kinds = (
            ("throttleReadBpsDevice", "rbps"),
            ("throttleWriteBpsDevice", "wbps"),
            ("throttleReadIOPSDevice", "riops"),
            ("throttleWriteIOPSDevice", "wiops"),
        )
        for key, name in kinds:
            for item in block.get(key) or []:
                write(self.dir, "io.max", f"{item['major']}:{item['minor']} {name}={item['rate'] or 'max'}")

    def birth_fd(self) -> int:
        return os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_fds(self) -> list[int]:
        return [os.open(f"{self.dir}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)]

    def _frozen(self, state: int) -> None:
        write(self.dir, "cgroup.freeze", state)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if f"frozen {state}" in base.read(self.dir, "cgroup.events"):
                return
            time.sleep(0.001)
        raise CgroupError(f"timeout reached before Cgroup got {'frozen' if state else 'thawed'}")

    def freeze(self) -> None:
        self._frozen(1)

    def thaw(self) -> None:
        write(self.dir, "cgroup.freeze", 0)

    def frozen(self) -> bool:
        return base.read(self.dir, "cgroup.freeze").strip() == "1"

    def kill(self, signal: int) -> None:
        if signal == 9:
            try:
                write(self.dir, "cgroup.kill", 1)
                return
            except CgroupError:
                pass  # before Linux 5.14
        super().kill(signal)

    def oom_fd(self) -> int:
        from runtime.cgroups import inotify

        return inotify.watch(f"{self.dir}/memory.events")

    def oom_kills(self) -> int:
        return base.keyed(base.read(self.dir, "memory.events")).get("oom_kill", 0)

    def stats(self) -> dict[str, Any]:
        names = ("current", "peak", "max")
        return {
            "version": 2,
            "memory": {name: base.number(base.read(self.dir, f"memory.{name}")) for name in names}
            | {"stat": base.keyed(base.read(self.dir, "memory.stat")), "failcnt": self._events("oom")},
            "cpu": {"stat": base.keyed(base.read(self.dir, "cpu.stat"))},
            "pids": {
                "current": base.number(base.read(self.dir, "pids.current")),
                "limit": base.number(base.read(self.dir, "pids.max")),
            },
            "blkio": {"io_service_bytes_recursive": _io_entries(base.read(self.dir, "io.stat"))},
        }

    def _events(self, name: str) -> int:
        return base.keyed(base.read(self.dir, "memory.events")).get(name, 0)


def _io_entries(text: str) -> list[base.IoEntry]:
    """Lines of `major:minor rbytes=n wbytes=n …`."""
    entries: list[base.IoEntry] = []
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = dict(pair.partition("=")[::2] for pair in pairs)
        if minor.isdigit():
            entries += [
                (int(major), int(minor), operation, int(values.get(key) or 0))
                for operation, key in (("read", "rbytes"), ("write", "wbytes"))
            ]
    return entries

"""cgroup v1: a hierarchy a controller (Documentation/admin-guide/cgroup-v1)."""

from __future__ import annotations

import os
import time

from runtime.cgroups import base, devices
from runtime.cgroups.base import Cgroup, CgroupError, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.cgroups.detect import Layout
    from runtime.spec import Resources


_CFQ = (
    "sectors_recursive",
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queued_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "time_recursive",
)


class V1(Cgroup):
    def __init__(self, layout: Layout, path: str) -> None:
        super().__init__(path)
        self.layout = layout
        # Co-mounted controllers (cpu,cpuacct) are one folder.
        self.roots = list(dict.fromkeys(layout.folders.values()))

    def folder(self, controller: str) -> str:
        """The group's folder in the controller's hierarchy, '' when the kernel has no such controller."""
        root = self.layout.folders.get(controller, "")
        return root and root + self.path

    def folders(self) -> list[str]:
        return [root + self.path for root in self.roots]

    def mounts(self) -> list[tuple[str, str]]:
        return [(os.path.basename(root), root + self.path) for root in self.roots]

    def make(self, made: list[str], resources: Resources) -> None:
        cpuset = self.layout.folders.get("cpuset")
        for root in self.roots:
            try:
                if root == cpuset:
                    self._make_cpuset(root, made)
                else:
                    _make_folder(root + self.path, made)
            except OSError as error:
                why = (error.strerror or "").lower()
                raise CgroupError(
                    f"unable to apply cgroup configuration: mkdir {error.filename}: {why}"
                ) from None
        try:
            self._realtime(resources.get("cpu") or {})
            self._cpuset(resources.get("cpu") or {})
        except CgroupError as error:
            raise CgroupError(f"unable to apply cgroup configuration: {error}") from None

    def _make_cpuset(self, root: str, made: list[str]) -> None:
        """A new cpuset is empty and takes no process, unless its parent hands its own down
        (clone_children)."""
        _make_folder(root + self.path, made)
        if base.read(root + self.path, "cpuset.cpus").strip():
            return
        parent = root
        for part in self.path.strip("/").split("/"):
            folder = f"{parent}/{part}"
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not base.read(folder, name).strip():
                    write(folder, name, base.read(parent, name).strip())
            if folder != root + self.path and base.read(folder, "cgroup.clone_children").strip() == "0":
                write(folder, "cgroup.clone_children", 1)
            parent = folder

    def apply(self, resources: Resources) -> None:
        self._memory(resources.get("memory") or {})
        self._cpu(resources.get("cpu") or {})
        self._blkio(resources.get("blockIO") or {})
        folder = self.folder("pids")
        limit = (resources.get("pids") or {}).get("limit")
        if folder and limit:
            write(folder, "pids.max", limit if limit > 0 else "max")
        for page in resources.get("hugepageLimits") or []:
            if folder := self.folder("hugetlb"):
                write(folder, f"hugetlb.{page['pageSize']}.limit_in_bytes", page["limit"])
        if folder := self.folder("devices"):
            for name, line in devices.v1_writes(resources.get("devices") or []):
                write(folder, name, line)

    def _memory(self, memory: dict[str, Any]) -> None:
        folder = self.folder("memory")
        if not folder:
            return
        limit, swap = memory.get("limit"), memory.get("swap")
        if limit and swap == 0:
            swap = None
        if limit and swap and limit > 0 and swap > 0:
            # The kernel keeps limit <= memsw at all times: raise the outer one first.
            now = base.number(base.read(folder, "memory.memsw.limit_in_bytes"))
            first = [("memory.memsw.limit_in_bytes", swap), ("memory.limit_in_bytes", limit)]
            for name, value in first if now is not None and now < swap else reversed(first):
                self._limit(folder, name, value)
        else:
            if swap and swap == -1 and limit:
                self._limit(folder, "memory.memsw.limit_in_bytes", -1)
            if limit:
                self._limit(folder, "memory.limit_in_bytes", limit)
            if swap and not limit:
                self._limit(folder, "memory.memsw.limit_in_bytes", swap)
        if memory.get("reservation"):
            write(folder, "memory.soft_limit_in_bytes", memory["reservation"])
        swappiness = memory.get("swappiness")
        if swappiness is not None and 0 <= swappiness <= 100:
            write(folder, "memory.swappiness", swappiness)
        if memory.get("disableOOMKiller"):
            write(folder, "memory.oom_control", 1)

    @staticmethod
    def _limit(folder: str, name: str, value: int) -> None:
        try:
            write(folder, name, value)
        except CgroupError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == 16:
                usage = base.number(base.read(folder, "memory.usage_in_bytes"))
                peak = base.number(base.read(folder, "memory.max_usage_in_bytes"))
                text = f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
                raise CgroupError(text) from None
            if "memsw" in name and not base.read(folder, name):
                return  # no swap accounting on this kernel: as dockerd, go without
            raise

    def _cpu(self, cpu: dict[str, Any]) -> None:
        if folder := self.folder("cpu"):
            if cpu.get("shares"):
                write(folder, "cpu.shares", cpu["shares"])
                real = base.number(base.read(folder, "cpu.shares"))
                if real is not None and cpu["shares"] != real:
                    word = "maximum" if cpu["shares"] > real else "minimum"
                    raise CgroupError(f"the {word} allowed cpu-shares is {real}")
            if cpu.get("period"):
                write(folder, "cpu.cfs_period_us", cpu["period"])
            if cpu.get("quota"):
                write(folder, "cpu.cfs_quota_us", cpu["quota"])
            if cpu.get("burst") is not None:
                write(folder, "cpu.cfs_burst_us", cpu["burst"])
        self._realtime(cpu)
        self._cpuset(cpu)

    def _realtime(self, cpu: dict[str, Any]) -> None:
        if folder := self.folder("cpu"):
            for key, name in (
                ("realtimePeriod", "cpu.rt_period_us"),
                ("realtimeRuntime", "cpu.rt_runtime_us"),
            ):
                if cpu.get(key):
                    write(folder, name, cpu[key])

    def _cpuset(self, cpu: dict[str, Any]) -> None:
        if folder := self.folder("cpuset"):
            for key in ("cpus", "mems"):
                if cpu.get(key):
                    write(folder, f"cpuset.{key}", cpu[key])

    def _blkio(self, block: dict[str, Any]) -> None:
        folder = self.folder("blkio")
        if not folder:
            return
        if block.get("weight"):
            bfq = os.path.exists(f"{folder}/blkio.bfq.weight")
            name = "blkio.bfq.weight" if bfq else "blkio.weight"
            if bfq or os.path.exists(f"{folder}/{name}"):  # neither: no scheduler that weighs
                write(folder, name, block["weight"])
        for item in block.get("weightDevice") or []:
            bfq = os.path.exists(f"{folder}/blkio.bfq.weight_device")
            name = "blkio.bfq.weight_device" if bfq else "blkio.weight_device"
            if bfq or os.path.exists(f"{folder}/{name}"):
                write(folder, name, f"{item['major']}:{item['minor']} {item['weight']}")
        for key, name in devices.V1_THROTTLE:
            for item in block.get(key) or []:
                write(folder, name, f"{item['major']}:{item['minor']} {item['rate']}")

    def open_fds(self) -> list[int]:
        # `tasks` moves one thread and does not wait for an RCU grace period as `cgroup.procs` does.
        fds: list[int] = []
        try:
            for folder in self.folders():
                fds.append(os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def freeze(self) -> None:
        folder = self.folder("freezer")
        if not folder:
            raise CgroupError("cannot freeze: no freezer")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            write(folder, "freezer.state", "FROZEN")
            for _ in range(25):
                state = base.read(folder, "freezer.state").strip()
                if state == "FROZEN":
                    return
                time.sleep(0.0005)
            # A process may be in the middle of fork: thaw for a moment, then again (as runc).
            write(folder, "freezer.state", "THAWED")
            time.sleep(0.001)
        raise CgroupError("unable to freeze")

    def thaw(self) -> None:
        if folder := self.folder("freezer"):
            write(folder, "freezer.state", "THAWED")

    def frozen(self) -> bool:
        folder = self.folder("freezer")
        return bool(folder) and base.read(folder, "freezer.state").strip() in ("FROZEN", "FREEZING")

    def pids(self) -> list[int]:
        folder = self.folder("freezer") or self.folder("devices") or self.folders()[0]
        found: list[int] = []
        for path, _, files in os.walk(folder):
            if "cgroup.procs" in files:
                found += base.read_pids(f"{path}/cgroup.procs")
        return found

    def oom_fd(self) -> int:
        folder = self.folder("memory")
        if not folder:
            return -1
        try:
            control = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            write(folder, "cgroup.event_control", f"{event} {control}")
        except CgroupError:
            os.close(event)
            return -1
        finally:
            os.close(control)
        return event

    def oom_kills(self) -> int:
        folder = self.folder("memory")
        return base.keyed(base.read(folder, "memory.oom_control")).get("oom_kill", 0) if folder else 0

    def stats(self) -> dict[str, Any]:
        memory, cpu, account, pids = map(self.folder, ("memory", "cpu", "cpuacct", "pids"))
        names = ("usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes", "failcnt")
        per_cpu = base.read(account, "cpuacct.usage_percpu").split()
        return {
            "version": 1,
            "memory": {name: base.number(base.read(memory, f"memory.{name}")) for name in names}
            | {"stat": base.keyed(base.read(memory, "memory.stat"))},
            "cpu": {
                "usage": base.number(base.read(account, "cpuacct.usage")),
                "percpu": [int(value) for value in per_cpu],
                "user_system": base.keyed(base.read(account, "cpuacct.stat")),
                "throttling": base.keyed(base.read(cpu, "cpu.stat")),
            },
            "pids": {
                "current": base.number(base.read(pids, "pids.current")),
                "limit": base.number(base.read(pids, "pids.max")),
            },
            "blkio": self._blkio_stats(),
        }

    def _blkio_stats(self) -> dict[str, list[base.IoEntry]]:
        """By the names of CFQ's files. Other schedulers than CFQ count only in the throttle's files."""
        folder = self.folder("blkio")
        if os.path.exists(f"{folder}/blkio.io_serviced_recursive"):
            found = {name: _io_entries(base.read(folder, f"blkio.{name}")) for name in _CFQ}
            if any(found.values()):
                return found
        return {
            f"{name}_recursive": _io_entries(base.read(folder, f"blkio.throttle.{name}"))
            for name in ("io_service_bytes", "io_serviced")
        }


def _io_entries(text: str) -> list[base.IoEntry]:
    """Lines of `major:minor [operation] value`; the last, `Total value`, is left out."""
    entries = []
    for line in text.splitlines():
        fields = line.replace(":", " ").split()
        if len(fields) in (3, 4):
            operation = fields[2] if len(fields) == 4 else ""
            entries.append((int(fields[0]), int(fields[1]), operation, int(fields[-1])))
    return entries


def _make_folder(folder: str, made: list[str]) -> None:
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(os.path.dirname(folder), [])  # the parent (`docker`) is shared: it stays
        _make_folder(folder, made)
        return
    made.append(folder)

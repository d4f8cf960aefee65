"""systemd's driver: a container's group is a transient scope, so that systemd knows whose it is.

The path is `slice:prefix:name`, as runc has it: `system.slice:docker:<id>` is the scope `docker-<id>.scope`.
systemd makes it for a process that is there already, the one that starts the container. This moves out as
soon as the container's first process is in (`born`), and only then counts the limit of processes.
Limits are given to systemd, too, which else would undo them when it reads its units anew: with the scope's
making, so that a start asks it once.
"""

from __future__ import annotations

import os
import time

from runtime.cgroups.base import Cgroup, CgroupError, keyed, read, write
from runtime.cgroups.v1 import V1
from runtime.cgroups.v2 import V2, cpu_weight, memory_swap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.cgroups.detect import Layout
    from runtime.spec import Resources

_NO_LIMIT = (1 << 64) - 1
_PATIENCE = 30.0
_UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
Property = tuple[str, tuple[str, "Any"]]


def running() -> bool:
    """Whether systemd is the machine's (sd_booted(3)) and can be asked."""
    from runtime.cgroups.dbus import SOCKET

    return os.path.isdir("/run/systemd/system") and os.path.exists(SOCKET)


def slice_path(name: str) -> str:
    """The folder of a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)). Raises CgroupError."""
    stem = name.removesuffix(".slice")
    if stem == name or "/" in name:
        raise CgroupError(f"invalid slice name: {name}")
    if stem == "-":
        return ""
    parts = stem.split("-")
    if not all(parts):
        raise CgroupError(f"invalid slice name: {name}")
    return "".join(f"/{'-'.join(parts[: n + 1])}.slice" for n in range(len(parts)))


class _Scope(Cgroup):
    """What both versions of cgroups share, before V1 or V2 in the order of classes."""

    def __init__(self, layout: Layout, name: str) -> None:
        """`name` is `slice:prefix:name`. Raises CgroupError for one that is none."""
        slice_, prefix, ending = name.split(":")
        self.slice = slice_ or "system.slice"
        self.unit = f"{prefix}-{ending}.scope" if prefix else f"{ending}.scope"
        super().__init__(layout, f"{slice_path(self.slice)}/{self.unit}")  # type: ignore[call-arg, arg-type]
        self.name = name
        self._roots = {"": layout.unified, **layout.folders}
        self._homes: list[str] = []  # where this process was before it was put into the scope
        self._later: Resources = {}
        self._told: list[Property] = []  # with the scope's making

    def make(self, made: list[str], resources: Resources) -> None:
        for line in read("/proc/self", "cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            root = self._roots.get(controllers.split(",")[0])
            if root:
                self._homes.append(root + path)
        self._told = self.properties(_without_pids(resources))
        self._begin()

    def apply(self, resources: Resources) -> None:
        if self._homes and resources.get("pids"):
            self._later = {"pids": resources["pids"]}
            resources = _without_pids(resources)
        self._tell(resources)
        super().apply(resources)

    def born(self) -> None:
        if not self._homes:
            return
        self._leave()
        if self._later:
            self.apply(self._later)

    def delete(self) -> None:
        self._leave()
        super().delete()
        self._stop()

    def _stop(self) -> None:
        from runtime.cgroups import dbus

        # The kernel tells of an empty group up to 10 ms later, and never when its folder has gone by then:
        # the scope would stay for good.
        try:
            dbus.call("StopUnit", "ss", self.unit, "replace")
        except (dbus.BusError, OSError):
            pass  # it knows already, or is not there

    def _leave(self) -> None:
        homes, self._homes = self._homes, []
        for folder in homes:
            # One thread: v1's `tasks` does not wait for RCU.
            write(folder, "tasks" if os.path.exists(f"{folder}/tasks") else "cgroup.procs", 0)

    def _begin(self) -> None:
        """Have systemd make the scope around the calling process. Raises CgroupError."""
        from runtime.cgroups import dbus

        properties: list[Property] = [
            ("Description", ("s", f"compatd container {self.unit.removesuffix('.scope')}")),
            ("Slice", ("s", self.slice)),
            ("PIDs", ("au", [os.getpid()])),
            ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)),
            ("CollectMode", ("s", "inactive-or-failed")),
            *((f"{kind}Accounting", ("b", True)) for kind in ("CPU", "Memory", "IO", "Tasks")),
            *self._told,
        ]
        signature = "ssa(sv)a(sa(sv))"
        try:
            try:
                dbus.call("StartTransientUnit", signature, self.unit, "replace", properties, [])
            except dbus.BusError as error:
                if error.name != _UNIT_EXISTS:
                    raise
                # What an earlier start has left: it has failed, or its last process is just going.
                self._end()
                dbus.call("StartTransientUnit", signature, self.unit, "replace", properties, [])
            self._await_scope()
        except (dbus.BusError, OSError) as error:
            raise CgroupError(
                f"unable to apply cgroup configuration: unable to start unit: {error}"
            ) from None

    def _end(self) -> None:
        from runtime.cgroups import dbus

        for member, signature, arguments in (
            ("StopUnit", "ss", (self.unit, "replace")),
            ("ResetFailedUnit", "s", (self.unit,)),
        ):
            try:
                dbus.call(member, signature, *arguments)
            except dbus.BusError as error:
                if error.name != _NO_SUCH_UNIT:
                    raise
        deadline = time.monotonic() + _PATIENCE
        while os.path.isdir(self.folders()[0]) and time.monotonic() < deadline:
            time.sleep(0.005)

    def _await_scope(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not any(line.endswith(self.path) for line in read("/proc/self", "cgroup").splitlines()):
            if time.monotonic() > deadline:
                raise OSError(f"timeout waiting for systemd to create {self.unit}")
            time.sleep(0.001)

    def _tell(self, resources: Resources) -> None:
        """Let systemd know the limits as well. Raises CgroupError."""
        from runtime.cgroups import dbus

        properties = self.properties(resources)
        told, self._told = self._told, []
        if not properties or properties == told:
            return
        try:
            dbus.call("SetUnitProperties", "sba(sv)", self.unit, True, properties)
        except dbus.BusError as error:
            if error.name != _NO_SUCH_UNIT:
                raise CgroupError(f"unable to set unit properties: {error}") from None
        except OSError as error:
            raise CgroupError(f"unable to set unit properties: {error.strerror}") from None

    def properties(self, resources: Resources) -> list[Property]:
        """OCI's limits in systemd's words (systemd.resource-control(5))."""
        raise NotImplementedError


class ScopeV2(_Scope, V2):
    """A scope in the unified hierarchy; systemd has made it with all controllers (Delegate)."""

    _above = -1  # kills in the slice, of which ours are a part, when ours were counted

    def note_kills(self) -> None:
        self._above = self._kills_above()

    def oom_kills(self) -> int:
        above = self._kills_above()  # first: what comes in between is not forgotten
        kills = super().oom_kills()
        if os.path.isdir(self.dir):
            self._above = above
        return kills

    def kills_missed(self) -> bool:
        # systemd removes an empty scope at once, and with it the kernel's count.
        return 0 <= self._above < self._kills_above() and not os.path.isdir(self.dir)

    def _kills_above(self) -> int:
        return keyed(read(os.path.dirname(self.dir), "memory.events")).get("oom_kill", 0)

    def properties(self, resources: Resources) -> list[Property]:
        found: list[Property] = []
        memory: dict[str, Any] = resources.get("memory") or {}
        limit = memory.get("limit") or 0
        swap = memory_swap(memory.get("swap") or 0, limit)
        if limit:
            found.append(("MemoryMax", ("t", _bytes(limit))))
        if swap is not None:
            found.append(("MemorySwapMax", ("t", _NO_LIMIT if swap == "max" else int(swap))))
        if memory.get("reservation"):
            found.append(("MemoryLow", ("t", _bytes(memory["reservation"]))))
        cpu: dict[str, Any] = resources.get("cpu") or {}
        if cpu.get("shares"):
            found.append(("CPUWeight", ("t", cpu_weight(cpu["shares"]))))
        if cpu.get("quota") or cpu.get("period"):
            quota, period = cpu.get("quota") or 0, cpu.get("period") or 100_000
            found.append(("CPUQuotaPeriodUSec", ("t", period)))
            # systemd keeps hundredths of a per cent, rounded up lest the file be lowered.
            a_second = -(-quota * 1_000_000 // period // 10_000) * 10_000 if quota > 0 else _NO_LIMIT
            found.append(("CPUQuotaPerSecUSec", ("t", a_second)))
        for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
            if cpu.get(key):
                found.append((name, ("ay", bit_mask(cpu[key]))))
        pids = (resources.get("pids") or {}).get("limit")
        if pids:
            found.append(("TasksMax", ("t", _bytes(pids))))
        return found


class ScopeV1(_Scope, V1):
    """A scope in systemd's own hierarchy, and groups of the same path in those with controllers."""

    def make(self, made: list[str], resources: Resources) -> None:
        super().make(made, resources)
        V1.make(self, made, resources)

    def properties(self, resources: Resources) -> list[Property]:
        found: list[Property] = []
        limit = (resources.get("memory") or {}).get("limit")
        if limit:
            found.append(("MemoryLimit", ("t", _bytes(limit))))
        shares = (resources.get("cpu") or {}).get("shares")
        if shares:
            found.append(("CPUShares", ("t", shares)))
        pids = (resources.get("pids") or {}).get("limit")
        if pids:
            found.append(("TasksMax", ("t", _bytes(pids))))
        return found


def _without_pids(resources: Resources) -> Resources:
    rest = resources.copy()
    rest.pop("pids", None)
    return rest


def _bytes(value: int) -> int:
    return value if value > 0 else _NO_LIMIT


def bit_mask(text: str) -> list[int]:
    """`0-2,8` as the bytes of a mask, lowest first. Raises CgroupError."""
    mask = 0
    try:
        for part in text.split(","):
            first, _, last = part.strip().partition("-")
            for number in range(int(first), int(last or first) + 1):
                mask |= 1 << number
    except ValueError:
        raise CgroupError(f"invalid list: {text}") from None
    return list(mask.to_bytes((mask.bit_length() + 7) // 8 or 1, "little"))

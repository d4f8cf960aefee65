"""Checks of a container's limits, with dockerd's error texts and warnings (API: Resources)."""

from typing import Any

from compatd.engine.errors import InvalidParameter
from compatd.engine.sysinfo import SysInfo, parse_cpu_list

Json = dict[str, Any]
MINIMUM_MEMORY = 6 * 1024 * 1024


def check_resources(host: Json, info: SysInfo, *, update: bool = False) -> list[str]:
    """Warnings for a HostConfig's limits; what this kernel cannot do is taken out of `host`.

    Raises InvalidParameter for what can never be.
    """
    warnings: list[str] = []
    _memory(host, info, warnings, update)
    _processes(host, info, warnings)
    _cpu(host, info, warnings)
    _cpuset(host, info, warnings)
    _block_io(host, info, warnings)
    return warnings


def _memory(host: Json, info: SysInfo, warnings: list[str], update: bool) -> None:
    if host["Memory"] and host["Memory"] < MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if host["Memory"] > 0 and not info.memory:
        warnings.append(
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
            "Limitation discarded."
        )
        host["Memory"], host["MemorySwap"] = 0, -1
    if host["Memory"] > 0 and host["MemorySwap"] != -1 and not info.swap:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
        host["MemorySwap"] = -1
    memory, swap = host["Memory"], host["MemorySwap"]
    if memory > 0 and swap > 0 and swap < memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    _swappiness(host, info, warnings)
    reservation = host["MemoryReservation"]
    if reservation > 0 and not info.reservation:
        warnings.append(
            "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. "
            "Limitation discarded."
        )
        host["MemoryReservation"] = reservation = 0
    if 0 < reservation < MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _swappiness(host: Json, info: SysInfo, warnings: list[str]) -> None:
    value = host["MemorySwappiness"]
    if value is None:
        return
    if not info.swappiness:
        warnings.append(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
            "Memory swappiness discarded."
        )
        host["MemorySwappiness"] = None
    elif not 0 <= value <= 100:
        raise InvalidParameter(f"Invalid value: {value}, valid memory swappiness range is 0-100")


def _processes(host: Json, info: SysInfo, warnings: list[str]) -> None:
    if host["OomKillDisable"] is not None and not info.oom_kill_disable:
        if host["OomKillDisable"]:
            warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        host["OomKillDisable"] = None
    if host["OomKillDisable"] and host["Memory"] == 0:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
            "system running out of resources."
        )
    if host["PidsLimit"] is not None and not info.pids:
        if host["PidsLimit"] > 0:
            warnings.append(
                "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. "
                "PIDs limit discarded."
            )
        host["PidsLimit"] = None


def _cpu(host: Json, info: SysInfo, warnings: list[str]) -> None:
    nano, period, quota = host["NanoCpus"], host["CpuPeriod"], host["CpuQuota"]
    if nano > 0 and period > 0:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano > 0 and quota > 0:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano > 0 and not info.cpu_cfs:
        raise InvalidParameter(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is "
            "not mounted"
        )
    if nano < 0 or nano > info.cpu_count * 1_000_000_000:
        raise InvalidParameter(
            f"range of CPUs is from 0.01 to {info.cpu_count}.00, "
            f"as there are only {info.cpu_count} CPUs available"
        )
    if host["CpuShares"] > 0 and not info.cpu_shares:
        warnings.append(
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."
        )
        host["CpuShares"] = 0
    if (period or quota) and not info.cpu_cfs:
        warnings.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
        host["CpuPeriod"] = host["CpuQuota"] = period = quota = 0
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < quota < 1000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["CpuPercent"] > 0:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        host["CpuPercent"] = 0


def _cpuset(host: Json, info: SysInfo, warnings: list[str]) -> None:
    if (host["CpusetCpus"] or host["CpusetMems"]) and not info.cpuset:
        warnings.append("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
        host["CpusetCpus"] = host["CpusetMems"] = ""
    for field, kind, plural, there in (
        ("CpusetCpus", "cpus", "CPUs", info.cpus),
        ("CpusetMems", "mems", "memory nodes", info.mems),
    ):
        wanted = host[field]
        try:
            missing = parse_cpu_list(wanted) - parse_cpu_list(there)
        except ValueError as error:
            raise InvalidParameter(f"Invalid value {wanted} for cpuset {kind}: {error}") from None
        if missing:
            raise InvalidParameter(
                f"Requested {plural} are not available - requested {wanted}, available: {there}"
            )


def _block_io(host: Json, info: SysInfo, warnings: list[str]) -> None:
    weight = host["BlkioWeight"]
    if weight > 0 and not info.blkio_weight:
        warnings.append(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
        )
        host["BlkioWeight"] = weight = 0
    if weight and not 10 <= weight <= 1000:
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    if host["IOMaximumBandwidth"] or host["IOMaximumIOps"]:
        raise InvalidParameter(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        )
    if host["BlkioWeightDevice"] and not info.blkio_weight_device:
        warnings.append(
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
            "Weight-device discarded."
        )
        host["BlkioWeightDevice"] = []
    if info.blkio_throttle:
        return
    for field, unit, way, shown in (
        ("BlkioDeviceReadBps", "BPS Block I/O", "read", "Block I/O BPS"),
        ("BlkioDeviceWriteBps", "BPS Block I/O", "write", "Block I/O BPS"),
        ("BlkioDeviceReadIOps", "IOPS Block", "read", "Block I/O IOPS"),
        ("BlkioDeviceWriteIOps", "IOPS Block", "write", "Block I/O IOPS"),
    ):
        if host[field]:
            warnings.append(
                f"Your kernel does not support {unit} {way} limit or the cgroup is not mounted. "
                f"{shown} {way} limit discarded."
            )
            host[field] = []

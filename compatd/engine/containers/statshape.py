"""A sample of a running container as the API's StatsResponse, for cgroup v1 and v2 (API: ContainerStats)."""

from typing import Any

from compatd.engine.containers.times import rfc3339

Json = dict[str, Any]

_TICK = 10_000_000
"""Nanoseconds of a clock tick: USER_HZ is 100 on Linux whatever the kernel's own (proc(5))."""

_OWN = (
    "cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault",
    "pgmajfault", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
)  # fmt: skip
_MEMORY_V1 = (
    *_OWN,
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    *(f"total_{name}" for name in _OWN),
)
_MEMORY_V2 = (
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback",
    "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
    "slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault",
    "workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate",
    "pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc",
)  # fmt: skip
_BLOCK = {
    "io_service_bytes_recursive": "io_service_bytes_recursive",
    "io_serviced_recursive": "io_serviced_recursive",
    "io_queue_recursive": "io_queued_recursive",
    "io_service_time_recursive": "io_service_time_recursive",
    "io_wait_time_recursive": "io_wait_time_recursive",
    "io_merged_recursive": "io_merged_recursive",
    "io_time_recursive": "time_recursive",
    "sectors_recursive": "sectors_recursive",
}
"""The API's names, and those of the kernel's files."""


def empty(container_id: str, name: str) -> Json:
    """What is told of a container that does not run."""
    return {
        "id": container_id,
        "name": f"/{name}",
        "os_type": "linux",
        "read": rfc3339(0),
        "cpu_stats": no_cpu(),
        "memory_stats": {},
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLOCK),
        "num_procs": 0,
        "storage_stats": {},
        "preread": rfc3339(0),
        "precpu_stats": no_cpu(),
    }


def no_cpu() -> Json:
    """`cpu_stats` of nothing, as in the first sample's `precpu_stats`."""
    return {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def full(container_id: str, name: str, sample: Json, *, system: tuple[int, int], machine_memory: int) -> Json:
    """What is told of a running one. `sample` is `runtime.client`'s; `system` is `parse_cpu_time`'s.

    `preread` and `precpu_stats` are those of a first sample.
    """
    answer = empty(container_id, name)
    group = sample["cgroup"]
    v2 = group["version"] == 2
    answer["read"] = rfc3339(sample["read"])
    answer["cpu_stats"] = (_cpu_v2 if v2 else _cpu_v1)(group["cpu"])
    answer["cpu_stats"]["system_cpu_usage"], answer["cpu_stats"]["online_cpus"] = system
    answer["memory_stats"] = (_memory_v2 if v2 else _memory_v1)(group["memory"], machine_memory)
    answer["pids_stats"] = _filled(group["pids"])
    answer["blkio_stats"] = _block(group["blkio"], v2)
    if sample["interfaces"]:
        answer["networks"] = sample["interfaces"]
    return answer


def _filled(values: Json) -> Json:
    """Without zeros and what is missing, as Go's omitempty does."""
    return {name: value for name, value in values.items() if value}


def _cpu_v1(cpu: Json) -> Json:
    usage = {
        "total_usage": cpu["usage"] or 0,
        "usage_in_kernelmode": cpu["user_system"].get("system", 0) * _TICK,
        "usage_in_usermode": cpu["user_system"].get("user", 0) * _TICK,
    }
    if cpu["percpu"]:
        usage["percpu_usage"] = cpu["percpu"]
    return {"cpu_usage": usage, "throttling_data": _throttling(cpu["throttling"], "throttled_time", 1)}


def _cpu_v2(cpu: Json) -> Json:
    stat = cpu["stat"]
    usage = {
        "total_usage": stat.get("usage_usec", 0) * 1000,
        "usage_in_kernelmode": stat.get("system_usec", 0) * 1000,
        "usage_in_usermode": stat.get("user_usec", 0) * 1000,
    }
    return {"cpu_usage": usage, "throttling_data": _throttling(stat, "throttled_usec", 1000)}


def _throttling(stat: dict[str, int], time: str, unit: int) -> Json:
    return {
        "periods": stat.get("nr_periods", 0),
        "throttled_periods": stat.get("nr_throttled", 0),
        "throttled_time": stat.get(time, 0) * unit,
    }


def _memory_v1(memory: Json, machine: int) -> Json:
    found = {
        "usage": memory["usage_in_bytes"],
        "max_usage": memory["max_usage_in_bytes"],
        "failcnt": memory["failcnt"],
        "limit": _limit(memory["limit_in_bytes"], machine),
    }
    return {**_filled(found), "stats": {name: memory["stat"].get(name, 0) for name in _MEMORY_V1}}


def _memory_v2(memory: Json, machine: int) -> Json:
    found = {
        "usage": memory["current"],
        "failcnt": memory["failcnt"],
        "limit": _limit(memory["max"], machine),
    }
    return {**_filled(found), "stats": {name: memory["stat"].get(name, 0) for name in _MEMORY_V2}}


def _limit(limit: int | None, machine: int) -> int:
    """Without a limit it is the machine's memory."""
    return machine if limit is None else min(limit, machine)


def _block(counted: dict[str, list[tuple[int, int, str, int]]], v2: bool) -> Json:
    """v1 has a list for each, if only an empty one; v2 knows only the bytes."""
    found: Json = {}
    for name, file in _BLOCK.items():
        entries = [
            {"major": major, "minor": minor, "op": operation, "value": value}
            for major, minor, operation, value in counted.get(file, ())
        ]
        found[name] = (entries or None) if v2 else entries
    return found


def parse_cpu_time(stat: str) -> tuple[int, int]:
    """The text of /proc/stat: (nanoseconds of all CPUs together since boot, number of CPUs online)."""
    total = count = 0
    for line in stat.splitlines():
        if not line.startswith("cpu"):
            break
        name, *ticks = line.split()
        if name == "cpu":
            total = sum(int(value) for value in ticks[:7]) * _TICK
        else:
            count += 1
    return total, count

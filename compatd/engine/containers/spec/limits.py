"""A HostConfig's limits as the spec's resources."""

import os
from typing import Any

from compatd.engine.errors import EngineError

Json = dict[str, Any]
_PERIOD = 100_000


def resources(host: Json) -> Json:
    """Memory, CPU, processes, block I/O; device rules are added by `devices`."""
    result: Json = {"devices": []}
    memory = _memory(host)
    if memory:
        result["memory"] = memory
    cpu = _cpu(host)
    if cpu:
        result["cpu"] = cpu
    if host["PidsLimit"] is not None:
        result["pids"] = {"limit": host["PidsLimit"] if host["PidsLimit"] > 0 else -1}
    block = _block_io(host)
    if block:
        result["blockIO"] = block
    return result


def _memory(host: Json) -> Json:
    found: Json = {}
    for field, name in (("Memory", "limit"), ("MemoryReservation", "reservation")):
        if host[field] > 0:
            found[name] = host[field]
    if host["MemorySwap"] > 0 or (host["MemorySwap"] == -1 and host["Memory"] > 0):
        found["swap"] = host["MemorySwap"]
    if host["MemorySwappiness"] is not None:
        found["swappiness"] = host["MemorySwappiness"]
    if host["OomKillDisable"]:
        found["disableOOMKiller"] = True
    return found


def _cpu(host: Json) -> Json:
    found: Json = {}
    if host["CpuShares"]:
        found["shares"] = host["CpuShares"]
    if host["NanoCpus"] > 0:
        found["period"] = _PERIOD
        found["quota"] = host["NanoCpus"] * _PERIOD // 1_000_000_000
    for field, name in (
        ("CpuPeriod", "period"),
        ("CpuQuota", "quota"),
        ("CpuRealtimePeriod", "realtimePeriod"),
        ("CpuRealtimeRuntime", "realtimeRuntime"),
        ("CpusetCpus", "cpus"),
        ("CpusetMems", "mems"),
    ):
        if host[field]:
            found[name] = host[field]
    return found


def _block_io(host: Json) -> Json:
    found: Json = {}
    if host["BlkioWeight"]:
        found["weight"] = host["BlkioWeight"]
    if host["BlkioWeightDevice"]:
        found["weightDevice"] = [
            {**_numbers(entry["Path"]), "weight": entry["Weight"]} for entry in host["BlkioWeightDevice"]
        ]
    for field, name in (
        ("BlkioDeviceReadBps", "throttleReadBpsDevice"),
        ("BlkioDeviceWriteBps", "throttleWriteBpsDevice"),
        ("BlkioDeviceReadIOps", "throttleReadIOPSDevice"),
        ("BlkioDeviceWriteIOps", "throttleWriteIOPSDevice"),
    ):
        if host[field]:
            found[name] = [{**_numbers(entry["Path"]), "rate": entry["Rate"]} for entry in host[field]]
    return found


def _numbers(path: str) -> Json:
    try:
        device = os.stat(path).st_rdev
    except OSError as error:
        raise EngineError(f"stat {path}: {(error.strerror or '').lower()}") from None
    return {"major": os.major(device), "minor": os.minor(device)}

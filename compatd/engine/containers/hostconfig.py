"""A container's HostConfig with all of Docker's defaults filled in (API: HostConfig)."""

import copy
import os
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SHM_SIZE = 64 * 1024 * 1024

READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]

HOST_DEFAULTS: Json = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "", "Config": {}},
    "NetworkMode": "default",
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "ConsoleSize": [0, 0],
    "CapAdd": None,
    "CapDrop": None,
    "CgroupnsMode": "",
    "Dns": None,
    "DnsOptions": None,
    "DnsSearch": None,
    "ExtraHosts": None,
    "GroupAdd": None,
    "IpcMode": "",
    "Cgroup": "",
    "Links": None,
    "OomScoreAdj": 0,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": 0,
    "Runtime": "",
    "Isolation": "",
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": None,
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": None,
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": None,
    "OomKillDisable": None,
    "PidsLimit": None,
    "Ulimits": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
    "MaskedPaths": None,
    "ReadonlyPaths": None,
}
"""What inspect always shows of a HostConfig, with Go's zero values."""

HOST_OPTIONAL = ("Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Mounts", "Init")
"""What inspect shows only when set."""


def user_host_config(given: Json | None) -> Json:
    """The request's HostConfig completed with zero values; the request is not changed."""
    given = given or {}
    host = {
        name: copy.deepcopy(given.get(name, default))
        if given.get(name) is not None
        else copy.deepcopy(default)
        for name, default in HOST_DEFAULTS.items()
    }
    for name in HOST_OPTIONAL:
        if given.get(name) or (name == "Init" and given.get(name) is not None):
            host[name] = copy.deepcopy(given[name])
    policy = {"Name": "no", "MaximumRetryCount": 0} | (host["RestartPolicy"] or {})
    policy["Name"] = policy["Name"] or "no"
    host["RestartPolicy"] = policy
    log = {"Type": "", "Config": {}} | (host["LogConfig"] or {})
    log["Config"] = log["Config"] or {}
    host["LogConfig"] = log
    if host["NetworkMode"] in ("", "default"):
        host["NetworkMode"] = "bridge"
    if host["PidsLimit"] is not None and host["PidsLimit"] <= 0:
        host["PidsLimit"] = None
    if host["MemorySwappiness"] == -1:
        host["MemorySwappiness"] = None
    return host


def fill_host_defaults(host: Json, *, cgroup_v2: bool, shm_size: int, ipc_mode: str, cgroupns: str) -> None:
    """The defaults that depend on the daemon or on other fields, set in place.

    `cgroupns` is the daemon's `default-cgroupns-mode` (`private` or `host`).
    """
    if host["Memory"] > 0 and host["MemorySwap"] == 0:
        host["MemorySwap"] = host["Memory"] * 2
    host["ShmSize"] = host["ShmSize"] or shm_size
    host["IpcMode"] = host["IpcMode"] or ipc_mode
    if not host["CgroupnsMode"]:
        host["CgroupnsMode"] = "host" if host["Privileged"] and not cgroup_v2 else cgroupns
    labelled = any(option.split("=")[0] == "label" for option in host["SecurityOpt"] or [])
    if not labelled and (host["Privileged"] or host["IpcMode"] == "host" or host["PidMode"] == "host"):
        host["SecurityOpt"] = [*(host["SecurityOpt"] or []), "label=disable"]
    if host["OomKillDisable"] is None:
        host["OomKillDisable"] = False
    if not host["Privileged"]:
        if host["MaskedPaths"] is None:
            host["MaskedPaths"] = masked_paths()
        if host["ReadonlyPaths"] is None:
            host["ReadonlyPaths"] = list(READONLY_PATHS)


def masked_paths() -> list[str]:
    """Docker's list of hidden paths, with the thermal counters of each CPU that has some."""
    thermal = [
        f"/sys/devices/system/cpu/cpu{number}/thermal_throttle"
        for number in range(os.cpu_count() or 1)
        if Path(f"/sys/devices/system/cpu/cpu{number}/thermal_throttle").exists()
    ]
    return _MASKED + thermal

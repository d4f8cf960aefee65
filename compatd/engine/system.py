"""What the engine says about itself and its machine: `/info` and `/version`."""

import asyncio
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compatd import COMPATD_VERSION, VERSION
from compatd.config import Config
from compatd.engine import apiwarnings, metrics
from compatd.engine.containers.runtimes import BUILTIN_PATH, statuses
from compatd.engine.containers.spec.cdi import find_devices
from compatd.engine.events import Events
from compatd.engine.identity import engine_id
from compatd.engine.logdrivers import DRIVERS
from compatd.engine.sysinfo import SysInfo, warnings
from compatd.engine.timestamps import rfc3339
from compatd.store import Store
from runtime.storage.drivers import DRIVERS as STORAGE_DRIVERS
from runtime.storage.overlay import filesystem

API_VERSION = "1.56"
MIN_API_VERSION = "1.24"
BUILTIN_RUNTIME = "compatd"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_KNOWN_RUNTIMES = ("runc", "crun")


class System:
    """`features`: what the machine can; `counts` gives running, paused and stopped containers; `images` how
    many images there are.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        events: Events,
        *,
        features: SysInfo,
        counts: Callable[[], tuple[int, int, int]],
        images: Callable[[], int],
    ) -> None:
        self._config, self._store, self._events = config, store, events
        self._counts, self._images = counts, images
        self._features = features
        self._statuses: dict[str, dict[str, str]] = {}  # by a runtime's path
        self._release = _os_release()
        self.id = engine_id(store)

    def runtimes(self) -> dict[str, dict[str, Any]]:
        """The OCI runtimes that a container may ask for: ours, those found in PATH, those configured."""
        found: dict[str, dict[str, Any]] = {BUILTIN_RUNTIME: {"path": BUILTIN_PATH}}
        for name in _KNOWN_RUNTIMES:
            if shutil.which(name):
                found[name] = {"path": name}
        if "runc" in found:
            found["io.containerd.runc.v2"] = {"path": "runc"}
        for name, runtime in self._config.runtimes.items():
            found[name] = {"path": runtime.get("path", ""), "runtimeArgs": runtime.get("runtimeArgs")}
        for runtime in found.values():
            if status := self._statuses.get(runtime["path"]):
                runtime["status"] = status
        return found

    async def ask_runtimes(self) -> None:
        """Find out what the runtimes can, for `info`; those known already are not asked again."""
        paths = {runtime["path"] for runtime in self.runtimes().values()} - {""}
        if paths - self._statuses.keys():
            told = await asyncio.to_thread(statuses, paths)
            self._statuses = {path: told.get(path, {}) for path in paths}

    def version(self) -> dict[str, Any]:
        """The answer of `/version` (SystemVersion)."""
        arch = _ARCHITECTURES.get(platform.machine(), platform.machine())
        kernel = platform.release()
        python = platform.python_version()
        details = {
            "ApiVersion": API_VERSION,
            "Arch": arch,
            "BuildTime": "",
            "Experimental": str(self._config.experimental).lower(),
            "GitCommit": "",
            "GoVersion": "",
            "KernelVersion": kernel,
            "MinAPIVersion": self._config.min_api_version or MIN_API_VERSION,
            "Os": "linux",
        }
        return {
            "Platform": {"Name": "compatd"},
            "Components": [
                {"Name": "Engine", "Version": VERSION, "Details": details},
                {"Name": "compatd", "Version": COMPATD_VERSION, "Details": {"Python": python}},
            ],
            "Version": VERSION,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": self._config.min_api_version or MIN_API_VERSION,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": arch,
            "KernelVersion": kernel,
            "BuildTime": "",
        }

    def about(self) -> dict[str, Any]:
        """Of `/info` what does not change while the daemon runs."""
        return {
            "ID": self.id,
            "Driver": STORAGE_DRIVERS[self._config.storage_driver].name,
            "OperatingSystem": self._release.get("PRETTY_NAME", "Linux"),
            "OSVersion": self._release.get("VERSION_ID", ""),
        }

    def info(self) -> dict[str, Any]:
        """The answer of `/info` (SystemInfo) in its newest shape."""
        began = time.perf_counter()
        running, paused, stopped = self._counts()
        features, config = self._features, self._config
        found, faults = find_devices(config.cdi_folders)
        pools = [{"Base": pool["base"], "Size": pool["size"]} for pool in config.default_address_pools]
        devices = [{"Source": "cdi", "ID": name} for name in sorted(found)]
        metrics.host_info.since("system_info", began)
        return {
            "ID": self.id,
            "Containers": running + paused + stopped,
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": stopped,
            "Images": self._images(),
            "Driver": STORAGE_DRIVERS[config.storage_driver].name,
            "DriverStatus": _driver_status(config),
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": list(DRIVERS),
            },
            "MemoryLimit": features.memory,
            "SwapLimit": features.swap,
            "CpuCfsPeriod": features.cpu_cfs,
            "CpuCfsQuota": features.cpu_cfs,
            "CPUShares": features.cpu_shares,
            "CPUSet": features.cpuset,
            "PidsLimit": features.pids,
            "IPv4Forwarding": _is_on("/proc/sys/net/ipv4/ip_forward"),
            "Debug": config.debug,
            "NFd": len(os.listdir("/proc/self/fd")),
            "OomKillDisable": features.oom_kill_disable,
            "NGoroutines": _tasks(),
            "SystemTime": rfc3339(time.time_ns()),
            "LoggingDriver": config.log_driver,
            "CgroupDriver": features.cgroup_driver,
            "CgroupVersion": features.cgroup_version,
            "NEventsListener": self._events.listeners,
            "KernelVersion": platform.release(),
            "OperatingSystem": self._release.get("PRETTY_NAME", "Linux"),
            "OSVersion": self._release.get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": self._registries(),
            "NCPU": len(os.sched_getaffinity(0)),
            "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "GenericResources": None,
            "DockerRootDir": config.data_root,
            "HttpProxy": os.environ.get("HTTP_PROXY", os.environ.get("http_proxy", "")),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", os.environ.get("https_proxy", "")),
            "NoProxy": os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")),
            "Name": platform.node(),
            "Labels": config.labels,
            "ExperimentalBuild": config.experimental,
            "ServerVersion": VERSION,
            "Runtimes": self.runtimes(),
            "DefaultRuntime": config.default_runtime,
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "LiveRestoreEnabled": config.live_restore,
            "Isolation": "",
            "InitBinary": config.init_path or "docker-init",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": ""},
            "InitCommit": {"ID": ""},
            "SecurityOptions": _security_options(features, config),
            **({"DefaultAddressPools": pools} if pools else {}),
            "FirewallBackend": {"Driver": "nftables"},
            "CDISpecDirs": config.cdi_folders,
            **({"DiscoveredDevices": devices} if devices else {}),
            "Warnings": apiwarnings.warnings(config)
            + _seccomp_warnings(features, config)
            + warnings(features, forwarding=_is_on("/proc/sys/net/ipv4/ip_forward"))
            + faults,
        }

    def _registries(self) -> dict[str, Any]:
        cidrs, indexes = ["::1/128", "127.0.0.0/8"], {}
        for name in self._config.insecure_registries:
            if "/" in name:
                cidrs.append(name)
            else:
                indexes[name] = {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
        hub = {
            "Name": "docker.io",
            "Mirrors": self._config.registry_mirrors,
            "Secure": True,
            "Official": True,
        }
        return {
            "InsecureRegistryCIDRs": cidrs,
            "IndexConfigs": {**indexes, "docker.io": hub},
            "Mirrors": self._config.registry_mirrors,
        }


def _tasks() -> int:
    return len(asyncio.all_tasks())


def _is_on(path: str) -> bool:
    try:
        return Path(path).read_text().strip() == "1"
    except OSError:
        return False


def _os_release() -> dict[str, str]:
    """`/etc/os-release` as a mapping (os-release(5)); empty when there is none."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _driver_status(config: Config) -> list[list[str]] | None:
    if config.storage_driver == "vfs":
        return None
    return [
        ["Backing Filesystem", filesystem(Path(config.data_root))],
        ["Supports d_type", "true"],
        ["Using metacopy", "false"],
        ["Native Overlay Diff", "true"],
        ["userxattr", "false"],
    ]


def _seccomp_warnings(features: SysInfo, config: Config) -> list[str]:
    if features.seccomp and config.seccomp_profile:
        return ["WARNING: daemon is not using the default seccomp profile"]
    return []


def _security_options(features: SysInfo, config: Config) -> list[str]:
    options = []
    if features.apparmor:
        options.append("name=apparmor")
    if features.seccomp:
        options.append(f"name=seccomp,profile={config.seccomp_profile or 'builtin'}")
    if config.no_new_privileges:
        options.append("name=no-new-privileges")
    if features.cgroup_v2:
        options.append("name=cgroupns")
    return options

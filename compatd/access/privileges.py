"""What of a container's configuration gives it more of the machine than any container has.

Privileges, host paths and the host's processes can each be had through the others (a path holds the daemon's
socket, a device holds the paths), so whoever may not have one of them has none. Pure functions.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from compatd.access.facts import Container, Facts, Volume
from compatd.config.access import NO_HOST_NAMESPACES, NO_HOST_PATHS, NO_PRIVILEGED

Json = Mapping[str, Any]

BUILTIN_RUNTIME = "compatd"
CONFINED = frozenset((NO_PRIVILEGED, NO_HOST_PATHS, NO_HOST_NAMESPACES))

SHARED = "compatd.access.shared"
"""A volume with this label may be used by everybody, whatever it is made of."""

_DEFAULT_CAPABILITIES = frozenset(
    (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP"),
        *("SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
)
_SAFE_OPTIONS = ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true", "seccomp=builtin")
_FORBIDDEN = {
    "Privileged": "privileged containers are not allowed",
    "Devices": "devices are not allowed",
    "DeviceRequests": "devices are not allowed",
    "DeviceCgroupRules": "rules for devices are not allowed",
    "CgroupParent": "a parent cgroup is not allowed",
    "Annotations": "annotations are not allowed: runtimes take some of them for orders",
    "CpuRealtimePeriod": "real-time scheduling is not allowed",
    "CpuRealtimeRuntime": "real-time scheduling is not allowed",
}
_NETWORK_DRIVERS = ("", "bridge", "null", "default")
_HOST_BRIDGE = "com.docker.network.bridge.name"


def of_host_config(host: Json, limits: frozenset[str], facts: Facts) -> str:
    """Why a HostConfig goes beyond the limits; "" when it does not."""
    if not limits & CONFINED:
        return ""
    return (
        of_resources(host)
        or _security(host, facts)
        or _paths(host, facts)
        or _namespaces(host, limits, facts)
        or of_joined(joined(host), limits, facts)
    )


def of_resources(host: Json) -> str:
    """What stands by itself in a HostConfig, or in an update of one."""
    for key, text in _FORBIDDEN.items():
        if host.get(key):
            return text
    if (host.get("OomScoreAdj") or 0) < 0:
        return "an OOM score below 0 is not allowed"
    return ""


def _security(host: Json, facts: Facts) -> str:
    for name in host.get("CapAdd") or ():
        if str(name).upper().removeprefix("CAP_") not in _DEFAULT_CAPABILITIES:
            return f"capability {name} is not allowed"
    for option in host.get("SecurityOpt") or ():
        if option not in _SAFE_OPTIONS:
            return f"security option {str(option).partition('=')[0]} is not allowed"
    for key, usual in (("MaskedPaths", facts.masked_paths), ("ReadonlyPaths", facts.readonly_paths)):
        if host.get(key) is not None and not set(usual) <= set(host[key]):
            return "paths of /proc and /sys that are closed for all are not to be opened"
    runtime = host.get("Runtime") or ""
    if runtime not in ("", BUILTIN_RUNTIME, facts.default_runtime):
        return f"runtime {runtime} is not allowed"
    return _logging(host.get("LogConfig") or {})


def _logging(log: Json) -> str:
    for key, value in (log.get("Config") or {}).items():
        text = str(value)
        if text.startswith("/") or text.lower().startswith(("unix:", "unixgram:", "file:")):
            return f"log option {key} names a path of the host, which is not allowed"
    return ""


def _paths(host: Json, facts: Facts) -> str:
    if (host.get("VolumeDriver") or "local") != "local":
        return "volume drivers other than local are not allowed"
    for bind in host.get("Binds") or ():
        source = str(bind).partition(":")[0] if ":" in str(bind) else ""
        if is_path(source):
            return "host paths are not allowed"
        if why := _named(source, facts):
            return why
    for mount in host.get("Mounts") or ():
        kind = mount.get("Type") or ""
        if kind not in ("volume", "tmpfs", "image"):
            return f"mounts of type {kind} are not allowed: host paths"
        if kind == "volume":
            driver = (mount.get("VolumeOptions") or {}).get("DriverConfig") or {}
            why = of_volume_options(driver.get("Name") or "", driver.get("Options") or {})
            if why := why or _named(str(mount.get("Source") or ""), facts):
                return why
    return ""


def is_path(source: str) -> bool:
    """Whether the source of a bind can be no volume's name."""
    return bool(source) and not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", source)


def _named(name: str, facts: Facts) -> str:
    return of_volume(facts.volume(name)) if name else ""


def of_volume(volume: Volume | None) -> str:
    """Why a volume that is there may not be used."""
    if volume is None or SHARED in volume.labels:
        return ""
    return of_volume_options("local", volume.options)


def of_volume_options(driver: str, options: Json) -> str:
    """Why a volume may not be made like this."""
    if driver not in ("", "local"):
        return "volume drivers other than local are not allowed"
    if not any(options.get(key) for key in ("type", "device", "o")):
        return ""
    if options.get("type") == "tmpfs" and options.get("device") in (None, "", "tmpfs"):
        return ""
    return "volumes that mount something of the host's are not allowed"


def _namespaces(host: Json, limits: frozenset[str], facts: Facts) -> str:
    forbidden = {"PidMode": "process", "IpcMode": "IPC", "UsernsMode": "user"}
    if NO_HOST_NAMESPACES in limits:
        forbidden |= {"UTSMode": "UTS"}
        if facts.default_cgroupns != "host":
            forbidden |= {"CgroupnsMode": "cgroup"}
        if why := of_network_mode(str(host.get("NetworkMode") or ""), limits, facts):
            return why
    for key, name in forbidden.items():
        if host.get(key) == "host":
            return f"the host's {name} namespace is not allowed"
    return ""


def of_network_mode(mode: str, limits: frozenset[str], facts: Facts) -> str:
    """Why a network may not be joined: it is the host's, by whatever name."""
    if NO_HOST_NAMESPACES not in limits or not mode or mode.startswith("container:"):
        return ""
    network = facts.network(mode)
    if mode == "host" or (network is not None and network.driver == "host"):
        return "the host's network namespace is not allowed"
    return ""


def joined(host: Json) -> list[str]:
    """The containers that a HostConfig shares something with."""
    modes = (str(host.get(key) or "") for key in ("NetworkMode", "PidMode", "IpcMode"))
    found = [mode.removeprefix("container:") for mode in modes if mode.startswith("container:")]
    found += [str(name).partition(":")[0] for name in host.get("VolumesFrom") or ()]
    return found


def of_joined(references: Iterable[str], limits: frozenset[str], facts: Facts) -> str:
    """Why one of these containers may not be joined: it has what the caller may not have."""
    waiting, seen = list(references), set[str]()
    while waiting:
        container = facts.container(waiting.pop())
        if container is None or container.id in seen:
            continue
        seen.add(container.id)
        host = {**container.host_config, "VolumesFrom": None}
        for key in ("NetworkMode", "PidMode", "IpcMode"):
            if str(host.get(key) or "").startswith("container:"):
                host[key] = ""
        if why := of_host_config(host, limits, facts) or _mounted(container, facts):
            return f"container {container.id[:12]} has more than is allowed: {why}"
        waiting += joined(container.host_config)
    return ""


def _mounted(container: Container, facts: Facts) -> str:
    """The volumes that it really has, by whatever way they came."""
    for name in container.volumes:
        if why := of_volume(facts.volume(name)):
            return why
    return ""


def of_network(body: Json, limits: frozenset[str]) -> str:
    """Why a network may not be made like this."""
    if NO_HOST_NAMESPACES not in limits:
        return ""
    if (body.get("Driver") or "") not in _NETWORK_DRIVERS:
        return f"network driver {body['Driver']} is not allowed: it reaches the host's own network"
    if (body.get("Options") or {}).get(_HOST_BRIDGE):
        return "a bridge of the host's is not allowed"
    return ""

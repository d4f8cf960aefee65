"""Checks of a create request, in dockerd's order and words: all raise InvalidParameter (400)."""

import ipaddress
import posixpath
import re
from typing import Any

from compatd.engine.cgroupdriver import check_parent
from compatd.engine.containers import capabilities, mountspec
from compatd.engine.containers.resources import check_resources
from compatd.engine.containers.signals import parse_signal
from compatd.engine.errors import InvalidParameter
from compatd.engine.sysinfo import SysInfo

Json = dict[str, Any]

_PORT_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?\Z")
_PROTOCOLS = ("tcp", "udp", "sctp")
_RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")


def check_modes(config: Json, host: Json) -> None:
    """Combinations of namespaces modes with other options that can never work."""
    mode = host["NetworkMode"]
    if mode == "container" or mode.startswith("container:"):
        _container_network(config, host)
    if host["UTSMode"] == "host" and config["Hostname"]:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if mode == "host" and host["Links"]:
        raise InvalidParameter(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if host["Isolation"].lower() not in ("", "default"):
        raise InvalidParameter(f"invalid isolation ({host['Isolation']}): linux only supports 'default'")
    if host["IOMaximumBandwidth"]:
        raise InvalidParameter(
            "invalid option: QoS maximum bandwidth configuration is not supported on linux"
        )
    if host["IOMaximumIOps"]:
        raise InvalidParameter("invalid option: QoS maximum IOPs configuration is not supported on linux")


def check_realtime(host: Json, info: SysInfo) -> None:
    """The checks of a request's CPU options that come before all others."""
    period, runtime = host["CpuRealtimePeriod"], host["CpuRealtimeRuntime"]
    if (period or runtime) and not info.cpu_realtime:
        raise InvalidParameter("kernel does not support CPU real-time scheduler")
    if period and runtime and runtime > period:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")
    if host["CpuShares"] < 0:
        raise InvalidParameter(f"invalid CPU shares ({host['CpuShares']}): value must be a positive integer")


def _container_network(config: Json, host: Json) -> None:
    _, _, other = host["NetworkMode"].partition(":")
    conflict = "conflicting options: "
    if not other:
        raise InvalidParameter("invalid network mode: invalid container format container:<name|id>")
    if config["Hostname"]:
        raise InvalidParameter(conflict + "hostname and the network mode")
    if host["Links"]:
        raise InvalidParameter(
            conflict
            + "container type network can't be used with links. This would result in undefined behavior"
        )
    if host["Dns"]:
        raise InvalidParameter(conflict + "dns and the network mode")
    if host["ExtraHosts"]:
        raise InvalidParameter(conflict + "custom host-to-IP mapping and the network mode")
    if host["PortBindings"] or host["PublishAllPorts"]:
        raise InvalidParameter(conflict + "port publishing and the container type network mode")
    if config.get("ExposedPorts"):
        raise InvalidParameter(conflict + "port exposing and the container type network mode")


def check_config(config: Json) -> None:
    """The Config of a request; its working directory is made clean."""
    directory = config["WorkingDir"]
    if directory:
        if not directory.startswith("/"):
            raise InvalidParameter(
                f"the working directory '{directory}' is invalid, it needs to be an absolute path"
            )
        config["WorkingDir"] = "/" + posixpath.normpath(directory).lstrip("/")
    if config.get("StopSignal"):
        parse_signal(config["StopSignal"])
    for entry in config["Env"] or []:
        if not entry.partition("=")[0]:
            raise InvalidParameter(f"invalid environment variable: {entry}")
    _healthcheck(config.get("Healthcheck") or {})


def _healthcheck(check: Json) -> None:
    for name in ("Interval", "Timeout"):
        if 0 != check.get(name, 0) < 1_000_000:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if check.get("Retries", 0) < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    for name in ("StartPeriod", "StartInterval"):
        if 0 != check.get(name, 0) < 1_000_000:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")


def check_host(host: Json, have: list[str] | None = None) -> None:
    """The parts of a HostConfig that depend on nothing else. `have`: available capabilities, for tests."""
    policy = host["RestartPolicy"]
    if host["AutoRemove"] and policy["Name"] != "no":
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")
    for mount in host.get("Mounts") or []:
        mountspec.check_mount(mount)
    for entry in host["ExtraHosts"] or []:
        check_extra_host(entry)
    check_port_bindings(host["PortBindings"])
    check_restart_policy(policy)
    have = capabilities.available() if have is None else have
    for field in ("CapAdd", "CapDrop"):
        try:
            capabilities.normalise(host[field], have)
        except InvalidParameter as error:
            raise InvalidParameter(f"invalid {field}: {error.message}") from None
    if "" in (host.get("Annotations") or {}):
        raise InvalidParameter("invalid Annotations: the empty string is not permitted as an annotation key")


def check_extra_host(entry: str) -> None:
    """`name:address` or `name:host-gateway`; the command line makes that of `name=address` itself."""
    name, colon, address = entry.partition(":")
    if not name or not colon:
        raise InvalidParameter(f'bad format for add-host: "{entry}"')
    if address == "host-gateway":
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidParameter(f'invalid IP address in add-host: "{address}"') from None


def check_port_bindings(bindings: Json) -> None:
    """`{"80/tcp": [{"HostIp": …, "HostPort": "8080" or "8000-8010"}]}`."""
    for port, wanted in bindings.items():
        number, _, protocol = port.lower().partition("/")
        if not number.isdecimal() or not 0 < int(number) < 65536 or (protocol or "tcp") not in _PROTOCOLS:
            raise InvalidParameter(f'invalid port specification: "{port}"')
        for binding in wanted or []:
            host_port = binding.get("HostPort") or ""
            match = _PORT_RANGE.match(host_port)
            if host_port and (
                not match
                or int(match[1]) > 65535
                or int(match[2] or match[1]) not in range(int(match[1]), 65536)
            ):
                raise InvalidParameter(f'invalid port specification: "{host_port}"')


def check_restart_policy(policy: Json) -> None:
    """Name and count of a restart policy."""
    name, count = policy["Name"], policy["MaximumRetryCount"]
    if name not in _RESTART_POLICIES:
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if name == "on-failure":
        if count < 0:
            raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    elif count:
        message = "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        raise InvalidParameter(message + (" and cannot be negative" if count < 0 else ""))


def check_platform(config: Json | None, host: Json, info: SysInfo) -> list[str]:
    """What depends on this machine; the warnings for the client."""
    if config and len(config["Hostname"].encode()) > 64:
        raise InvalidParameter(f'hostname "{config["Hostname"]}" is too long (maximum 64 bytes)')
    warnings = check_resources(host, info)
    check_parent(host["CgroupParent"], info.cgroup_driver)
    for field, shown, valid in (
        ("IpcMode", "IPC", ("", "none", "private", "host", "shareable")),
        ("PidMode", "PID", ("", "host")),
    ):
        mode = host[field]
        if mode not in valid and not (mode.startswith("container:") and len(mode) > len("container:")):
            raise InvalidParameter(f"invalid {shown} mode: {mode}")
    if host["ShmSize"] < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if host["UTSMode"] not in ("", "host"):
        raise InvalidParameter(f"invalid UTS mode: {host['UTSMode']}")
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise InvalidParameter(
            f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]"
        )
    if not info.ipv4_forwarding and host["NetworkMode"] not in ("host", "none"):
        warnings.append("IPv4 forwarding is disabled. Networking will not work.")
    if host["NetworkMode"] == "host" and host["PortBindings"]:
        warnings.append("Published ports are discarded when using host network mode")
    for destination in host.get("Tmpfs") or {}:
        mountspec.check_destination(destination)
    if host["CgroupnsMode"] not in ("", "host", "private"):
        raise InvalidParameter(f"invalid cgroup namespace mode: {host['CgroupnsMode']}")
    if host["CgroupnsMode"] == "private" and not info.cgroup_namespaces:
        warnings.append(
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded."
        )
    return warnings


_MAC = re.compile(
    r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}"
)


def mac_address(text: str) -> str:
    """A hardware address as it is shown, of `02:42:…`, `02-42-…` or `0242.…`. Raises InvalidParameter."""
    if not _MAC.fullmatch(text.lower()):
        raise InvalidParameter(f"address {text}: invalid MAC address")
    return bytes.fromhex(re.sub("[^0-9a-f]", "", text.lower())).hex(":")

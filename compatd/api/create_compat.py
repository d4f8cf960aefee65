"""What older API versions mean by a create request: the changes dockerd makes to it, by version."""

from typing import Any

from apispec import Version
from compatd.engine.errors import EngineError, InvalidParameter

Json = dict[str, Any]


def adapt(body: Json, asked: Version) -> list[str]:
    """Change a create request in place to what the engine takes (its newest form); gives warnings.

    Raises InvalidParameter for options that the version does not know or knows no longer.
    """
    if not body:
        return []
    host = body.setdefault("HostConfig", {})
    host["NetworkMode"] = (
        "bridge" if host.get("NetworkMode") in (None, "", "default") else host["NetworkMode"]
    )
    endpoints: dict[str, Json] = body.setdefault("NetworkingConfig", {}).setdefault("EndpointsConfig", {})
    for name, settings in list(endpoints.items()):
        endpoints[name] = settings or {}
    if "default" in endpoints:
        endpoints.setdefault(host["NetworkMode"], endpoints["default"])
        del endpoints["default"]
    if asked < "1.40" and not host.get("IpcMode"):
        host["IpcMode"] = "shareable"
    if asked < "1.41" and not host.get("CgroupnsMode"):
        host["CgroupnsMode"] = "host"
    if asked < "1.42":
        host["ConsoleSize"] = [0, 0]
    if asked < "1.43":
        host.pop("Annotations", None)
    _mounts(host, asked)
    if asked < "1.44":
        (body.get("Healthcheck") or {}).pop("StartInterval", None)
        if len(endpoints) > 1:
            raise InvalidParameter(
                "Container cannot be created with multiple network endpoints: " + ", ".join(endpoints)
            )
    if asked < "1.48":
        for endpoint in endpoints.values():
            endpoint.pop("GwPriority", None)
    warnings = _volume_driver(host, asked)
    warnings += _mac_address(body.get("MacAddress") or "", host, endpoints, asked)
    warnings += _interface_sysctls(host, endpoints, asked)
    return warnings + _empty_bindings(host, asked)


def _mounts(host: Json, asked: Version) -> None:
    for mount in host.get("Mounts") or []:
        kind = mount.get("Type", "")
        for field, owner in (("VolumeOptions", "volume"), ("BindOptions", "bind"), ("TmpfsOptions", "tmpfs")):
            if mount.get(field) is None or kind == owner:
                continue
            if asked >= "1.42":
                raise InvalidParameter(f'{field} must not be specified on mount type "{kind}"')
            if field != "BindOptions":
                del mount[field]
        bind = mount.get("BindOptions") or {}
        if asked < "1.42":
            bind.pop("CreateMountpoint", None)
        if asked < "1.40":
            bind.pop("NonRecursive", None)
        if asked < "1.44" and bind.get("ReadOnlyForceRecursive"):
            raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
        if asked < "1.45" and (mount.get("VolumeOptions") or {}).get("Subpath"):
            raise InvalidParameter("VolumeOptions.Subpath needs API v1.45 or newer")
        if asked < "1.48" and kind == "image":
            raise InvalidParameter('Mount type "Image" needs API v1.48 or newer')


def _volume_driver(host: Json, asked: Version) -> list[str]:
    """The container-wide driver is not that of volumes in Mounts; said since 1.48."""
    if not host.get("VolumeDriver") or asked < "1.48":
        return []
    for mount in host.get("Mounts") or []:
        options = mount.get("VolumeOptions") or {}
        if mount.get("Type") == "volume" and not (options.get("DriverConfig") or {}).get("Name"):
            return [
                "WARNING: the container-wide volume-driver configuration is ignored for volumes specified "
                "via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
            ]
    return []


def _is_bridge_or_own(mode: str) -> bool:
    return mode not in ("default", "host", "none") and not mode.startswith("container:")


def _endpoint(host: Json, endpoints: dict[str, Json], asked: Version) -> Json:
    mode = host["NetworkMode"]
    if not endpoints:
        endpoints[mode] = {}
    elif asked < "1.44":
        return next(iter(endpoints.values()))
    if mode not in endpoints:
        raise InvalidParameter(
            "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
        )
    return endpoints[mode]


def _mac_address(mac: str, host: Json, endpoints: dict[str, Json], asked: Version) -> list[str]:
    """The container-wide MacAddress: meant before 1.44, deprecated up to 1.51, refused since 1.52."""
    if asked < "1.44" and not mac:
        for endpoint in endpoints.values():
            endpoint.pop("MacAddress", None)
    if not mac:
        return []
    if asked >= "1.52":
        return []  # the field is not in the request of this version: ignored like any unknown one
    own = _is_bridge_or_own(host["NetworkMode"])
    if asked < "1.44":
        if not own:
            raise InvalidParameter("conflicting options: mac-address and the network mode")
        _endpoint(host, endpoints, asked)["MacAddress"] = mac
        return []
    if own:
        try:
            endpoint = _endpoint(host, endpoints, asked)
        except InvalidParameter as error:
            raise InvalidParameter(
                "unable to migrate container-wide MAC address to a specific network: " + error.message
            ) from None
        if not endpoint.get("MacAddress"):
            endpoint["MacAddress"] = mac
        elif endpoint["MacAddress"].lower() != mac.lower():
            raise InvalidParameter(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main "
                "network, or be left empty"
            )
    return [
        "The container-wide MacAddress field is now deprecated. "
        "It should be specified in EndpointsConfig instead."
    ]


_SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls"


def _interface_sysctls(host: Json, endpoints: dict[str, Json], asked: Version) -> list[str]:
    """`net.ipv4.conf.eth0.x` moves into the endpoint's driver options (up to 1.47), later it is refused."""
    mode = host["NetworkMode"]
    if mode == "host" or mode.startswith("container:"):
        return []
    moved: list[str] = []
    wanted: list[str] = []
    for name, value in (host.get("Sysctls") or {}).items():
        parts = name.split(".", 4)
        if len(parts) != 5 or parts[0] != "net" or not parts[3].startswith("eth"):
            continue
        if asked > "1.47":
            raise EngineError(
                f'interface specific sysctl setting "{name}" must be supplied using driver option '
                f"'{_SYSCTLS_OPTION}'"
            )
        if parts[3] != "eth0":
            raise EngineError(
                f"unable to determine network endpoint for sysctl {name}, use driver option "
                f"'{_SYSCTLS_OPTION}' to set per-interface sysctls"
            )
        moved.append(name)
        wanted.append(f"net.{parts[1]}.{parts[2]}.IFNAME.{parts[4]}={value}")
    if not moved:
        return []
    options = _endpoint(host, endpoints, asked).setdefault("DriverOpts", {})
    joined = ",".join(wanted)
    options[_SYSCTLS_OPTION] = ",".join(filter(None, [joined, options.get(_SYSCTLS_OPTION)]))
    for name in moved:
        del host["Sysctls"][name]
    return [f'Migrated sysctl "{",".join(moved)}" to DriverOpts{{"{_SYSCTLS_OPTION}":"{joined}"}}.']


def _empty_bindings(host: Json, asked: Version) -> list[str]:
    """`{"80/tcp": []}` means one binding to any port; deprecated since 1.52."""
    bound = host.get("PortBindings") or {}
    empty = [port for port, bindings in bound.items() if not bindings]
    for port in empty:
        bound[port] = [{"HostIp": "", "HostPort": ""}]
    if not empty or asked < "1.52":
        return []
    return [
        f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}. "
        "Such bindings will be discarded in a future version."
    ]

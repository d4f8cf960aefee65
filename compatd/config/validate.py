"""What dockerd refuses of options that can be read one by one."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compatd.config.document import ConfigError
from compatd.config.hosts import check_host
from compatd.config.registries import check_insecure, check_mirror
from compatd.config.storage import storage_size
from compatd.config.values import check_domain, check_label, check_resource

if TYPE_CHECKING:
    from compatd.config.config import Config

_LEVELS = ("panic", "fatal", "error", "warn", "info", "debug", "trace")
_STORAGE_DRIVERS = ("overlay2", "overlay", "vfs")
_STOCK = ("compatd", "runc", "io.containerd.runc.v2", "crun")
_IPC = ("none", "host", "private", "shareable")
_OLDEST, _NEWEST = (1, 24), (1, 56)


def validate(config: Config) -> None:
    """What dockerd's configuration check refuses. Raises ConfigError."""
    if config.log_level.lower() not in _LEVELS:
        raise ConfigError(f"invalid logging level: {config.log_level}")
    if config.log_format not in ("text", "json"):
        raise ConfigError(f"invalid log format: {config.log_format}")
    try:
        config.dns_search = [check_domain(text) for text in config.dns_search]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    families = [ipaddress.ip_address(address).version for address in config.host_gateway_ips]
    for family in (4, 6):
        if families.count(family) > 1:
            raise ConfigError(f"only one IPv{family} host gateway IP address can be specified")
    for name, text in (
        ("mtu", "invalid default MTU"),
        ("max_concurrent_downloads", "invalid max concurrent downloads"),
        ("max_concurrent_uploads", "invalid max concurrent uploads"),
        ("max_download_attempts", "invalid max download attempts"),
        ("default_stop_timeout", "invalid default stop timeout"),
    ):
        if getattr(config, name) < 0:
            raise ConfigError(f"{text}: {getattr(config, name)}")
    port = config.given.get("network-diagnostic-port", 0)
    if not 0 <= port <= 65535:
        raise ConfigError(f"invalid network-diagnostic-port ({port}): value must be between 0 and 65535")
    if config.given.get("api-cors-header"):
        raise ConfigError(
            'DEPRECATED: The "api-cors-header" config parameter and the dockerd "--api-cors-header" option '
            "have been removed; use a reverse proxy if you need CORS headers"
        )
    _lists(config)
    path = config.given.get("userland-proxy-path", "")
    if config.userland_proxy and path and not path.startswith("/"):
        raise ConfigError(f"invalid userland-proxy-path: must be an absolute path: {path}")
    _exec_options(config.exec_opts)
    _ipc(config.default_ipc_mode)
    if config.default_cgroupns_mode not in ("", "host", "private"):
        raise ConfigError(
            f'invalid default cgroup namespace ({config.default_cgroupns_mode}): use "host" or "private"'
        )
    _firewall(config)
    if config.fixed_cidr_v6:
        _network6(config.fixed_cidr_v6)


def _lists(config: Config) -> None:
    """What a flag's value is checked for at once, here of the file's."""
    checks: tuple[tuple[list[str], Callable[[str], str]], ...] = (
        (config.labels, check_label),
        (config.given.get("node-generic-resources", []), check_resource),
        (config.hosts, check_host),
        (config.registry_mirrors, check_mirror),
    )
    try:
        for values, check in checks:
            for value in values:
                check(value)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _exec_options(options: list[str]) -> None:
    for option in options:
        key, equals, value = (part.strip() for part in option.partition("="))
        key = key.lower()
        if not equals or not key or not value:
            raise ConfigError(f"invalid exec-opt ({option}): must be formatted 'opt=value'")
        if key == "isolation":
            raise ConfigError(f"invalid exec-opt ({option}): option 'isolation' is only supported on windows")
        if key != "native.cgroupdriver":
            raise ConfigError(f"invalid exec-opt ({option}): unknown option: '{key}'")


def _ipc(mode: str) -> None:
    hint = 'use "shareable" or "private"'
    if mode and mode not in _IPC and not mode.startswith("container:"):
        raise ConfigError(f"default IPC mode setting ({mode}) is invalid; {hint}")
    if mode not in ("", "private", "shareable"):
        raise ConfigError(f'IPC mode "{mode}" is not supported as default value; {hint}')


def _firewall(config: Config) -> None:
    if config.firewall not in ("", "respect-host"):
        raise ConfigError('invalid firewall: the only value is "respect-host"')
    if config.firewall_backend not in ("", "iptables", "nftables"):
        raise ConfigError('invalid firewall-backend: allowed values are "iptables" and "nftables"')
    mark = config.bridge_accept_fwmark
    for part, name in zip(mark.partition("/")[::2], ("mark", "mask"), strict=True):
        if part and not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|0[bB][01]+|0[oO]?[0-7]*|[1-9]\d*", part):
            raise ConfigError(
                f'invalid bridge-accept-fwmark: invalid firewall {name} "{mark}": '
                f'strconv.ParseUint: parsing "{part}": invalid syntax'
            )


def _network6(text: str) -> None:
    try:
        network = ipaddress.ip_interface(text).network if "/" in text else None
    except ValueError:
        network = None
    if network is None:
        raise ConfigError(f"invalid fixed-cidr-v6: invalid CIDR address: {text}")
    if network.version != 6:
        raise ConfigError(f"invalid fixed-cidr-v6: '{text}' is not an IPv6 network")
    multicast = ipaddress.ip_network("ff00::/8")
    if network.overlaps(multicast):
        raise ConfigError(f"invalid fixed-cidr-v6: '{text}' is a multicast network")


def conflict_free_labels(labels: list[str]) -> list[str]:
    """Each label once, those without a value never. Raises ConfigError when two contradict each other."""
    found: dict[str, str] = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not equals:
            continue
        if key in found and found[key] != value:
            raise ConfigError(f"conflict labels for {key}={value} and {key}={found[key]}")
        found[key] = value
    return [f"{key}={value}" for key, value in found.items()]


def check_runtimes(default: str, runtimes: dict[str, dict[str, Any]]) -> None:
    """What dockerd refuses of the runtimes together. Raises ConfigError."""
    if "runc" in runtimes:
        raise ConfigError("runtime name 'runc' is reserved")
    if default not in (*_STOCK, *runtimes) and not re.fullmatch(r"io\.containerd\.[\w.]+\.v\d+", default):
        raise ConfigError(f"specified default runtime '{default}' does not exist")
    for name, runtime in runtimes.items():
        path, kind = runtime.get("path"), runtime.get("runtimeType")
        if not path and not kind:
            raise ConfigError(f"runtime {name}: either a runtimeType or a path must be configured")
        if path and kind:
            raise ConfigError(
                f"runtime {name}: cannot configure both path and runtimeType for the same runtime"
            )
        if path and runtime.get("options"):
            raise ConfigError(f"runtime {name}: options cannot be used with a path runtime")
        if kind and runtime.get("runtimeArgs"):
            raise ConfigError(f"runtime {name}: args cannot be used with a runtimeType runtime")


def validate_start(config: Config) -> None:
    """What dockerd finds out only when it starts; here `--validate` tells it, too. Raises ConfigError."""
    if config.storage_driver not in _STORAGE_DRIVERS:
        raise ConfigError(
            f"error initializing graphdriver: driver not supported: {config.storage_driver} "
            "(overlay2 and vfs are)"
        )
    try:
        config.container_size = storage_size(config.storage_driver, config.storage_opts)
    except ValueError as error:
        raise ConfigError(f"error initializing graphdriver: {error}") from None
    check_runtimes(config.default_runtime, config.runtimes)
    try:
        for name in config.insecure_registries:
            check_insecure(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if config.bridge and (config.bip or config.bip6):
        raise ConfigError("You specified -b & --bip, mutually exclusive options. Please specify only one")
    for plugin in config.authorization_plugins:
        raise ConfigError(
            f'failed to validate authorization plugin: plugin "{plugin}" not found: '
            'compatd has no plugins; "access" rules say who may do what'
        )
    if config.userns_remap:
        raise ConfigError(
            "userns-remap is not supported: root in a container would be root of the machine; "
            "remove the option, and give containers another user instead"
        )
    _check_versions(config)


def _check_versions(config: Config) -> None:
    variable = os.environ.get("DOCKER_MIN_API_VERSION", "")
    where = "DOCKER_MIN_API_VERSION" if variable else "min-api-version"
    text = variable or config.min_api_version
    if not text:
        return
    if text[0] in "vV":
        raise ConfigError(f'invalid {where}: API version must be provided without "v" prefix')
    found = re.fullmatch(r"(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < _OLDEST:
        raise ConfigError(f"invalid {where}: minimum supported API version is 1.24: {text}")
    if version > _NEWEST:
        raise ConfigError(f"invalid {where}: maximum supported API version is 1.56: {text}")
    config.min_api_version = text

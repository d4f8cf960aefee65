"""Merging flags with daemon.json as dockerd does: a key given in both places is an error."""

from pathlib import Path
from typing import Any

import orjson

from compatd.config.options import BY_KEY, OPTIONS
from compatd.config.values import VALUES, check_mirror

DEFAULT_FILE = "/etc/docker/daemon.json"
_MERGED = ("dns-opts", "labels", "log-opts", "insecure-registries", "registry-mirrors")
"""Keys whose flag values never conflict with the file's in dockerd: they are added up instead."""

_STORAGE_DRIVERS = ("overlay2", "overlay", "vfs")


class ConfigError(Exception):
    """The options cannot be used; the text is dockerd's."""


class Config:
    """Every option as an attribute, `data-root` as `data_root`; `given` has the keys that were set."""

    hosts: list[str]
    group: str
    data_root: str
    exec_root: str
    pidfile: str
    debug: bool
    log_level: str
    log_format: str
    default_runtime: str
    runtimes: dict[str, dict[str, Any]]
    cgroup_parent: str
    default_cgroupns_mode: str
    default_ipc_mode: str
    default_shm_size: int
    default_ulimits: dict[str, dict[str, Any]]
    init: bool
    init_path: str
    live_restore: bool
    shutdown_timeout: int
    no_new_privileges: bool
    seccomp_profile: str
    log_driver: str
    log_opts: dict[str, str]
    cdi_spec_dirs: list[str]
    features: dict[str, bool]
    labels: list[str]
    storage_driver: str
    insecure_registries: list[str]
    registry_mirrors: list[str]
    max_concurrent_downloads: int
    max_concurrent_uploads: int
    max_download_attempts: int
    registries: dict[str, dict[str, list[str]]]
    http_proxy: str
    https_proxy: str
    no_proxy: str
    bridge: str
    bip: str
    default_address_pools: list[dict[str, Any]]
    dns: list[str]
    dns_opts: list[str]
    dns_search: list[str]
    fixed_cidr: str
    ip: str
    ip_forward: bool
    ip_masq: bool
    iptables: bool
    icc: bool
    mtu: int
    userland_proxy: bool
    experimental: bool

    def __init__(self, given: dict[str, Any] | None = None) -> None:
        self.given: dict[str, Any] = dict(given or {})
        for option in OPTIONS:
            value = self.given.get(option.key, option.default)
            if isinstance(value, list | dict):
                value = value.copy()
            setattr(self, option.attribute, value)

    @property
    def default_ip(self) -> str:
        """The host address of published ports that name none."""
        return self.ip

    @property
    def cdi_folders(self) -> list[str]:
        """Where descriptions of devices are looked for: nowhere with `""` or without the feature `cdi`."""
        folders = [folder for folder in self.cdi_spec_dirs if folder]
        return folders if self.features.get("cdi", True) else []

    @property
    def root(self) -> Path:
        """Our own folder below the data root."""
        return Path(self.data_root) / "compatd"


def load(flags: dict[str, Any], file: str | None) -> Config:
    """Merge `flags` (by daemon.json key, only those given) with the JSON file.

    `file` None is the default file, which may be missing. Raises ConfigError with dockerd's text.
    """
    path = Path(file or DEFAULT_FILE)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if file is not None:
            raise ConfigError(
                f"unable to configure the Docker daemon with file {path}: "
                f"open {path}: no such file or directory"
            ) from None
        return _validate(Config(flags))
    except OSError as error:
        raise ConfigError(
            f"unable to configure the Docker daemon with file {path}: {error.strerror}"
        ) from None
    try:
        document = parse(data)
        return _validate(Config(_merge(flags, document)))
    except ConfigError as error:
        raise ConfigError(f"unable to configure the Docker daemon with file {path}: {error}") from None


def parse(data: bytes) -> dict[str, Any]:
    """Checked daemon.json keys of `data`; an empty file has none. Raises ConfigError."""
    if not data.strip():
        return {}
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"invalid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError("invalid JSON: an object is needed")
    proxies = document.pop("proxies", {})
    if not isinstance(proxies, dict):
        raise ConfigError("proxies: an object is needed")
    document = {**document, **proxies}
    unknown = [key for key in document if key not in BY_KEY]
    if unknown:
        raise ConfigError(
            f"the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    checked = {}
    for key, value in document.items():
        try:
            checked[key] = VALUES[BY_KEY[key].kind].check(value)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
    return checked


def _merge(flags: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    conflicts = []
    merged = {**document, **flags}
    for key, flag in flags.items():
        if key not in document:
            continue
        value = document[key]
        if key in _MERGED:
            merged[key] = {**value, **flag} if isinstance(value, dict) else [*value, *flag]
            continue
        conflicts.append(f"{key}: (from flag: {_go(flag)}, from file: {_go(value)})")
    if conflicts:
        raise ConfigError(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )
    return merged


def _go(value: Any) -> str:
    """A value as Go's %v prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(map(_go, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


def _validate(config: Config) -> Config:
    """What dockerd refuses at start. Raises ConfigError."""
    if config.storage_driver not in _STORAGE_DRIVERS:
        raise ConfigError(
            f"error initializing graphdriver: driver not supported: {config.storage_driver} "
            "(overlay2 and vfs are)"
        )
    known = {"compatd", "runc", "io.containerd.runc.v2", "crun", *config.runtimes}
    if config.default_runtime not in known:
        raise ConfigError(
            f'specified default runtime "{config.default_runtime}" does not exist: add it with --add-runtime'
        )
    for label in config.labels:
        if "=" not in label:
            raise ConfigError(f"bad attribute format: {label}")
    for mirror in config.registry_mirrors:
        try:
            check_mirror(mirror)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    for name in ("max_concurrent_downloads", "max_concurrent_uploads", "max_download_attempts"):
        if getattr(config, name) <= 0:
            raise ConfigError(f"invalid {name.replace('_', ' ')}: {getattr(config, name)}")
    if config.mtu < 0:
        raise ConfigError(f"invalid default MTU: {config.mtu}")
    if config.bridge and config.bip:
        raise ConfigError("you specified -b & --bip, mutually exclusive options. Please specify only one")
    return config

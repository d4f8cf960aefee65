"""Merging flags with daemon.json as dockerd does: a key given in both places is an error."""

import os
from pathlib import Path
from typing import Any

from compatd.config.document import ConfigError, parse, read
from compatd.config.hosts import normal_hosts
from compatd.config.options import OPTIONS
from compatd.config.validate import conflict_free_labels, validate, validate_start
from compatd.config.values import VALUES, floating, plain

DEFAULT_FILE = "/etc/docker/daemon.json"

_MERGED = ("runtimes",)
"""Keys that flags and file may both give: they are added up."""

SECRET = ("http-proxy", "https-proxy")
"""Keys whose values may hold a password."""


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
    raw_logs: bool
    tls: bool | None
    tlsverify: bool | None
    tlscacert: str
    tlscert: str
    tlskey: str
    metrics_addr: str
    min_api_version: str
    access: list[dict[str, Any]]
    audit_log: str
    idle_exit: int
    authorization_plugins: list[str]
    userns_remap: str
    default_runtime: str
    runtimes: dict[str, dict[str, Any]]
    cgroup_parent: str
    exec_opts: list[str]
    default_cgroupns_mode: str
    default_ipc_mode: str
    default_shm_size: int
    default_ulimits: dict[str, dict[str, Any]]
    default_stop_timeout: int
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
    builder: dict[str, Any]
    labels: list[str]
    storage_driver: str
    storage_opts: list[str]
    container_size: int  # of storage_opts, in bytes; 0: no limit
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
    bip6: str
    fixed_cidr: str
    fixed_cidr_v6: str
    default_gateway: str
    default_gateway_v6: str
    ipv6: bool
    default_address_pools: list[dict[str, Any]]
    default_network_opts: dict[str, dict[str, str]]
    dns: list[str]
    dns_opts: list[str]
    dns_search: list[str]
    host_gateway_ips: list[str]
    ip: str
    ip_forward: bool
    ip_forward_no_drop: bool
    ip_masq: bool
    iptables: bool
    ip6tables: bool
    firewall: str
    firewall_backend: str
    allow_direct_routing: bool
    bridge_accept_fwmark: str
    icc: bool
    mtu: int
    userland_proxy: bool
    experimental: bool

    def __init__(self, given: dict[str, Any] | None = None) -> None:
        self.given: dict[str, Any] = dict(given or {})
        self.container_size = 0
        self.notes: list[str] = []  # about what stands in the file and has no effect
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
    path = file or DEFAULT_FILE
    try:
        config = Config(flags)
        document = read(path, missing_ok=file is None)
        if document is not None:
            notes: list[str] = []
            config = Config(merge(flags, document, notes))
            config.notes = notes
            try:
                validate(config)
            except ConfigError as error:
                raise ConfigError(
                    f"merged configuration validation from file and command line flags failed: {error}"
                ) from None
    except ConfigError as error:
        raise ConfigError(f"unable to configure the Docker daemon with file {path}: {error}") from None
    _settle_tls(config, flags)
    try:
        config.hosts = normal_hosts(config.hosts, tls=bool(config.tls))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    validate(config)
    if not config.default_cgroupns_mode:
        v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        config.default_cgroupns_mode = "private" if v2 else "host"
    if config.seccomp_profile == "builtin":
        config.seccomp_profile = ""
    config.labels = conflict_free_labels(config.labels)
    if "host-gateway-ip" in config.given:
        config.host_gateway_ips = [config.given["host-gateway-ip"]]
    validate_start(config)
    return config


def merge(flags: dict[str, Any], document: dict[str, Any], notes: list[str] | None = None) -> dict[str, Any]:
    """Flags and the decoded file together; `notes` as in `parse`. Raises ConfigError when both give a key."""
    known, raw = parse(document, [] if notes is None else notes)
    conflicts = []
    for option in OPTIONS:
        key = option.key
        if key not in flags or key not in raw or key in _MERGED:
            continue
        flag, value = VALUES[option.kind].show(flags[key]), plain(floating(raw[key]))
        if key in SECRET:
            flag, value = mask(flag), mask(value)
        conflicts.append(f"{key}: (from flag: {flag}, from file: {value})")
    wrong = []
    if "host-gateway-ip" in raw:
        if "host-gateway-ips" in raw:
            wrong.append("host-gateway-ip and host-gateway-ips must not both be specified in the config file")
        if "host-gateway-ips" in flags:
            flag = plain(flags["host-gateway-ips"])
            conflicts.append(
                f"host-gateway-ip: (from flag: {flag}, from file: {plain(raw['host-gateway-ip'])})"
            )
    if conflicts:
        wrong.append(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )
    if wrong:
        raise ConfigError("\n".join(wrong))
    checked = known()
    merged = {**checked, **flags}
    for key in _MERGED:
        if key in checked and key in flags:
            merged[key] = {**flags[key], **checked[key]}
    return merged


def mask(url: str) -> str:
    """An address without the user's name and password in it."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or "@" not in authority:
        return url
    return f"{scheme}://xxxxx:xxxxx@{authority.rpartition('@')[2]}{slash}{path}"


def cert_folder() -> str:
    """Where certificates are without `--tlscert` and its like."""
    folder = os.environ.get("DOCKER_CERT_PATH") or os.environ.get("DOCKER_CONFIG")
    return folder or str(Path(os.environ.get("HOME") or "/root") / ".docker")


def _settle_tls(config: Config, flags: dict[str, Any]) -> None:
    """`tls` and `tlsverify` in dockerd's way, and the files' default places."""
    on_line = bool(flags.get("tls")) or "tlsverify" in flags or bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if "tlsverify" in config.given:
        config.tls = True
    if config.tlsverify is None and config.tls is not None:
        config.tlsverify = config.tls
    if not on_line:
        return
    folder = Path(cert_folder())
    if not config.tlscacert:
        config.tlscacert = str(folder / "ca.pem")
    for name in ("tlscert", "tlskey"):
        default = folder / f"{name.removeprefix('tls')}.pem"
        if not getattr(config, name) and default.exists():
            setattr(config, name, str(default))

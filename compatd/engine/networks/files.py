"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, byte for byte as engines since 28 write
them.

Older ones write `fe00::0`, and resolv.conf without comments; see docs/differences.md.
"""

import ipaddress
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compatd.engine.networks import resolvconf
from compatd.engine.networks.model import ContainerLike, Endpoint, Network
from compatd.engine.networks.resolvconf import ResolvConf, canonical, has_names

log = logging.getLogger(__name__)

HOSTS = Path("/etc/hosts")
_IPV6 = Path("/proc/sys/net/ipv6")

_LOCALHOST = ("127.0.0.1", "localhost")
_LOCALHOST6 = (
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def hostname_file(hostname: str) -> bytes:
    """/etc/hostname."""
    return hostname.encode() + b"\n"


def hosts_file(entries: Iterable[tuple[str, str]], *, ipv6: bool = True) -> bytes:
    """/etc/hosts: the defaults, then `entries` as (address, names). Without `ipv6` no IPv6 line at all."""
    if ipv6:
        return _lines((_LOCALHOST, *_LOCALHOST6, *entries))
    return _lines((_LOCALHOST, *(entry for entry in entries if ":" not in entry[0])))


def _lines(entries: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{address}\t{names}\n" for address, names in entries).encode()


def own_names(config: Mapping[str, Any]) -> str:
    """How a container calls itself in its hosts file: host name with domain, and without."""
    hostname, domain = str(config.get("Hostname") or ""), str(config.get("Domainname") or "")
    full = f"{hostname}.{domain}" if domain else hostname
    short, dot, _ = full.partition(".")
    return f"{full} {short}" if dot else full


def own_entries(
    config: Mapping[str, Any], endpoints: Iterable[Endpoint], *, ipv6: bool
) -> list[tuple[str, str]]:
    """A container's own lines, for the addresses of its endpoints."""
    names = own_names(config)
    addresses = [a for e in endpoints for a in (e.address, e.address6) if a]
    return [(address, names) for address in addresses if ipv6 or ":" not in address]


def has_ipv6(host_config: Mapping[str, Any]) -> bool:
    """Whether a container's loopback has IPv6: it is on unless sysctls say otherwise."""
    sysctls = host_config.get("Sysctls") or {}
    off = (f"net.ipv6.conf.{name}.disable_ipv6" for name in ("all", "lo"))
    return _IPV6.exists() and not any(str(sysctls.get(key, "0")).strip() not in ("", "0") for key in off)


def connected(container: ContainerLike, endpoint: Endpoint) -> None:
    """A running container has got an endpoint more: its hosts file has, too. Failures are logged."""
    entries = own_entries(container.config, [endpoint], ipv6=has_ipv6(container.host_config))
    try:
        with open(container.dir / "hosts", "ab") as file:
            file.write(_lines(entries))
    except OSError as error:
        log.warning("the hosts file of %s: %s", container.name, error)


def disconnected(container: ContainerLike, endpoint: Endpoint) -> None:
    """Takes an endpoint's lines out of the hosts file, unless somebody has changed them. Failures are
    logged."""
    gone = {
        (ipaddress.ip_address(a), names) for a, names in own_entries(container.config, [endpoint], ipv6=True)
    }
    try:
        with open(container.dir / "hosts", "r+b") as file:
            lines = file.read().decode(errors="surrogateescape").split("\n")
            kept = "".join(f"{line}\n" for line in lines if line and not _is_of(line, gone))
            file.seek(0)
            file.truncate()  # in place: the file is mounted into the container
            file.write(kept.encode(errors="surrogateescape"))
    except OSError as error:
        log.warning("the hosts file of %s: %s", container.name, error)


def _is_of(line: str, entries: set[tuple[Any, str]]) -> bool:
    address, _, names = line.rpartition("\t")
    try:
        return (ipaddress.ip_address(address.strip()), names) in entries
    except ValueError:
        return False


def extra_hosts(given: Iterable[str], gateways: Sequence[str]) -> list[tuple[str, str]]:
    """HostConfig.ExtraHosts ("name:address", "name:host-gateway") as (address, name)."""
    found = []
    for entry in given:
        name, _, address = entry.partition(":")
        for value in gateways if address == "host-gateway" else [address]:
            found.append((canonical(value) or value, name))
    return found


def resolv_conf(
    host_config: Mapping[str, Any], daemon: Any, *, resolver: bool, ipv6: bool = False
) -> ResolvConf:
    """The resolv.conf of a container, with or without our resolver. `ipv6`: the default bridge has it.

    `daemon` has `dns`, `dns_search`, `dns_opts`, which are for containers that say nothing themselves.
    """
    mode = str(host_config.get("NetworkMode") or "default")
    if mode in ("default", "bridge", "none"):
        found = ResolvConf.load(resolvconf.host_path())
    else:
        # Our resolver reaches the host's loopback, so the host's stub resolver may be asked.
        found = ResolvConf.load(resolvconf.RESOLV_CONF)
    found.override(
        host_config.get("Dns") or daemon.dns or [],
        host_config.get("DnsSearch") or daemon.dns_search or [],
        host_config.get("DnsOptions") or daemon.dns_opts or [],
    )
    if resolver:
        found.for_resolver()
    elif mode != "host":
        found.for_default_network(ipv6=ipv6)
    return found


def write(
    container: ContainerLike, daemon: Any, endpoints: Sequence[Endpoint], default: Network | None = None
) -> dict[str, Path]:
    """Writes all three files into the container's folder, before its start; their paths by name.

    `default` is the default bridge's network: its gateways stand for host-gateway unless the daemon has
    others. Raises OSError.
    """
    host_config = container.host_config
    on_host = host_config.get("NetworkMode") == "host"
    hostname = str(container.config.get("Hostname") or (socket.gethostname() if on_host else ""))
    subnets = [*default.of_version(4), *default.of_version(6)] if default is not None else []
    gateways = daemon.host_gateway_ips or [subnet.gateway for subnet in subnets if subnet.gateway]
    extra = extra_hosts(host_config.get("ExtraHosts") or [], gateways)
    extra += getattr(container, "linked_hosts", ())
    if on_host and not extra:
        hosts = _read(HOSTS)
    else:
        inside = has_ipv6(host_config)
        entries = [] if on_host else own_entries(container.config, endpoints, ipv6=inside)
        hosts = hosts_file([*extra, *entries], ipv6=inside)
    resolver = any(has_names(e.network_name) for e in endpoints)
    ipv6 = default is not None and default.ipv6
    resolv = resolv_conf(host_config, daemon, resolver=resolver, ipv6=ipv6)
    paths = {name: container.dir / name for name in ("hostname", "hosts", "resolv.conf")}
    paths["hostname"].write_bytes(hostname_file(hostname))
    paths["hosts"].write_bytes(hosts)
    resolvconf.write(paths["resolv.conf"], resolv.content(), keep_hash=True)
    return paths


def to_resolver(container: ContainerLike, resolv: ResolvConf) -> None:
    """A running container has got its first network with names: its resolv.conf says so, unless somebody has
    edited it. Raises OSError."""
    path = container.dir / "resolv.conf"
    if not resolvconf.modified(path):
        resolvconf.write(path, resolv.content(), keep_hash=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""

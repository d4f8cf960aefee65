"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, byte for byte as Docker 20.10 writes them.

(Docker 26 and later write comments about the origin into resolv.conf; 27 and later write `fe00::` for
`fe00::0` and leave IPv6 lines out where IPv6 is off. See docs/differences.md.)
"""

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESOLV_CONF = Path("/etc/resolv.conf")
SYSTEMD_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")
HOSTS = Path("/etc/hosts")

_DEFAULT_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff00::0", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
_DEFAULT_DNS4 = ("8.8.8.8", "8.8.4.4")
_DEFAULT_DNS6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")

_V6 = rb"([0-9A-Fa-f]{0,4}:){2,7}([0-9A-Fa-f]{0,4})(%\w+)?"
_OCTET = rb"(25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_V4 = rb"(" + _OCTET + rb"\.){3}" + _OCTET
_LOCAL_LINE = re.compile(rb"^nameserver\s+((127\.([0-9]{1,3}\.){2}[0-9]{1,3})|(::1)$)\s*\n*", re.M)
_V6_LINE = re.compile(rb"^nameserver\s+" + _V6 + rb"\s*\n*", re.M)
_NAMESERVER = re.compile(rb"^\s*nameserver\s*((" + _V4 + rb")|(" + _V6 + rb"))\s*$")


def hostname_file(hostname: str) -> bytes:
    """/etc/hostname."""
    return hostname.encode() + b"\n"


def hosts_file(
    extra: Iterable[tuple[str, str]], addresses: Iterable[str], hostname: str, domain: str = ""
) -> bytes:
    """/etc/hosts: the defaults, `extra` as (address, name), and the container's own addresses."""
    lines = [*_DEFAULT_HOSTS, *extra]
    full = f"{hostname}.{domain}" if domain else hostname
    short, dot, _ = full.partition(".")
    names = f"{full} {short}" if dot else full
    lines += [(address, names) for address in addresses]
    return "".join(f"{address}\t{name}\n" for address, name in lines).encode()


def resolv_conf_path(path: Path | None = None, systemd: Path = SYSTEMD_RESOLV_CONF) -> Path:
    """Where the host's real resolvers are: systemd-resolved's file when 127.0.0.53 is the only one."""
    path = path or RESOLV_CONF
    try:
        only = nameservers(path.read_bytes())
    except OSError:
        return path
    return systemd if only == ["127.0.0.53"] else path


def resolv_conf(
    host: bytes, dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()
) -> bytes:
    """/etc/resolv.conf of a container without an embedded resolver, from the host's content.

    With any of `dns`, `search`, `options` it is written anew, the others taken from the host; else the
    host's content is kept without resolvers that cannot be reached from a container.
    """
    if dns or search or options:
        return _build(
            list(dns) or nameservers(host),
            list(search) or _last(host, b"search"),
            list(options) or _last(host, b"options"),
        )
    # Twice, as dockerd: at first IPv6 may be there, then the network turns out to have none.
    return _filter(_filter(host, ipv6=True), ipv6=False)


def nameservers(content: bytes) -> list[str]:
    """The addresses on `nameserver` lines."""
    found = []
    for line in content.split(b"\n"):
        match = _NAMESERVER.match(line.split(b"#")[0])
        if match:
            found.append(match[1].decode())
    return found


def _last(content: bytes, word: bytes) -> list[str]:
    values: list[str] = []
    for line in content.split(b"\n"):
        text = line.split(b"#")[0].strip()
        if text.startswith(word):
            values = text[len(word) :].decode(errors="replace").split()
    return values


def _build(dns: list[str], search: list[str], options: list[str]) -> bytes:
    lines = []
    if search and " ".join(search).strip(" ") != ".":
        lines.append("search " + " ".join(search))
    lines += [f"nameserver {server}" for server in dns]
    if options and " ".join(options).strip(" "):
        lines.append("options " + " ".join(options))
    return "".join(f"{line}\n" for line in lines).encode()


def _filter(content: bytes, *, ipv6: bool) -> bytes:
    content = _LOCAL_LINE.sub(b"", content)
    if not ipv6:
        content = _V6_LINE.sub(b"", content)
    if not nameservers(content):
        servers = _DEFAULT_DNS4 + (_DEFAULT_DNS6 if ipv6 else ())
        content += ("\n" + "\n".join(f"nameserver {s}" for s in servers)).encode()
    return content


def extra_hosts(given: Iterable[str], gateway: str) -> list[tuple[str, str]]:
    """HostConfig.ExtraHosts ("name:address", "name:host-gateway") as (address, name)."""
    found = []
    for entry in given:
        name, _, address = entry.partition(":")
        found.append((gateway if address == "host-gateway" else address, name))
    return found


def contents(
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    daemon: Any,
    *,
    address: str,
    gateway: str,
    linked: Iterable[tuple[str, str]] = (),
) -> dict[str, bytes]:
    """All three files of a container, by name in its folder.

    `config` and `host_config` are in the API's spelling, `daemon` has `dns`, `dns_search`, `dns_opts`;
    `address` is the container's, "" for none; `gateway` stands for host-gateway; `linked`: addresses and
    names of linked containers.
    """
    on_host = host_config.get("NetworkMode") == "host"
    hostname = str(config.get("Hostname") or (socket.gethostname() if on_host else ""))
    extra = [*extra_hosts(host_config.get("ExtraHosts") or [], gateway), *linked]
    if on_host and not extra:
        hosts = _read(HOSTS)
    else:
        own = [address] if address else []
        hosts = hosts_file(extra, own, hostname, str(config.get("Domainname") or ""))
    dns = host_config.get("Dns") or daemon.dns or []
    search = host_config.get("DnsSearch") or daemon.dns_search or []
    options = host_config.get("DnsOptions") or daemon.dns_opts or []
    if on_host:
        resolv = _read(RESOLV_CONF)
        if dns or search or options:
            resolv = resolv_conf(resolv, dns, search, options)
    else:
        resolv = resolv_conf(_read(resolv_conf_path()), dns, search, options)
    return {"hostname": hostname_file(hostname), "hosts": hosts, "resolv.conf": resolv}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""

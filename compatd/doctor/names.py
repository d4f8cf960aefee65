"""Name resolution: the servers that containers get are this machine's (resolv.conf(5))."""

import ipaddress
from collections.abc import Iterator

from compatd.config import Config
from compatd.doctor.finding import OK, PROBLEM, WARNING, Finding
from compatd.doctor.machine import Machine

NAME = "names"
_SYSTEMD = "/run/systemd/resolve/resolv.conf"
_FIX = ['set "dns": ["ADDRESS"] in /etc/docker/daemon.json, then: systemctl restart docker']


def check(machine: Machine, config: Config) -> Iterator[Finding]:
    """Whether a container on the default bridge can reach one of the servers."""
    if config.dns:
        yield Finding(NAME, OK, f"containers ask {', '.join(config.dns)} (dns in the configuration)")
        return
    servers = _servers(machine.read("/etc/resolv.conf"))
    if not servers:
        yield Finding(NAME, WARNING, "/etc/resolv.conf names no server: containers ask 8.8.8.8", _FIX)
    elif not all(_is_loopback(server) for server in servers):
        yield Finding(NAME, OK, f"containers ask {', '.join(servers)}")
    elif "127.0.0.53" in servers and (better := _servers(machine.read(_SYSTEMD))):
        yield Finding(NAME, OK, f"containers ask {', '.join(better)} (systemd-resolved's)")
    else:
        yield Finding(
            NAME,
            WARNING,
            f"/etc/resolv.conf names only {', '.join(servers)}, which a container on the default bridge does "
            "not reach: it asks 8.8.8.8 instead (on networks of your own our resolver asks for it)",
            _FIX,
        )
    if not machine.read("/etc/hosts").strip():
        yield Finding(NAME, PROBLEM if not servers else WARNING, "/etc/hosts is empty: localhost has no name",
                      ["echo 127.0.0.1 localhost >>/etc/hosts"])  # fmt: skip


def _servers(text: str) -> list[str]:
    rows = (line.split() for line in text.splitlines())
    return [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False

"""The host's side of a bridge network: the bridge, its addresses and the sysctls that it needs."""

import ipaddress
import secrets
import socket
from pathlib import Path

from runtime.net import rtnetlink
from runtime.net.plan import write_sysctl


def ensure_bridge(name: str, addresses: list[str], mtu: int = 0, *, keep_ipv4: bool = False) -> int:
    """Makes the bridge `name` with `addresses` ("172.17.0.1/16", "fd00::1/64") and brings it up; its index.

    A bridge that is there is kept with its ports; other IPv4 addresses (not with `keep_ipv4`, for
    `inhibit_ipv4`) and other global IPv6 addresses are taken from it. Without an IPv6 address among those
    given IPv6 is left as it is. Raises OSError that names the step; EEXIST when a link of that name is no
    bridge.
    """
    addresses = [str(ipaddress.ip_interface(a)) for a in addresses]
    six = any(":" in a for a in addresses)
    with rtnetlink.open_route() as sock:
        link = find_link(name)
        if link is None:
            # A fixed MAC address: else it would change with the lowest port's, and with it what the
            # containers remember of their gateway.
            sock.run([rtnetlink.add_bridge(name, "02:42:" + secrets.token_bytes(4).hex(":"))])
        elif link != "bridge":
            raise FileExistsError(17, f"add bridge {name}: a link of that name is no bridge")
        index = socket.if_nametoindex(name)
        if six:
            # Also an address of a link that is down needs IPv6 on.
            _ipv6_sysctl(name, "disable_ipv6", "0")
        there = rtnetlink.addresses(sock, index)
        old = [a for a in there if a not in addresses and not (keep_ipv4 and ":" not in a)]
        old = [a for a in old if ":" not in a or not ipaddress.ip_interface(a).is_link_local]
        requests = [rtnetlink.delete_address(index, a) for a in old]
        requests += [rtnetlink.add_address(index, a) for a in addresses if a not in there]
        if mtu and link is None:
            requests.append(rtnetlink.set_link(name, mtu=mtu))
        requests.append(rtnetlink.set_link(name, up=True))
        _ipv6_sysctl(name, "accept_ra", "0")
        sock.run(requests)
    return index


def allow_loopback(name: str) -> None:
    """Lets packets from 127.0.0.1 leave by the bridge, so that ports published there can be reached.

    The firewall drops what comes *in* from the bridge for 127.0.0.0/8 (CVE-2020-8558). Raises OSError.
    """
    write_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")


def enable_forwarding(family: int = 4) -> bool:
    """Switches the forwarding of IPv4 or IPv6 (6) on; answers False when it was. Raises OSError."""
    key = "net/ipv4/ip_forward" if family == 4 else "net/ipv6/conf/all/forwarding"
    if Path(f"/proc/sys/{key}").read_text().strip() == "1":
        return False
    write_sysctl(key, "1")
    return True


def has_ipv6() -> bool:
    """Whether the kernel has IPv6."""
    return Path("/proc/sys/net/ipv6").exists()


def isolate(name: str, *, on: bool) -> None:
    """With icc=false the bridge's ports are isolated from each other; then the host answers ARP for all of
    them and routes between them, so that the firewall's table can let linked containers through."""
    write_sysctl(f"net/ipv4/conf/{name}/proxy_arp_pvlan", "1" if on else "0")


def find_link(name: str) -> str | None:
    """The kind of the link ("bridge", "veth", "" for a physical one), or None when there is none."""
    with rtnetlink.open_route() as sock:
        for link in rtnetlink.links(sock):
            if link["name"] == name:
                return str(link["kind"])
    return None


def link_addresses(name: str) -> list[str]:
    """A link's addresses with prefix lengths; none when there is no such link."""
    with rtnetlink.open_route() as sock:
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return []
        return rtnetlink.addresses(sock, index)


def routed_networks(without: str = "") -> list[str]:
    """Where the host's IPv4 routes lead to, without the default route and without the link `without`."""
    with rtnetlink.open_route() as sock:
        try:
            skipped = socket.if_nametoindex(without) if without else 0
        except OSError:
            skipped = 0
        return [
            str(r["destination"])
            for r in rtnetlink.routes(sock)
            if r["destination"] != "0.0.0.0/0" and (not skipped or r["index"] != skipped)
        ]


def delete_link(name: str) -> None:
    """Deletes a link, a bridge or a veth; none is no error."""
    with rtnetlink.open_route() as sock:
        try:
            sock.run([rtnetlink.delete_link(name)])
        except OSError as e:
            if e.errno != 19:  # ENODEV
                raise


def _ipv6_sysctl(name: str, key: str, value: str) -> None:
    try:
        write_sysctl(f"net/ipv6/conf/{name}/{key}", value)
    except FileNotFoundError:
        pass  # a kernel without IPv6

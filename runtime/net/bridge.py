"""The host's side of a bridge network: the bridge, its address and the sysctls that it needs."""

import secrets
import socket
from pathlib import Path

from runtime.net import rtnetlink
from runtime.net.plan import write_sysctl


def ensure_bridge(name: str, address: str, mtu: int = 0) -> int:
    """Makes the bridge `name` with `address` ("172.17.0.1/16") and brings it up; answers its index.

    A bridge that is there is kept with its ports; other IPv4 addresses are taken from it.
    Raises OSError that names the step; EEXIST when a link of that name is no bridge.
    """
    with rtnetlink.open_route() as sock:
        link = find_link(name)
        if link is None:
            # A fixed MAC address: else it would change with the lowest port's, and with it what the
            # containers remember of their gateway.
            sock.run([rtnetlink.add_bridge(name, "02:42:" + secrets.token_bytes(4).hex(":"))])
        elif link != "bridge":
            raise FileExistsError(17, f"add bridge {name}: a link of that name is no bridge")
        index = socket.if_nametoindex(name)
        there = rtnetlink.addresses(sock, index)
        requests = [rtnetlink.delete_address(index, a) for a in there if ":" not in a and a != address]
        if address not in there:
            requests.append(rtnetlink.add_address(index, address))
        if mtu and link is None:
            requests.append(rtnetlink.set_link(name, mtu=mtu))
        requests.append(rtnetlink.set_link(name, up=True))
        _no_router_advertisements(name)
        sock.run(requests)
    return index


def allow_loopback(name: str) -> None:
    """Lets packets from 127.0.0.1 leave by the bridge, so that ports published there can be reached.

    The firewall drops what comes *in* from the bridge for 127.0.0.0/8 (CVE-2020-8558). Raises OSError.
    """
    write_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")


def enable_forwarding() -> bool:
    """Switches net.ipv4.ip_forward on; answers False when it was. Raises OSError."""
    if Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1":
        return False
    write_sysctl("net.ipv4.ip_forward", "1")
    return True


def find_link(name: str) -> str | None:
    """The kind of the link ("bridge", "veth", "" for a physical one), or None when there is none."""
    with rtnetlink.open_route() as sock:
        for link in rtnetlink.links(sock):
            if link["name"] == name:
                return str(link["kind"])
    return None


def ipv4_address(name: str) -> str | None:
    """The first IPv4 address of a link with its prefix length; None when there is no link or address."""
    with rtnetlink.open_route() as sock:
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return None
        return next((a for a in rtnetlink.addresses(sock, index) if ":" not in a), None)


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


def _no_router_advertisements(name: str) -> None:
    try:
        write_sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")
    except FileNotFoundError:
        pass  # a kernel without IPv6

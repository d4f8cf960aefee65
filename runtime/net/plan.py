"""Runs a NetPlan: gives a new network namespace its loopback, interfaces, addresses and routes.

Runs in the shim, which has one thread: it enters the namespace for a moment to open a netlink socket and
write sysctls there (both belong to the namespace of the calling thread), and comes back.
"""

import contextlib
import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

from runtime.net import rtnetlink
from runtime.net.netlink import NetlinkSocket, Request, oserror

CLONE_NEWNET = 0x40000000
_PROC = "/proc/sys/"


def apply(plan: dict[str, Any], netns_fd: int) -> list[dict[str, Any]]:
    """Configures the namespace behind `netns_fd` as `plan` (docs/architecture.md, NetPlan) says.

    `mode` "new" only; for "host" and "container" there is nothing to do and the answer is empty.
    Answers one {"host_name", "name", "index", "mac", "addresses"} per endpoint.
    Raises OSError that names the step that failed. What was made by then goes with the namespace: a veth
    ends when one of its ends does, a macvlan or ipvlan is there only.
    """
    if plan.get("mode", "new") != "new":
        return []
    endpoints = plan.get("endpoints") or []
    if endpoints:
        make_links(endpoints, netns_fd)
    with inside(netns_fd), rtnetlink.open_route() as sock:
        sock.run([rtnetlink.set_link("lo", up=True)])
        made = configure(sock, endpoints)
        for key, value in (plan.get("sysctls") or {}).items():
            write_sysctl(key, value)
    return made


def make_links(endpoints: list[dict[str, Any]], netns_fd: int) -> None:
    """Makes the endpoints' interfaces in `netns_fd`, all in one write. Raises OSError."""
    requests = []
    for e in endpoints:
        requests += _KINDS[e.get("kind") or "bridge"](e, netns_fd)
    with rtnetlink.open_route() as host:
        host.run(requests)


def _bridge(e: dict[str, Any], netns_fd: int) -> list[Request]:
    master = _index(e["bridge"]) if e.get("bridge") else None
    mac, mtu = e.get("mac"), e.get("mtu")
    veth = rtnetlink.add_veth(e["host_name"], e["name"], netns_fd=netns_fd, master=master, mac=mac, mtu=mtu)
    if master is None:
        return [veth]
    port = rtnetlink.set_bridge_port(
        e["host_name"], hairpin=e.get("hairpin", True), isolated=e.get("isolated", False)
    )
    return [veth, port]


def _macvlan(e: dict[str, Any], netns_fd: int) -> list[Request]:
    parent, mode = _index(e["parent"]), e.get("mode") or "bridge"
    mac, mtu = e.get("mac"), e.get("mtu")
    return [rtnetlink.add_macvlan(e["name"], parent, mode, netns_fd=netns_fd, mac=mac, mtu=mtu)]


def _ipvlan(e: dict[str, Any], netns_fd: int) -> list[Request]:
    parent, mode, flag = _index(e["parent"]), e.get("mode") or "l2", e.get("ipvlan_flag") or "bridge"
    return [rtnetlink.add_ipvlan(e["name"], parent, mode, flag, netns_fd=netns_fd, mtu=e.get("mtu"))]


_KINDS = {"bridge": _bridge, "macvlan": _macvlan, "ipvlan": _ipvlan}


def configure(sock: NetlinkSocket, endpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Addresses, sysctls and routes of interfaces that are there, in the calling thread's namespace.

    `sock` is a route socket of it. Answers as `apply`. Raises OSError.
    """
    made = []
    requests = []
    routes = []
    for e in endpoints:
        name = e["name"]
        index = _index(name)
        _tame_ipv6(name, any(":" in a for a in e["addresses"]))
        _announce(name, e)
        for key, value in (e.get("sysctls") or {}).items():
            write_sysctl(key.replace(".", "/").replace("IFNAME", name), value)
        requests += [rtnetlink.add_address(index, a) for a in e["addresses"]]
        requests.append(rtnetlink.set_link(name, up=True))
        routes += default_routes(index, e)
        made.append(
            {
                "host_name": e.get("host_name") or "",
                "name": name,
                "index": index,
                "mac": e.get("mac"),
                "addresses": e["addresses"],
            }
        )
    # After all links are up: a gateway may be reached by another one.
    sock.run(requests + routes)
    return made


def default_routes(index: int, e: dict[str, Any]) -> list[Request]:
    """The default routes that an endpoint, or `live.default_route`'s order, asks for."""
    found = [rtnetlink.add_route(index, e[key]) for key in ("gateway", "gateway6") if e.get(key)]
    # A layer 3 ipvlan has no gateway: all goes to the link.
    if e.get("default_device"):
        found.append(rtnetlink.add_route(index, None))
    if e.get("default_device6"):
        found.append(rtnetlink.add_route(index, None, version=6))
    return found


@contextlib.contextmanager
def inside(netns_fd: int) -> Iterator[None]:
    """The calling thread is in another network namespace meanwhile."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(netns_fd)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise oserror(errno.ENODEV, f"find link {name}") from None


def _tame_ipv6(name: str, wanted: bool) -> None:
    """As dockerd: an interface without an IPv6 address has IPv6 off; one with it takes no router
    advertisements, which a neighbour could send to become its gateway (CVE-2020-13401)."""
    try:
        if wanted:
            write_sysctl(f"net.ipv6.conf.{name}.accept_ra", "0")
            write_sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "0")
        else:
            write_sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "1")
    except FileNotFoundError:
        pass  # a kernel without IPv6


def _announce(name: str, e: dict[str, Any]) -> None:
    """When the interface comes up the kernel tells the neighbours, who may know another one's MAC address
    for an address that is used again. Not on layer 3, where nobody asks."""
    if e.get("kind") == "ipvlan" and (e.get("mode") or "l2") != "l2":
        return
    if any(":" not in a for a in e["addresses"]):
        write_sysctl(f"net/ipv4/conf/{name}/arp_notify", "1")
    if any(":" in a for a in e["addresses"]):
        write_sysctl(f"net/ipv6/conf/{name}/ndisc_notify", "1")


def write_sysctl(key: str, value: str) -> None:
    """Writes a sysctl of the calling thread's namespace; key as `net.ipv4.ip_forward` or with slashes.

    Raises OSError.
    """
    path = _PROC + (key if "/" in key else key.replace(".", "/"))
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as e:
        raise OSError(e.errno, f"write sysctl {key}={value}: {os.strerror(e.errno or 0)}") from None
    finally:
        os.close(fd)


_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    # 3.11 has no os.setns; see setns(2).
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")

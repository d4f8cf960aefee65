"""Runs a NetPlan: gives a new network namespace its loopback, veths, addresses and routes.

Runs in the shim, which has one thread: it enters the namespace for a moment to open a netlink socket and
write sysctls there (both belong to the namespace of the calling thread), and comes back.
"""

import ctypes
import errno
import os
import socket
from typing import Any

from runtime.net import rtnetlink
from runtime.net.netlink import NetlinkSocket, oserror

CLONE_NEWNET = 0x40000000
_PROC = "/proc/sys/"


def apply(plan: dict[str, Any], netns_fd: int) -> list[dict[str, Any]]:
    """Configures the namespace behind `netns_fd` as `plan` (docs/architecture.md, NetPlan) says.

    `mode` "new" only; for "host" and "container" there is nothing to do and the answer is empty.
    Answers one {"host_name", "host_index", "name", "index", "mac", "addresses"} per endpoint.
    Raises OSError that names the step that failed. What was made by then goes with the namespace, since
    a veth ends when one of its ends does.
    """
    if plan.get("mode", "new") != "new":
        return []
    endpoints = plan.get("endpoints") or []
    host = rtnetlink.open_route()
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if endpoints:
            _make_veths(host, endpoints, netns_fd)
        _setns(netns_fd)
        try:
            return _configure_inside(endpoints, plan.get("sysctls") or {})
        finally:
            _setns(home)
    finally:
        os.close(home)
        host.close()


def _make_veths(host: NetlinkSocket, endpoints: list[dict[str, Any]], netns_fd: int) -> None:
    requests = []
    for e in endpoints:
        master = _index(e["bridge"]) if e.get("bridge") else None
        requests.append(
            rtnetlink.add_veth(
                e["host_name"],
                e["name"],
                netns_fd=netns_fd,
                master=master,
                mac=e.get("mac"),
                mtu=e.get("mtu"),
            )
        )
        if master is not None:
            requests.append(
                rtnetlink.set_bridge_port(
                    e["host_name"], hairpin=e.get("hairpin", True), isolated=e.get("isolated", False)
                )
            )
    host.run(requests)


def _configure_inside(endpoints: list[dict[str, Any]], sysctls: dict[str, str]) -> list[dict[str, Any]]:
    made = []
    requests = [rtnetlink.set_link("lo", up=True)]
    for e in endpoints:
        name = e["name"]
        index = _index(name)
        _tame_ipv6(name, any(":" in a for a in e["addresses"]))
        requests += [rtnetlink.add_address(index, a) for a in e["addresses"]]
        requests.append(rtnetlink.set_link(name, up=True))
        if e.get("gateway"):
            requests.append(rtnetlink.add_route(index, e["gateway"]))
        if e.get("gateway6"):
            requests.append(rtnetlink.add_route(index, e["gateway6"]))
        made.append(
            {
                "host_name": e["host_name"],
                "name": name,
                "index": index,
                "mac": e.get("mac"),
                "addresses": e["addresses"],
            }
        )
    for key, value in sysctls.items():
        write_sysctl(key, value)
    with rtnetlink.open_route() as inside:
        inside.run(requests)
    return made


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

"""The resolver's end in a container's network namespace: sockets on 127.0.0.11, and redirects to them.

The sockets are bound to ports of the kernel's choice and rules take port 53 there, as dockerd's do: a program
in the container may have port 53 for itself. The resolver gets the sockets; nothing of them stays here.
"""

from __future__ import annotations

import _socket
import array
import json
import os
import socket
import struct

from runtime import syscalls
from runtime.net import nfnetlink as nf
from runtime.net import nft_expressions as x
from runtime.net.netlink import Request, attr, attr_be32, nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADDRESS = "127.0.0.11"
TABLE = "docker-dns"  # dockerd's name, where it uses nftables
_PORT = 53
_BACKLOG = 128
_IP_SOURCE, _IP_DESTINATION = 12, 16  # offsets in the headers
_SOURCE_PORT, _DESTINATION_PORT = 0, 2
_PROTOCOLS = (_socket.IPPROTO_UDP, _socket.IPPROTO_TCP)
_NAT_DESTINATION, _NAT_SOURCE = -100, 100  # priorities, linux/netfilter_ipv4.h
_NFT_NAT_SNAT = 0


def open_sandbox(plan: dict[str, Any], netns: int, pid: int, *, again: bool = False) -> None:
    """Make a container's sockets and redirects and hand them to the resolver with its first process.

    `plan` is a NetPlan's `dns`, `{"socket": path of the resolver's socket, "sandbox": …}`; `again`: there may
    be redirects already. Raises OSError that names the step. To be called in a process with one thread.
    """
    pidfd = os.pidfd_open(pid)
    try:
        _open(plan, netns, pidfd, again)
    finally:
        os.close(pidfd)


def reopen(arguments: dict[str, Any], fds: list[int]) -> None:
    """A worker: `{"plan": a NetPlan's dns}`, the container's network namespace and its first process's pidfd.

    For a container that has no resolver yet, or had one that died. Raises OSError.
    """
    netns, pidfd = fds
    _open(arguments["plan"], netns, pidfd, True)


def _open(plan: dict[str, Any], netns: int, pidfd: int, again: bool) -> None:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    sockets: list[socket.socket] = []
    try:
        syscalls.setns(netns, syscalls.CLONE_NEWNET)
        try:
            for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
                sock = socket.socket(_socket.AF_INET, kind)
                sockets.append(sock)
                sock.bind((ADDRESS, 0))
            sockets[1].listen(_BACKLOG)
            _redirect([sock.getsockname()[1] for sock in sockets], again)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
        fds = [*(sock.fileno() for sock in sockets), pidfd]
        _tell(plan["socket"], {"op": "open", "sandbox": plan["sandbox"]}, fds)
    finally:
        os.close(home)
        for sock in sockets:
            sock.close()


def _redirect(ports: list[int], again: bool) -> None:
    table = nf.NftSocket()
    try:
        table.commit(redirects(ports, again))
    finally:
        table.close()


def redirects(ports: list[int], again: bool = False) -> list[Request]:
    """The table: `ports` are the UDP socket's and the TCP socket's."""
    address = _socket.inet_aton(ADDRESS)
    requests = [nf.new_table(TABLE)]
    if again:
        requests += [nf.delete_table(TABLE), nf.new_table(TABLE)]
    requests += [
        nf.new_chain(TABLE, "dns-dnat", "nat", nf.HOOK_OUTPUT, _NAT_DESTINATION),
        nf.new_chain(TABLE, "dns-snat", "nat", nf.HOOK_POSTROUTING, _NAT_SOURCE),
    ]
    for protocol, port in zip(_PROTOCOLS, ports, strict=True):
        here, there = struct.pack("!H", _PORT), struct.pack("!H", port)
        to_us = _matches(_IP_DESTINATION, address, protocol, _DESTINATION_PORT, here)
        from_us = _matches(_IP_SOURCE, address, protocol, _SOURCE_PORT, there)
        target = [_load(address), _load(there, x.register(4))]
        requests.append(
            nf.new_rule(TABLE, "dns-dnat", [*to_us, *target, x.dnat(nf.NFPROTO_IPV4, x.register(4))])
        )
        requests.append(nf.new_rule(TABLE, "dns-snat", [*from_us, _load(here), _new_source_port()]))
    return requests


def _matches(offset: int, address: bytes, protocol: int, port_offset: int, port: bytes) -> list[bytes]:
    return [
        x.payload(x.NETWORK_HEADER, offset, 4),
        x.compare(address),
        x.meta(x.META_L4PROTO),
        x.compare(bytes((protocol,))),
        x.payload(x.TRANSPORT_HEADER, port_offset, 2),
        x.compare(port),
    ]


def _load(value: bytes, register: int = x.REG) -> bytes:
    """A constant in a register (nft_immediate)."""
    return x.expression("immediate", attr_be32(1, register), nested(2, attr(1, value)))


def _new_source_port() -> bytes:
    """`snat to :port`, the port from register 1."""
    return x.expression(
        "nat", attr_be32(1, _NFT_NAT_SNAT), attr_be32(2, nf.NFPROTO_IPV4), attr_be32(5, x.REG)
    )


def _tell(path: str, message: dict[str, Any], fds: list[int]) -> None:
    """Send one message; it is there even if the resolver is only just being started."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET) as sock:
            sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")  # paths may be long
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))]
            sock.sendmsg([json.dumps(message).encode()], rights, _socket.MSG_NOSIGNAL)
    finally:
        os.close(folder)

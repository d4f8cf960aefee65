"""Forgets tracked flows (ctnetlink; linux/netfilter/nfnetlink_conntrack.h).

NAT is decided at a flow's first packet. UDP has no end of a flow, so a client that goes on sending keeps the
target, or the lack of one, from before a port was published or withdrawn; a TCP client that waits for a
container that is gone would wait for ever.
"""

import socket
import struct
from collections.abc import Callable, Collection

from runtime.net.netlink import NetlinkSocket, Request, attributes, nested
from runtime.net.nfnetlink import NETLINK_NETFILTER

NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS = 1, 2, 3
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V6_SRC = 1, 3
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
IPS_DST_NAT = 0x20
ENOENT = 2
UDP = 17


def forget(
    udp_ports: Collection[int], addresses: Collection[str] = (), *, still: Callable[[str], bool] | None = None
) -> int:
    """Deletes the UDP flows whose first packet went to one of `udp_ports`, and all flows that were
    translated to one of the containers' `addresses`; answers how many.

    `still` is asked right before such a flow is deleted: whether its address is given up still.
    Raises OSError, as when the kernel has no ctnetlink (EOPNOTSUPP).
    """
    get = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET
    gone = 0
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        flows = [body for _, body in sock.dump(get, bytes(4), "list tracked connections")]
        for body in flows:
            parts = attributes(body[4:])
            original = parts.get(CTA_TUPLE_ORIG, b"")
            protocol = attributes(attributes(original).get(CTA_TUPLE_PROTO, b""))
            if not _is_udp_to(protocol, udp_ports):
                target = _translated_to(parts)
                if target not in addresses or (still is not None and not still(target)):
                    continue
            gone += _delete(sock, body[0], original)
    return gone


def _delete(sock: NetlinkSocket, family: int, original: bytes) -> int:
    kind = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE
    body = struct.pack("!BBH", family, 0, 0) + nested(CTA_TUPLE_ORIG, original)
    try:
        sock.run([Request(kind, 0, body, "forget a flow")])
    except OSError as e:
        if e.errno != ENOENT:  # it has ended by itself
            raise
        return 0
    return 1


def _is_udp_to(protocol: dict[int, bytes], ports: Collection[int]) -> bool:
    if protocol.get(CTA_PROTO_NUM, b"\0")[0] != UDP:
        return False
    return struct.unpack("!H", protocol[CTA_PROTO_DST_PORT][:2])[0] in ports


def _translated_to(parts: dict[int, bytes]) -> str:
    """Who answers a flow whose destination was translated, else ""."""
    if not struct.unpack("!I", parts.get(CTA_STATUS, bytes(4)))[0] & IPS_DST_NAT:
        return ""
    ends = attributes(attributes(parts.get(CTA_TUPLE_REPLY, b"")).get(CTA_TUPLE_IP, b""))
    if CTA_IP_V4_SRC in ends and len(ends[CTA_IP_V4_SRC]) == 4:
        return socket.inet_ntoa(ends[CTA_IP_V4_SRC])
    return socket.inet_ntop(socket.AF_INET6, ends[CTA_IP_V6_SRC]) if CTA_IP_V6_SRC in ends else ""

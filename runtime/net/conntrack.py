"""Forgets tracked UDP flows (ctnetlink; linux/netfilter/nfnetlink_conntrack.h).

NAT is decided at a flow's first packet. UDP has no end of a flow, so a client that goes on sending keeps the
target, or the lack of one, from before a port was published or withdrawn.
"""

import struct

from runtime.net.netlink import NetlinkSocket, Request, attributes, nested
from runtime.net.nfnetlink import NETLINK_NETFILTER, NFPROTO_IPV4

NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 1, 2
CTA_TUPLE_ORIG = 1
CTA_TUPLE_PROTO = 2
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
ENOENT = 2


def forget_udp(ports: set[int]) -> int:
    """Deletes the IPv4 UDP flows whose first packet went to one of `ports`; answers how many.

    Raises OSError, as when the kernel has no ctnetlink (EOPNOTSUPP).
    """
    head = struct.pack("!BBH", NFPROTO_IPV4, 0, 0)
    get = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET
    delete = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE
    gone = 0
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        flows = [body for _, body in sock.dump(get, head, "list tracked connections")]
        for body in flows:
            original = attributes(body[4:]).get(CTA_TUPLE_ORIG, b"")
            protocol = attributes(attributes(original).get(CTA_TUPLE_PROTO, b""))
            if protocol.get(CTA_PROTO_NUM, b"\0")[0] != 17:
                continue
            if struct.unpack("!H", protocol[CTA_PROTO_DST_PORT][:2])[0] not in ports:
                continue
            try:
                sock.run([Request(delete, 0, head + nested(CTA_TUPLE_ORIG, original), "forget a UDP flow")])
                gone += 1
            except OSError as e:
                if e.errno != ENOENT:  # it has ended by itself
                    raise
    return gone

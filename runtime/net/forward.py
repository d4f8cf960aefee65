"""Other programs' forward chains: a packet must be accepted by every table, so one that drops stops ours.

iptables' FORWARD chain (which is `ip filter FORWARD` in nf_tables) drops by default where ufw is on, or where
dockerd ran before; there the bridge gets two accepting rules, where dockerd puts its own. Our own table has
decided already what may go to a container.
"""

import struct
from typing import NamedTuple

from runtime.net import nfnetlink as nf
from runtime.net import nft_expressions as x
from runtime.net.netlink import NLM_F_APPEND, NLM_F_CREATE, attr, attr_str, attributes, nested

_FAMILIES = {1: "inet", 2: "ip"}
_USER_CHAIN = b"DOCKER-USER\0"  # where people keep rules that come before dockerd's, and so before ours


class Chain(NamedTuple):
    """A base chain at the forward hook that sees IPv4."""

    family: str
    table: str
    name: str
    drops: bool  # by default

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def chains() -> list[Chain]:
    """All chains at the forward hook in the present network namespace. Raises OSError."""
    found = []
    kind = nf.NFNL_SUBSYS_NFTABLES << 8 | nf.GETCHAIN
    with nf.NftSocket() as sock:
        for _, body in sock.dump(kind, bytes(4), "list nf_tables chains"):
            a = attributes(body[4:])
            if body[0] not in _FAMILIES or 4 not in a:
                continue
            hook = attributes(a[4])
            if struct.unpack("!I", hook[1])[0] != nf.HOOK_FORWARD:
                continue
            drops = struct.unpack("!I", a.get(5, bytes((0, 0, 0, 1))))[0] == nf.NF_DROP
            table, name = (a[i].rstrip(b"\0").decode() for i in (1, 3))
            found.append(Chain(_FAMILIES[body[0]], table, name, drops))
    return found


def accept_bridge(bridge: str) -> None:
    """Adds the bridge's two rules to iptables' FORWARD chain, once. Raises OSError."""
    text = nf.comment(f"compatd {bridge}")
    kind = nf.NFNL_SUBSYS_NFTABLES << 8 | nf.GETRULE
    head = struct.pack("!BBH", nf.NFPROTO_IPV4, 0, 0) + attr_str(1, "filter") + attr_str(2, "FORWARD")
    behind: bytes | None = None
    with nf.NftSocket() as sock:
        for _, body in sock.dump(kind, head, "list rules of ip filter FORWARD"):
            a = attributes(body[4:])
            if a.get(7) == text:
                return
            if _USER_CHAIN in a.get(4, b""):
                behind = a[3]
        rules = []
        for key in (x.META_IIFNAME, x.META_OIFNAME):
            expressions = [*x.interface(key, bridge), x.counter(), x.accept()]
            parts = [attr_str(1, "filter"), attr_str(2, "FORWARD"), nested(4, *expressions), attr(7, text)]
            flags = NLM_F_CREATE
            if behind is not None:  # after that rule; without a position: first of all
                parts.append(attr(6, behind))
                flags |= NLM_F_APPEND
            rules.append(nf.message(nf.NEWRULE, flags, f"accept {bridge} in ip filter FORWARD", *parts))
        sock.commit(rules)

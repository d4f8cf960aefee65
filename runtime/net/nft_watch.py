"""Hears of changes that others make to nf_tables (the multicast group of linux/netfilter/nfnetlink.h)."""

import errno
from collections.abc import Callable

from runtime.net import nfnetlink as nf
from runtime.net.netlink import NetlinkSocket, attributes

NFNLGRP_NFTABLES = 7
_GONE = {nf.DELTABLE, nf.DELCHAIN, nf.DELRULE, nf.DELSET, nf.DELSETELEM}
OTHERS = ("filter", "firewalld")
_TABLE = 1  # the first attribute of all these messages


class Watch:
    """A non-blocking socket to wait for; `changed` reads what there is."""

    def __init__(self, ours: Callable[[], set[int]]) -> None:
        """`ours` answers the netlink port IDs whose changes are our own. Raises OSError."""
        self._netlink = NetlinkSocket(nf.NETLINK_NETFILTER)
        self._ours = ours
        sock = self._netlink.sock
        sock.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))  # one without an address of its own hears nothing
        sock.setblocking(False)

    def fileno(self) -> int:
        """For the event loop."""
        return self._netlink.sock.fileno()

    def close(self) -> None:
        """Hears no more."""
        self._netlink.close()

    def changed(self, table: str) -> set[str]:
        """Reads all news: the tables of which somebody else took something away, `table` or those of other
        firewalls, iptables' and firewalld's (of these also new chains: a policy may have changed)."""
        ours = self._ours()
        found: set[str] = set()
        while True:
            try:
                for kind, port, body in self._netlink.heard():
                    if port not in ours:
                        found |= _table_of(kind, body, table)
            except BlockingIOError:
                return found
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise
                found = {table, *OTHERS}  # news were lost: whatever they were


def _table_of(kind: int, body: bytes, table: str) -> set[str]:
    if kind >> 8 != nf.NFNL_SUBSYS_NFTABLES:
        return set()
    name = attributes(body[4:]).get(_TABLE, b"").rstrip(b"\0").decode(errors="replace")
    if name == table and kind & 255 in _GONE:
        return {table}
    if name in OTHERS and kind & 255 in (nf.DELTABLE, nf.DELCHAIN, nf.DELRULE, nf.NEWCHAIN):
        return {name}
    return set()

"""nf_tables over nfnetlink: batches, and the messages for tables, chains, sets, elements and rules.

Constants from linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h. Standard library only.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Iterator

from runtime.net.netlink import (
    NLA_F_NESTED,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLMSG_ERROR,
    NetlinkSocket,
    Request,
    attr,
    attr_be32,
    attr_str,
    nested,
    oserror,
)

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17
NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, DELSET = 9, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
NF_ACCEPT, NF_DROP, NFT_JUMP, NFT_RETURN = 1, 0, -3, -5
HOOK_PREROUTING, HOOK_INPUT, HOOK_FORWARD, HOOK_OUTPUT, HOOK_POSTROUTING = range(5)
NFT_SET_MAP = 8
NFPROTO_IPV4, NFPROTO_IPV6 = socket.AF_INET, socket.AF_INET6

# Types as `nft` numbers them (a concatenation shifts by 6 bits), so that it can show the sets.
TYPE_IPV4_ADDR, TYPE_IPV6_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE, TYPE_IFNAME = 7, 8, 12, 13, 41

_NESTED, _NESTED_VALUE = struct.Struct("=HH"), struct.Struct("=HHHH")

# User data of a set: its keys are in host byte order. Without it `nft` shows interface names as "".
_HOST_ORDER = bytes((0, 4)) + struct.pack("=I", 1)


def message(kind: int, flags: int, what: str, *parts: bytes, family: int = NFPROTO_IPV4) -> Request:
    """An nf_tables message with its nfgenmsg header."""
    body = struct.pack("!BBH", family, 0, 0) + b"".join(parts)
    return Request((NFNL_SUBSYS_NFTABLES << 8) | kind, flags, body, what)


def concat(*types: int) -> int:
    """The type number of a concatenation, `ipv4_addr . inet_service` as 7<<6|13."""
    number = 0
    for t in types:
        number = number << 6 | t
    return number


def comment(text: str, kind: int = 0) -> bytes:
    """User data that `nft` shows as comment (libnftnl's udata: type, length, text with NUL)."""
    raw = text.encode()[:127] + b"\0"
    return bytes((kind, len(raw))) + raw


def new_table(table: str, family: int = NFPROTO_IPV4) -> Request:
    """Makes the table, or leaves the one that is there."""
    parts = [attr_str(1, table), attr_be32(2, 0)]
    return message(NEWTABLE, NLM_F_CREATE, f"add table {table}", *parts, family=family)


def delete_table(table: str, family: int = NFPROTO_IPV4) -> Request:
    """Deletes the table with all it holds."""
    return message(DELTABLE, 0, f"delete table {table}", attr_str(1, table), family=family)


def new_chain(
    table: str,
    name: str,
    kind: str = "",
    hook: int = 0,
    priority: int = 0,
    policy: int = NF_ACCEPT,
    *,
    family: int = NFPROTO_IPV4,
) -> Request:
    """A chain; with `kind` ("nat", "filter") a base chain at `hook` and `priority`."""
    parts = [attr_str(1, table), attr_str(3, name)]
    if kind:
        parts += [
            nested(4, attr_be32(1, hook), attr(2, struct.pack("!i", priority))),
            attr_be32(5, policy),
            attr_str(7, kind),
        ]
    return message(NEWCHAIN, NLM_F_CREATE, f"add chain {table} {name}", *parts, family=family)


def new_set(
    table: str,
    name: str,
    number: int,
    key: tuple[int, int],
    data: tuple[int, int] | None = None,
    *,
    family: int = NFPROTO_IPV4,
) -> Request:
    """A set, or with `data` a map. `key` and `data` are (type number, length in bytes); `number` is any
    that no other set of the batch has."""
    parts = [
        attr_str(1, table),
        attr_str(2, name),
        attr_be32(3, NFT_SET_MAP if data else 0),
        attr_be32(4, key[0]),
        attr_be32(5, key[1]),
    ]
    if data:
        parts += [attr_be32(6, data[0]), attr_be32(7, data[1])]
    parts.append(attr_be32(10, number))
    if key[0] == TYPE_IFNAME:
        parts.append(attr(13, _HOST_ORDER))
    return message(NEWSET, NLM_F_CREATE, f"add set {table} {name}", *parts, family=family)


def element(key: bytes, data: bytes | None = None, text: str = "") -> bytes:
    """One element for `elements`: its key, for a map its value, and a comment."""
    # The attributes by hand: there may be thousands of elements. Keys and values need no padding.
    parts = _NESTED_VALUE.pack(8 + len(key), 1 | NLA_F_NESTED, 4 + len(key), 1) + key
    if data is not None:
        parts += _NESTED_VALUE.pack(8 + len(data), 2 | NLA_F_NESTED, 4 + len(data), 1) + data
    if text:
        parts += attr(6, comment(text))
    return _NESTED.pack(4 + len(parts), 1 | NLA_F_NESTED) + parts


def elements(
    table: str, name: str, items: Iterable[bytes], *, delete: bool = False, family: int = NFPROTO_IPV4
) -> list[Request]:
    """Adds or deletes elements; as many messages as their 64 KiB attributes need."""
    kind, flags, verb = (DELSETELEM, 0, "delete") if delete else (NEWSETELEM, NLM_F_CREATE, "add")
    requests: list[Request] = []
    part: list[bytes] = []
    size = 0

    def finish() -> None:
        what = f"{verb} elements of {table} {name}"
        parts = [attr_str(1, table), attr_str(2, name), nested(3, *part)]
        requests.append(message(kind, flags, what, *parts, family=family))

    for item in items:
        if size + len(item) > 60_000:
            finish()
            part, size = [], 0
        part.append(item)
        size += len(item)
    if part:
        finish()
    return requests


def new_rule(
    table: str, chain: str, expressions: list[bytes], text: str = "", *, family: int = NFPROTO_IPV4
) -> Request:
    """Appends a rule made of `runtime.net.nft_expressions`, with a comment."""
    parts = [attr_str(1, table), attr_str(2, chain), nested(4, *expressions)]
    if text:
        parts.append(attr(7, comment(text)))
    what = f"add rule {table} {chain} ({text})"
    return message(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, what, *parts, family=family)


class NftSocket(NetlinkSocket):
    """A socket for nf_tables of the calling thread's network namespace."""

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER)

    def commit(self, requests: list[Request]) -> None:
        """Carries out all requests or none. Raises OSError that names the first that failed."""
        if not requests:
            return
        first = self.sequence
        last = first + len(requests)
        self.sequence = last + 2
        edge = struct.pack("!BBH", 0, 0, NFNL_SUBSYS_NFTABLES)
        parts = [Request(NFNL_MSG_BATCH_BEGIN, 0, edge, "").encode(first)]
        for i, r in enumerate(requests, 1):
            parts.append(r.encode(first + i, NLM_F_ACK if i == len(requests) else 0))
        parts.append(Request(NFNL_MSG_BATCH_END, 0, edge, "").encode(last + 1))
        self.send(b"".join(parts))
        failed: OSError | None = None
        # The kernel has queued all its answers when send returns: read until there are none.
        for kind, sequence, body in self._queued():
            if kind != NLMSG_ERROR or not first <= sequence <= last + 1:
                continue
            error = -struct.unpack_from("=i", body)[0]
            if error and failed is None:
                at = sequence - first
                failed = oserror(
                    error, requests[at - 1].what if 1 <= at <= len(requests) else "commit nf_tables batch"
                )
        if failed is not None:
            raise failed

    def _queued(self) -> Iterator[tuple[int, int, bytes]]:
        self.sock.setblocking(False)
        try:
            while True:
                try:
                    yield from self.receive()
                except BlockingIOError:
                    return
                except OSError as e:
                    if e.errno != errno.ENOBUFS:
                        raise
        finally:
            self.sock.setblocking(True)

"""Other programs' chains: a packet must be accepted by every table, so one that drops stops ours.

iptables' FORWARD chain (`ip filter FORWARD` and `ip6 filter FORWARD` in nf_tables) drops by default where ufw
is on, or where dockerd ran before; firewalld's chains reject what no zone allows. There each bridge gets
accepting rules, in iptables where dockerd puts its own. Our own table has decided already what may go to a
container. DOCKER-USER comes before them: people keep rules there that are to be asked before dockerd's.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from runtime.net import nfnetlink as nf
from runtime.net import nft_expressions as x
from runtime.net.netlink import NLM_F_APPEND, NLM_F_CREATE, Request, attr, attr_str, attributes, nested

_FAMILIES = {1: "inet", nf.NFPROTO_IPV4: "ip", nf.NFPROTO_IPV6: "ip6"}
NUMBERS = {4: nf.NFPROTO_IPV4, 6: nf.NFPROTO_IPV6}
USER_CHAIN = "DOCKER-USER"


class Place(NamedTuple):
    """A chain of another program where bridges are let through, by the interface that a packet comes from
    (META_IIFNAME) or goes to; `by_policy`: only when it drops by default."""

    family: int
    table: str
    chain: str
    ends: tuple[int, ...] = (x.META_IIFNAME, x.META_OIFNAME)
    by_policy: bool = False


_INET = 1
PLACES = {
    4: Place(nf.NFPROTO_IPV4, "filter", "FORWARD", by_policy=True),
    6: Place(nf.NFPROTO_IPV6, "filter", "FORWARD", by_policy=True),
}
FIREWALLD = (
    Place(_INET, "firewalld", "filter_FORWARD"),
    # As in dockerd's zone: containers reach the host itself.
    Place(_INET, "firewalld", "filter_INPUT", (x.META_IIFNAME,)),
)


class Chain(NamedTuple):
    """A base chain at the forward hook that sees IPv4 or IPv6."""

    family: str
    table: str
    name: str
    drops: bool  # by default

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


class _Rule(NamedTuple):
    handle: bytes
    text: str  # its comment
    target: str  # the chain that it jumps to


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


def in_use(version: int) -> bool:
    """Whether iptables' FORWARD chain is there in nf_tables."""
    return _has_chain(NUMBERS[version])


def ensure_user_chain(version: int) -> bool:
    """Makes `iptables -N DOCKER-USER` and `iptables -I FORWARD -j DOCKER-USER` true, as dockerd does, in the
    way that `iptables-nft` reads; answers whether anything was missing. Raises OSError."""
    family = NUMBERS[version]
    place = PLACES[version]
    with nf.NftSocket() as sock:
        present = _rules(sock, place) or []
        if any(rule.target == USER_CHAIN for rule in present):
            return False
        jump = [x.counter(), x.jump(USER_CHAIN)]
        sock.commit(
            [
                nf.new_table("filter", family),
                # Without a policy one that is there keeps its own.
                *([] if _has_chain(family) else [_forward_chain(family)]),
                nf.new_chain("filter", USER_CHAIN, family=family),
                _first(place, jump, "", f"jump to {USER_CHAIN}"),
            ]
        )
    return True


def accept_bridges(owner: str, bridges: Iterable[str], place: Place) -> bool:
    """Gives the bridges their rules at `place` if it is there, and takes away those of bridges that are not
    (any more) among them; `owner` tells the rules of several daemons apart. Answers whether anything was
    changed. Raises OSError."""
    with nf.NftSocket() as sock:
        present = _rules(sock, place)
        if present is None:
            return False
        wanted = {f"{owner} {bridge}": bridge for bridge in bridges}
        if place.by_policy and not any(c.drops for c in chains() if str(c) == _name(place)):
            wanted = {}
        here = {rule.text for rule in present}
        behind = next((rule.handle for rule in present if rule.target == USER_CHAIN), None)
        requests = [
            _delete(place, rule)
            for rule in present
            if rule.text.startswith(owner + " ") and rule.text not in wanted
        ]
        for text, bridge in wanted.items():
            if text in here:
                continue
            for key in place.ends:
                expressions = [*x.interface(key, bridge), x.counter(), x.accept()]
                requests.append(_first(place, expressions, text, f"accept {bridge}", behind))
        sock.commit(requests)
        return bool(requests)


def _forward_chain(family: int) -> Request:
    return nf.new_chain("filter", "FORWARD", "filter", nf.HOOK_FORWARD, 0, nf.NF_ACCEPT, family=family)


def _has_chain(family: int) -> bool:
    return any(str(c) == f"{_FAMILIES[family]} filter FORWARD" for c in chains())


def _name(place: Place) -> str:
    return f"{_FAMILIES[place.family]} {place.table} {place.chain}"


def _where(place: Place) -> list[bytes]:
    return [attr_str(1, place.table), attr_str(2, place.chain)]


def _rules(sock: nf.NftSocket, place: Place) -> list[_Rule] | None:
    """The chain's rules; None when it is not there."""
    kind = nf.NFNL_SUBSYS_NFTABLES << 8 | nf.GETRULE
    request = nf.message(nf.GETRULE, 0, "", *_where(place), family=place.family)
    try:
        answers = list(sock.dump(kind, request.body, f"list rules of {_name(place)}"))
    except FileNotFoundError:
        return None
    found = []
    for _, body in answers:
        a = attributes(body[4:])
        text = a.get(7, b"")[2:].split(b"\0")[0].decode(errors="replace")
        target = USER_CHAIN if USER_CHAIN.encode() + b"\0" in a.get(4, b"") else ""
        found.append(_Rule(a[3], text, target))
    return found


def _first(
    place: Place, expressions: list[bytes], text: str, what: str, behind: bytes | None = None
) -> Request:
    """Puts a rule first of all, or behind the one with that handle."""
    parts = [*_where(place), nested(4, *expressions)]
    if text:
        parts.append(attr(7, nf.comment(text)))
    flags = NLM_F_CREATE
    if behind is not None:
        parts.append(attr(6, behind))
        flags |= NLM_F_APPEND
    return nf.message(nf.NEWRULE, flags, f"{what} in {_name(place)}", *parts, family=place.family)


def _delete(place: Place, rule: _Rule) -> Request:
    parts = [*_where(place), attr(3, rule.handle)]
    return nf.message(nf.DELRULE, 0, f"delete rule ({rule.text})", *parts, family=place.family)

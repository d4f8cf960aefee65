"""What is in the firewall's tables: sets, chains and rules, in docs/firewall.md's order.

Both families have the same rules; `Family` says how their packets differ.
"""

import ipaddress
import socket
import struct
from typing import NamedTuple

from runtime.net import nfnetlink as nf
from runtime.net import nft_expressions as x
from runtime.net.netlink import Request, attributes

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
BRIDGES, ICC, APART, INTERNAL = "bridges", "icc", "apart", "internal"
ROUTED, UNPROTECTED, TRUSTED = "routed", "unprotected", "trusted"
PUBLISHED, PUBLISHED_ON, OPEN, LINKS = "published", "published_on", "open", "links"
_NAMES = (BRIDGES, ICC, APART, INTERNAL, ROUTED, UNPROTECTED, TRUSTED, PUBLISHED, PUBLISHED_ON, OPEN, LINKS)
# Numbers of the sets within a batch.
_NUMBERS = {name: number for number, name in enumerate(_NAMES, 1)}


class Network(NamedTuple):
    """A bridge network as the firewall sees it; `subnets` of both families as "172.17.0.0/16".

    Gateway modes: nat, nat-unprotected, routed, isolated. `host_ip4`, `host_ip6` are the addresses that its
    containers go out by ("": the outgoing interface's). `trusted` are interfaces from which the published
    ports may be reached at the container's own address; "*" is all.
    """

    bridge: str
    subnets: tuple[str, ...]
    masquerade: bool = True
    icc: bool = True
    internal: bool = False
    gateway_mode4: str = "nat"
    gateway_mode6: str = "nat"
    host_ip4: str = ""
    host_ip6: str = ""
    trusted: tuple[str, ...] = ()


class Binding(NamedTuple):
    """A published port: what arrives for `host_ip` (0.0.0.0, ::: any of the host's) goes to the container.

    Without a host port (gateway mode routed) the container's port is open at its own address; so it is for
    trusted interfaces in any case.
    """

    host_ip: str
    protocol: str
    host_port: int
    container_ip: str
    container_port: int
    comment: str = ""


class Link(NamedTuple):
    """With icc=false: `source` may reach that port of `target` (both addresses)."""

    source: str
    target: str
    protocol: str
    port: int


class Options(NamedTuple):
    """What the tables do beyond the networks.

    `router4`, `router6`: the host forwards what neither comes from nor goes to a container. `respect_host`:
    what comes for a published port from another machine or a container goes to the host itself; `relayed`:
    so does what comes from containers of a network with icc off. There something has to relay it.
    `accept_mark`: packets with this mark (value, mask) may go to any container.
    """

    router4: bool = True
    router6: bool = True
    respect_host: bool = False
    relayed: bool = False
    accept_mark: tuple[int, int] | None = None


class Family(NamedTuple):
    """How a family's packets are read."""

    version: int
    number: int  # NFPROTO_*
    kind: int  # nft's type of an address
    size: int
    source: int
    destination: int
    loopback: tuple[bytes, bytes]
    icmp: int
    any: str


FAMILIES = {
    4: Family(
        4, socket.AF_INET, nf.TYPE_IPV4_ADDR, 4, 12, 16, (bytes((127, 0, 0, 0)), bytes((255, 0, 0, 0))), 1,
        "0.0.0.0",
    ),
    6: Family(
        6, socket.AF_INET6, nf.TYPE_IPV6_ADDR, 16, 8, 24, (bytes(15) + b"\1", b"\xff" * 16), 58, "::"
    ),
}  # fmt: skip
_PORT = struct.Struct("!B3xH2x")  # protocol and port, as in a concatenated key
_LINK_LOCAL = (b"\xfe\x80" + bytes(14), b"\xff\xc0" + bytes(14))


def build(family: Family, table: str, networks: list[Network], options: Options) -> list[Request]:
    """All that a new table gets, but for its ports."""
    here = [n for n in networks if _subnets(n, family)]
    router = options.router4 if family.version == 4 else options.router6
    requests = _sets(family, table) + _chains(family, table, router)
    # A bridge is one of ours in both families: what goes there without an address of ours is dropped, too.
    requests += _bridges(family, table, BRIDGES, networks)
    requests += _pairs(family, table, ICC, [n for n in networks if n.icc])
    requests += _pairs(family, table, APART, [n for n in networks if not n.icc])
    requests += _bridges(family, table, INTERNAL, [n for n in networks if n.internal])
    outward = [n for n in here if not n.internal]
    requests += _bridges(family, table, ROUTED, [n for n in outward if _mode(n, family) == "routed"])
    unprotected = [n for n in outward if _mode(n, family) == "nat-unprotected"]
    requests += _bridges(family, table, UNPROTECTED, unprotected)
    trusted = [x.ifname(i) + x.ifname(n.bridge) for n in outward for i in n.trusted if i != "*"]
    requests += nf.elements(table, TRUSTED, map(nf.element, dict.fromkeys(trusted)), family=family.number)
    return requests + _rules(family, table, here, router, options)


def elements(
    family: Family, table: str, bindings: list[Binding], links: list[Link], *, delete: bool
) -> list[Request]:
    """The ports and links of one family, to add or to delete."""
    items: dict[str, dict[bytes, bytes]] = {PUBLISHED: {}, PUBLISHED_ON: {}, OPEN: {}, LINKS: {}}
    packed: dict[str, bytes] = {}
    for b in bindings:
        to = packed.get(b.container_ip)
        if to is None:
            if _version(b.container_ip) != family.version:
                continue
            to = packed[b.container_ip] = socket.inet_pton(family.number, b.container_ip)
        protocol = PROTOCOLS[b.protocol]
        key = to + _PORT.pack(protocol, b.container_port)
        items[OPEN][key] = nf.element(key)
        if not b.host_port or _version(b.host_ip) != family.version:
            continue
        key, name = _PORT.pack(protocol, b.host_port), PUBLISHED
        if b.host_ip != family.any:
            key, name = socket.inet_pton(family.number, b.host_ip) + key, PUBLISHED_ON
        target = to + struct.pack("!H2x", b.container_port)
        items[name][key] = nf.element(key) if delete else nf.element(key, target, b.comment)
    for link in links:
        if _version(link.source) == family.version:
            ends = (socket.inet_pton(family.number, a) for a in (link.source, link.target))
            key = b"".join(ends) + _PORT.pack(PROTOCOLS[link.protocol], link.port)
            items[LINKS][key] = nf.element(key)
    return [
        request
        for name, parts in items.items()
        for request in nf.elements(table, name, parts.values(), delete=delete, family=family.number)
    ]


def decode(item: bytes, family: Family, *, with_address: bool) -> Binding:
    """A published port from an element as the kernel lists it."""
    parts = attributes(item)
    key, target = attributes(parts[1])[1], attributes(parts[2])[1]
    host = family.any
    if with_address:
        host, key = socket.inet_ntop(family.number, key[: family.size]), key[family.size :]
    protocol, port = _PORT.unpack(key)
    names = {number: name for name, number in PROTOCOLS.items()}
    text = parts[6][2:].split(b"\0")[0].decode(errors="replace") if 6 in parts else ""
    (inner,) = struct.unpack("!H2x", target[family.size : family.size + 4])
    address = socket.inet_ntop(family.number, target[: family.size])
    return Binding(host, names.get(protocol, str(protocol)), port, address, inner, text)


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _mode(network: Network, family: Family) -> str:
    return network.gateway_mode4 if family.version == 4 else network.gateway_mode6


def _subnets(network: Network, family: Family) -> list[str]:
    return [s for s in network.subnets if _version(s) == family.version]


def _bridges(family: Family, table: str, name: str, networks: list[Network]) -> list[Request]:
    items = (nf.element(x.ifname(n.bridge)) for n in networks)
    return nf.elements(table, name, items, family=family.number)


def _pairs(family: Family, table: str, name: str, networks: list[Network]) -> list[Request]:
    items = (nf.element(x.ifname(n.bridge) * 2) for n in networks)
    return nf.elements(table, name, items, family=family.number)


def _sets(family: Family, table: str) -> list[Request]:
    port = (nf.concat(nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE), 8)
    address = (nf.concat(family.kind, nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE), family.size + 8)
    pair = nf.concat(family.kind, family.kind, nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE)
    target = (nf.concat(family.kind, nf.TYPE_INET_SERVICE), family.size + 4)
    one, two = (nf.TYPE_IFNAME, 16), (nf.concat(nf.TYPE_IFNAME, nf.TYPE_IFNAME), 32)
    keys = {BRIDGES: one, ICC: two, APART: two, INTERNAL: one, ROUTED: one, UNPROTECTED: one, TRUSTED: two}
    keys |= {PUBLISHED: port, PUBLISHED_ON: address, OPEN: address, LINKS: (pair, 2 * family.size + 8)}
    return [
        nf.new_set(
            table,
            name,
            _NUMBERS[name],
            keys[name],
            target if name in (PUBLISHED, PUBLISHED_ON) else None,
            family=family.number,
        )
        for name in _NAMES
    ]


def _chains(family: Family, table: str, router: bool) -> list[Request]:
    policy = nf.NF_ACCEPT if router else nf.NF_DROP
    hooks = [
        ("raw-prerouting", "filter", nf.HOOK_PREROUTING, -300, nf.NF_ACCEPT),
        ("prerouting", "nat", nf.HOOK_PREROUTING, -100, nf.NF_ACCEPT),
        ("output", "nat", nf.HOOK_OUTPUT, -100, nf.NF_ACCEPT),
        ("postrouting", "nat", nf.HOOK_POSTROUTING, 100, nf.NF_ACCEPT),
        ("forward", "filter", nf.HOOK_FORWARD, 0, policy),
    ]
    regular = [nf.new_chain(table, name, family=family.number) for name in ("publish", "same-bridge")]
    return regular + [nf.new_chain(table, *hook, family=family.number) for hook in hooks]


def _lookup(name: str, *, into: int | None = None, absent: bool = False) -> bytes:
    return x.lookup(name, _NUMBERS[name], into=into, absent=absent)


def _from(name: str) -> list[bytes]:
    return [x.meta(x.META_IIFNAME), _lookup(name)]


def _to(name: str, *, absent: bool = False) -> list[bytes]:
    return [x.meta(x.META_OIFNAME), _lookup(name, absent=absent)]


def _rules(
    family: Family, table: str, networks: list[Network], router: bool, options: Options
) -> list[Request]:
    def rule(chain: str, text: str, *expressions: bytes) -> Request:
        return nf.new_rule(table, chain, list(expressions), text, family=family.number)

    rules = [*_publish(family, rule), *_before(family, rule, options)]
    for network in networks:
        rules += _network_rules(family, network, rule)
    if family.version == 4:
        loopback = x.address_in(family.source, *family.loopback)
        rules.append(
            rule("postrouting", "127.0.0.1 to a published port", *loopback, *_to(BRIDGES), x.masquerade())
        )
    trust_all = any("*" in n.trusted for n in networks)
    return rules + _forward(family, rule, router, trust_all, options.accept_mark)


def _port_key(family: Family, after: int) -> list[bytes]:
    """Protocol and destination port, the key's part that begins after `after` bytes."""
    first = x.register(after)
    return [
        x.meta(x.META_L4PROTO, first),
        x.payload(x.TRANSPORT_HEADER, x.DESTINATION_PORT, 2, x.register(after + 4)),
    ]


def _publish(family: Family, rule: x.Rule) -> list[Request]:
    load = x.payload(x.NETWORK_HEADER, family.destination, family.size)
    to = x.dnat(family.number, x.register(family.size))
    one = [load, *_port_key(family, family.size), _lookup(PUBLISHED_ON, into=x.REG), to]
    every = [*_port_key(family, 0), _lookup(PUBLISHED, into=x.REG), to]
    return [
        rule("publish", "published on one address", *one),
        rule("publish", "published on all addresses", *every),
    ]


def _before(family: Family, rule: x.Rule, options: Options) -> list[Request]:
    loopback = x.address_in(family.destination, *family.loopback)
    elsewhere = x.address_in(family.destination, *family.loopback, equal=False)
    # What is translated must not have come from an address that is of use on its own link only.
    lasting = [] if family.version == 4 else x.address_in(family.source, *_LINK_LOCAL, equal=False)
    local, go = x.destination_is_local(), x.jump("publish")
    rules = [
        rule(
            "raw-prerouting",
            "the host's loopback is not for containers",
            *_from(BRIDGES),
            *loopback,
            x.counter(),
            x.drop(),
        )
    ]
    if options.relayed and not options.respect_host:
        # A bridge does not forward between isolated ports, and br_netfilter would have it do so.
        apart = [x.meta(x.META_IIFNAME), x.meta(x.META_IIFNAME, x.REG_2), _lookup(APART)]
        rules.append(rule("prerouting", "icc off: by the relay", *apart, x.verdict(nf.NFT_RETURN)))
    if not options.respect_host:
        rules.append(rule("prerouting", "from outside and from containers", *elsewhere, *lasting, *local, go))
    # IPv6 packets from ::1 never leave the loopback interface, whatever the translation: a relay has them.
    own = [] if family.version == 4 else [*elsewhere, *lasting]
    rules.append(rule("output", "from the host itself", *own, *local, go))
    return rules


def _network_rules(family: Family, network: Network, rule: x.Rule) -> list[Request]:
    rules = []
    address = network.host_ip4 if family.version == 4 else network.host_ip6
    leave = x.snat(family.number, socket.inet_pton(family.number, address)) if address else [x.masquerade()]
    routed = _mode(network, family) == "routed"
    for text in _subnets(network, family):
        subnet = ipaddress.ip_network(text)
        source = x.address_in(family.source, subnet.network_address.packed, subnet.netmask.packed)
        if network.masquerade and not network.internal and not routed:
            out = [*source, *x.interface(x.META_OIFNAME, network.bridge, equal=False), *leave]
            rules.append(rule("postrouting", f"{network.bridge} to outside", *out))
        hairpin = [
            *source,
            *x.interface(x.META_OIFNAME, network.bridge),
            *x.ct_bits(x.CT_STATUS, x.IPS_DST_NAT),
            x.masquerade(),
        ]
        rules.append(rule("postrouting", f"{network.bridge} to its own published ports", *hairpin))
    return rules


def _forward(
    family: Family, rule: x.Rule, router: bool, trust_all: bool, mark: tuple[int, int] | None
) -> list[Request]:
    both = [x.meta(x.META_IIFNAME), x.meta(x.META_OIFNAME, x.REG_2)]
    destination = x.payload(x.NETWORK_HEADER, family.destination, family.size)
    opened = [destination, *_port_key(family, family.size), _lookup(OPEN)]
    source = x.payload(x.NETWORK_HEADER, family.source, family.size)
    target = x.payload(x.NETWORK_HEADER, family.destination, family.size, x.register(family.size))
    linked = [source, target, *_port_key(family, 2 * family.size), _lookup(LINKS)]
    answers = [*x.ct_bits(x.CT_STATE, x.CT_ESTABLISHED_RELATED), x.accept()]
    published = [*x.ct_bits(x.CT_STATUS, x.IPS_DST_NAT), x.accept()]
    icmp = [x.meta(x.META_L4PROTO), x.compare(bytes((family.icmp,)))]
    beyond = [] if router else _from(BRIDGES)
    trusted = [] if trust_all else [*both, _lookup(TRUSTED)]
    return [
        rule("forward", "same bridge", *both, _lookup(ICC), x.accept()),
        rule("forward", "same bridge, icc off", *both, _lookup(APART), x.jump("same-bridge")),
        rule("same-bridge", "answers", *answers),
        rule("same-bridge", "published ports", *published),
        rule("same-bridge", "links", *linked, x.accept()),
        rule("same-bridge", "the others", x.counter(), x.drop()),
        rule("forward", "out of an internal network", *_from(INTERNAL), x.counter(), x.drop()),
        rule("forward", "into an internal network", *_to(INTERNAL), x.counter(), x.drop()),
        rule(
            "forward",
            "not to a container" if router else "from a container to outside",
            *beyond,
            *_to(BRIDGES, absent=True),
            x.accept(),
        ),
        rule("forward", "answers", *answers),
        rule("forward", "published ports", *published),
        rule("forward", "routed: ICMP", *_to(ROUTED), *icmp, x.accept()),
        rule("forward", "routed: published ports", *_to(ROUTED), *opened, x.accept()),
        rule("forward", "unprotected", *_to(UNPROTECTED), x.accept()),
        rule("forward", "trusted interfaces", *trusted, *opened, x.accept()),
        *([rule("forward", "marked", *x.mark_is(*mark), x.accept())] if mark else []),
        rule("forward", "unpublished ports and other networks", x.counter(), x.drop()),
    ]

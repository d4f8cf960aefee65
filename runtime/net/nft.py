"""The firewall: one table of our own, with published ports as map elements. Rules: docs/firewall.md.

Everything goes by raw nfnetlink, in one transaction; no `nft` or `iptables` process runs.
"""

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from runtime.net import nfnetlink as nf
from runtime.net import nft_expressions as x
from runtime.net.netlink import Request, attr_str, attribute_list, attributes

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
ANY = "0.0.0.0"
_LOOPBACK = (bytes((127, 0, 0, 0)), bytes((255, 0, 0, 0)))
_TARGET = (nf.concat(nf.TYPE_IPV4_ADDR, nf.TYPE_INET_SERVICE), 8)
# Sets: name, number in a batch, (key type, key length), (data type, data length) for maps.
_BRIDGES, _ICC, _PUBLISHED, _PUBLISHED_ON = "bridges", "icc", "published", "published_on"
_NUMBERS = {_BRIDGES: 1, _ICC: 2, _PUBLISHED: 3, _PUBLISHED_ON: 4}


class Network(NamedTuple):
    """A bridge network as the firewall sees it; `subnet` as "172.17.0.0/16"."""

    bridge: str
    subnet: str
    masquerade: bool = True
    icc: bool = True


class Binding(NamedTuple):
    """A published port: what arrives for `host_ip` (0.0.0.0: any of the host's) goes to the container."""

    host_ip: str
    protocol: str
    host_port: int
    container_ip: str
    container_port: int
    comment: str = ""


class Firewall:
    """The table in the network namespace of the thread that makes this object."""

    def __init__(self, table: str = "compatd") -> None:
        """Raises OSError when the kernel has no nf_tables (EPROTONOSUPPORT) or refuses (EPERM)."""
        self.table = table
        self._sock = nf.NftSocket()

    def __enter__(self) -> "Firewall":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the socket; the table stays."""
        self._sock.close()

    def rebuild(
        self, networks: Iterable[Network], bindings: Iterable[Binding], *, router: bool = True
    ) -> None:
        """Replaces the whole table by one with these networks and ports, at one moment.

        `router` False: what neither comes from nor goes to a container is not forwarded by this host.
        Connections that are tracked already go on. Raises OSError.
        """
        networks = list(networks)
        table = self.table
        # Adding first makes the delete succeed in any case (there is no "delete if exists" before 6.3).
        requests = [nf.new_table(table), nf.delete_table(table), nf.new_table(table)]
        requests += _sets(table) + _chains(table, router)
        requests += nf.elements(table, _BRIDGES, (nf.element(x.ifname(n.bridge)) for n in networks))
        same = (nf.element(x.ifname(n.bridge) * 2) for n in networks if n.icc)
        requests += nf.elements(table, _ICC, same)
        requests += _rules(table, networks, router)
        requests += self._elements(bindings, delete=False)
        self._sock.commit(requests)

    def publish(self, bindings: Iterable[Binding]) -> None:
        """Adds ports, all or none. Raises OSError; EEXIST when a port is there with another target."""
        self._sock.commit(self._elements(bindings, delete=False))

    def withdraw(self, bindings: Iterable[Binding]) -> None:
        """Removes ports; those that are not there are left out. Raises OSError."""
        bindings = list(bindings)
        try:
            self._sock.commit(self._elements(bindings, delete=True))
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise
            if len(bindings) > 1:
                for b in bindings:
                    self.withdraw([b])

    def listing(self) -> list[Binding]:
        """The ports that the kernel holds now, in no order. A table that is not there has none."""
        found = []
        for name in (_PUBLISHED, _PUBLISHED_ON):
            request = nf.message(nf.GETSETELEM, 0, "", attr_str(1, self.table), attr_str(2, name))
            try:
                answers = list(self._sock.dump(request.kind, request.body, f"list {self.table} {name}"))
            except OSError as e:
                if e.errno != errno.ENOENT:
                    raise
                continue
            for _, body in answers:
                for _, item in attribute_list(attributes(body[4:]).get(3, b"")):
                    found.append(_decode(item, name == _PUBLISHED_ON))
        return found

    def delete(self) -> None:
        """Removes the table; none is no error."""
        self._sock.commit([nf.new_table(self.table), nf.delete_table(self.table)])

    def _elements(self, bindings: Iterable[Binding], *, delete: bool) -> list[Request]:
        items: dict[str, list[bytes]] = {_PUBLISHED: [], _PUBLISHED_ON: []}
        for b in bindings:
            key = struct.pack("!B3xH2x", PROTOCOLS[b.protocol], b.host_port)
            name = _PUBLISHED
            if b.host_ip != ANY:
                key = socket.inet_aton(b.host_ip) + key
                name = _PUBLISHED_ON
            target = socket.inet_aton(b.container_ip) + struct.pack("!H2x", b.container_port)
            items[name].append(nf.element(key) if delete else nf.element(key, target, b.comment))
        return [
            r for name, parts in items.items() for r in nf.elements(self.table, name, parts, delete=delete)
        ]


def _sets(table: str) -> list[Request]:
    port = nf.concat(nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE)
    address = nf.concat(nf.TYPE_IPV4_ADDR, nf.TYPE_INET_PROTO, nf.TYPE_INET_SERVICE)
    names = nf.concat(nf.TYPE_IFNAME, nf.TYPE_IFNAME)
    return [
        nf.new_set(table, _BRIDGES, 1, (nf.TYPE_IFNAME, 16)),
        nf.new_set(table, _ICC, 2, (names, 32)),
        nf.new_set(table, _PUBLISHED, 3, (port, 8), _TARGET),
        nf.new_set(table, _PUBLISHED_ON, 4, (address, 12), _TARGET),
    ]


def _chains(table: str, router: bool) -> list[Request]:
    return [
        nf.new_chain(table, "publish"),
        nf.new_chain(table, "raw-prerouting", "filter", nf.HOOK_PREROUTING, -300),
        nf.new_chain(table, "prerouting", "nat", nf.HOOK_PREROUTING, -100),
        nf.new_chain(table, "output", "nat", nf.HOOK_OUTPUT, -100),
        nf.new_chain(table, "postrouting", "nat", nf.HOOK_POSTROUTING, 100),
        nf.new_chain(table, "forward", "filter", nf.HOOK_FORWARD, 0, nf.NF_ACCEPT if router else nf.NF_DROP),
    ]


def _rules(table: str, networks: list[Network], router: bool) -> list[Request]:
    """The rules in docs/firewall.md's order."""

    def rule(chain: str, text: str, *expressions: bytes) -> Request:
        return nf.new_rule(table, chain, list(expressions), text)

    port = [x.payload(x.TRANSPORT_HEADER, x.DESTINATION_PORT, 2, x.REG_THIRD)]
    to_bridge = [x.meta(x.META_OIFNAME), x.lookup(_BRIDGES, 1)]
    return [
        rule(
            "publish",
            "published on one address",
            x.payload(x.NETWORK_HEADER, x.IP_DESTINATION, 4),
            x.meta(x.META_L4PROTO, x.REG_SECOND),
            *port,
            x.lookup(_PUBLISHED_ON, 4, into=x.REG),
            x.dnat(),
        ),
        rule(
            "publish",
            "published on all addresses",
            x.meta(x.META_L4PROTO),
            x.payload(x.TRANSPORT_HEADER, x.DESTINATION_PORT, 2, x.REG_SECOND),
            x.lookup(_PUBLISHED, 3, into=x.REG),
            x.dnat(),
        ),
        rule(
            "raw-prerouting",
            "the host's loopback is not for containers",
            x.meta(x.META_IIFNAME),
            x.lookup(_BRIDGES, 1),
            *x.address_in(x.IP_DESTINATION, *_LOOPBACK),
            x.counter(),
            x.drop(),
        ),
        rule(
            "prerouting",
            "from outside and from containers",
            *x.address_in(x.IP_DESTINATION, *_LOOPBACK, equal=False),
            *x.destination_is_local(),
            x.jump("publish"),
        ),
        rule("output", "from the host itself", *x.destination_is_local(), x.jump("publish")),
        *(r for n in networks for r in _network_rules(table, n)),
        rule(
            "postrouting",
            "127.0.0.1 to a published port",
            *x.address_in(x.IP_SOURCE, *_LOOPBACK),
            *to_bridge,
            x.masquerade(),
        ),
        rule(
            "forward",
            "not to a container" if router else "from a container to outside",
            *([] if router else [x.meta(x.META_IIFNAME), x.lookup(_BRIDGES, 1)]),
            x.meta(x.META_OIFNAME),
            x.lookup(_BRIDGES, 1, absent=True),
            x.accept(),
        ),
        rule("forward", "answers", *x.ct_bits(x.CT_STATE, x.CT_ESTABLISHED_RELATED), x.accept()),
        rule("forward", "published ports", *x.ct_bits(x.CT_STATUS, x.IPS_DST_NAT), x.accept()),
        rule(
            "forward",
            "same bridge",
            x.meta(x.META_IIFNAME),
            x.meta(x.META_OIFNAME, x.REG_2),
            x.lookup(_ICC, 2),
            x.accept(),
        ),
        rule("forward", "unpublished ports and other networks", x.counter(), x.drop()),
    ]


def _network_rules(table: str, network: Network) -> list[Request]:
    subnet = ipaddress.IPv4Network(network.subnet)
    source = x.address_in(x.IP_SOURCE, subnet.network_address.packed, subnet.netmask.packed)
    rules = []
    if network.masquerade:
        out = [*source, *x.interface(x.META_OIFNAME, network.bridge, equal=False), x.masquerade()]
        rules.append(nf.new_rule(table, "postrouting", out, f"{network.bridge} to outside"))
    hairpin = [
        *source,
        *x.interface(x.META_OIFNAME, network.bridge),
        *x.ct_bits(x.CT_STATUS, x.IPS_DST_NAT),
        x.masquerade(),
    ]
    rules.append(nf.new_rule(table, "postrouting", hairpin, f"{network.bridge} to its own published ports"))
    return rules


def _decode(item: bytes, with_address: bool) -> Binding:
    parts = attributes(item)
    key = attributes(parts[1])[1]
    target = attributes(parts[2])[1]
    host = ANY
    if with_address:
        host, key = socket.inet_ntoa(key[:4]), key[4:]
    protocol, port = struct.unpack("!B3xH2x", key)
    names = {number: name for name, number in PROTOCOLS.items()}
    text = parts[6][2:].split(b"\0")[0].decode(errors="replace") if 6 in parts else ""
    inner = struct.unpack("!H2x", target[4:8])[0]
    return Binding(host, names.get(protocol, str(protocol)), port, socket.inet_ntoa(target[:4]), inner, text)

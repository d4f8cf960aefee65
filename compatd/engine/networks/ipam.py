"""IP address management: which subnets the networks have, and which addresses of them are given out.

As libnetwork's: a pool is known by its prefix. Two networks may have the same one if both give addresses out
of parts of it (`ip-range`); then they also share what is taken.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from compatd.engine.errors import EngineError, Forbidden, InvalidParameter

Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_POOLS: list[dict[str, Any]] = [
    {"base": "172.17.0.0/16", "size": 16},
    {"base": "172.18.0.0/16", "size": 16},
    {"base": "172.19.0.0/16", "size": 16},
    {"base": "172.20.0.0/14", "size": 16},
    {"base": "172.24.0.0/14", "size": 16},
    {"base": "172.28.0.0/14", "size": 16},
    {"base": "192.168.0.0/16", "size": 20},
]
"""dockerd's pools for networks of local scope: base network and the prefix length of each piece."""

_MAX_UINT64 = (1 << 64) - 1


class NoAddresses(EngineError):
    """Every address of a pool is given out."""


class AlreadyAllocated(Forbidden):
    """Somebody has the address."""


class OutOfRange(InvalidParameter):
    """The address is not of the pool."""


def ula_pool(engine_id: str) -> dict[str, Any]:
    """The pool of unique local IPv6 prefixes that dockerd derives from its ID (RFC 4193)."""
    import hashlib

    digest = hashlib.sha256(engine_id.encode()).digest()
    base = bytes((0xFD,)) + digest[3:8] + bytes(10)
    return {"base": f"{ipaddress.IPv6Address(base)}/48", "size": 64}


class Pool:
    """The addresses of one prefix that are given out, the reserved first and last ones included."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self.children: set[Prefix | None] = set()  # the ranges in use; None: all of it
        self._low: dict[Prefix, int] = {}  # below that, all of a range is taken
        first, last = int(prefix.network_address), int(prefix.broadcast_address)
        self._taken: set[int] = set()
        if prefix.version == 6:
            self._taken.add(first)
        elif prefix.prefixlen < 31:
            self._taken |= {first, last}

    def take(self, within: Prefix | None) -> str:
        """The lowest free address of a range (None: of all). Raises NoAddresses."""
        given = within or self.prefix
        first, last = int(given.network_address), int(given.broadcast_address)
        number = max(first, self._low.get(given, first))
        while number in self._taken:
            number += 1
        if number > last:
            raise NoAddresses("no available addresses on this pool")
        self._taken.add(number)
        self._low[given] = number + 1
        return str(self._address(number))

    def reserve(self, address: str) -> None:
        """Takes one address. Raises AlreadyAllocated, OutOfRange."""
        wanted = ipaddress.ip_address(address)
        if wanted.version != self.prefix.version or wanted not in self.prefix:
            raise OutOfRange("requested address is out of range")
        if int(wanted) in self._taken:
            raise AlreadyAllocated("Address already in use")
        self._taken.add(int(wanted))

    def release(self, address: str) -> None:
        """Gives one back; one that is free is no error."""
        number = int(ipaddress.ip_address(address))
        self._taken.discard(number)
        for given, low in self._low.items():
            if int(given.network_address) <= number < low:
                self._low[given] = number

    def status(self, within: Prefix | None) -> dict[str, int]:
        """`SubnetStatus` of the API (1.52)."""
        given = within or self.prefix
        first, last = int(given.network_address), int(given.broadcast_address)
        used = sum(first <= number <= last for number in self._taken)
        return {
            "IPsInUse": min(len(self._taken), _MAX_UINT64),
            "DynamicIPsAvailable": min(given.num_addresses - used, _MAX_UINT64),
        }

    def _address(self, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return (ipaddress.IPv4Address if self.prefix.version == 4 else ipaddress.IPv6Address)(number)


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """A network's right to give addresses out of a pool, or of a part of it."""

    pool: Pool
    within: Prefix | None

    def take(self, address: str = "") -> str:
        """This address, or the lowest free one. Raises NoAddresses, AlreadyAllocated, OutOfRange."""
        if not address:
            return self.pool.take(self.within)
        self.pool.reserve(address)
        return str(ipaddress.ip_address(address))


class AddressSpace:
    """All pools of this daemon."""

    def __init__(self, pools: Iterable[dict[str, Any]]) -> None:
        """`pools` as in daemon.json's default-address-pools. Raises InvalidParameter."""
        self._pools: dict[Prefix, Pool] = {}
        self._predefined = {4: _sorted(pools, 4), 6: _sorted(pools, 6)}

    def request(self, prefix: str, within: str = "") -> Lease:
        """A given prefix, with a range only that part of it. Raises Forbidden when it overlaps with another.

        With a range no overlap is looked for, as in dockerd: drivers do where they cannot have it.
        """
        wanted = ipaddress.ip_network(prefix)
        given = ipaddress.ip_network(within) if within else None
        pool = self._pools.get(wanted)
        if (pool is not None and given in pool.children) or (given is None and self._overlaps(wanted)):
            raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
        if pool is None:
            pool = self._pools[wanted] = Pool(wanted)
        pool.children.add(given)
        return Lease(pool, given)

    def elect(self, version: int, occupied: Iterable[str], size: int = 0) -> Lease:
        """The first piece of the predefined pools that overlaps neither a pool nor an `occupied` network.

        `size`: prefix length asked for, 0 for the pools' own. Raises InvalidParameter.
        """
        taken = [ipaddress.ip_network(network, strict=False) for network in occupied]
        taken = [network for network in taken if network.version == version]
        taken += [prefix for prefix in self._pools if prefix.version == version]
        fitting = [
            (base, size or own)
            for base, own in self._predefined[version]
            if not size or size >= base.prefixlen
        ]
        if not fitting:
            raise InvalidParameter("invalid address pool")
        for base, length in fitting:
            if (piece := _free_piece(base, length, taken)) is not None:
                pool = self._pools[piece] = Pool(piece)
                pool.children.add(None)
                return Lease(pool, None)
        raise InvalidParameter("all predefined address pools have been fully subnetted")

    def release(self, lease: Lease) -> None:
        """Gives a pool back; its addresses go with the last network that has it."""
        lease.pool.children.discard(lease.within)
        if not lease.pool.children:
            self._pools.pop(lease.pool.prefix, None)

    def _overlaps(self, wanted: Prefix) -> bool:
        return any(_overlap(wanted, prefix) for prefix in self._pools)


def _sorted(pools: Iterable[dict[str, Any]], version: int) -> list[tuple[Prefix, int]]:
    """By address; a pool within another one counts as that one."""
    found: list[tuple[Prefix, int]] = []
    for pool in pools:
        try:
            base = ipaddress.ip_network(str(pool["base"]), strict=False)
            size = int(pool["size"])
        except (KeyError, ValueError) as e:
            raise InvalidParameter(f"invalid default address pool: {e}") from None
        if size < base.prefixlen or size > base.max_prefixlen:
            raise InvalidParameter(
                f"could not construct local address space: network {base} has a smaller prefix "
                f"(/{base.prefixlen}) than the target size of that pool (/{size})"
            )
        if base.version == version:
            found.append((base, size))
    found.sort(key=lambda item: (int(item[0].network_address), item[0].prefixlen))
    kept: list[tuple[Prefix, int]] = []
    for base, size in found:
        if not kept or not _overlap(kept[-1][0], base):
            kept.append((base, size))
    return kept


def _free_piece(base: Prefix, length: int, taken: list[Prefix]) -> Prefix | None:
    """The first piece of that length: after each network in the way the next place is tried, so that the
    number of pieces (2^16 in a /48) does not matter."""
    width = 1 << (base.max_prefixlen - length)
    number, last = int(base.network_address), int(base.broadcast_address)
    blocks = sorted((int(t.network_address), int(t.broadcast_address)) for t in taken if _overlap(t, base))
    for low, high in blocks:
        if low >= number + width:
            break
        if high >= number:
            number = -(-(high + 1) // width) * width
    if number + width - 1 > last:
        return None
    return ipaddress.ip_network((number, length))


def _overlap(one: Prefix, other: Prefix) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.overlaps(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.overlaps(other)
    return False


def leases_of(prefixes: Iterable[Lease], version: int) -> Iterator[Lease]:
    """Those of one IP version."""
    return (lease for lease in prefixes if lease.pool.prefix.version == version)

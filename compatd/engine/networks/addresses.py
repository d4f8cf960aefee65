"""Address pools: which subnet a network gets, and which address of it a container gets."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from compatd.engine.errors import EngineError, Forbidden

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


def subnets(pools: Iterable[dict[str, Any]]) -> Iterator[ipaddress.IPv4Network]:
    """The pieces of the pools in order; `pools` as in daemon.json's default-address-pools."""
    for pool in pools:
        base = ipaddress.ip_network(pool["base"], strict=False)
        if isinstance(base, ipaddress.IPv4Network):
            yield from base.subnets(new_prefix=max(int(pool["size"]), base.prefixlen))


def elect(pools: Iterable[dict[str, Any]], occupied: Iterable[str]) -> ipaddress.IPv4Network:
    """The first piece that overlaps none of the `occupied` networks ("10.0.0.0/8"). Raises EngineError."""
    taken = [ipaddress.IPv4Network(network, strict=False) for network in occupied]
    for subnet in subnets(pools):
        if not any(subnet.overlaps(network) for network in taken):
            return subnet
    raise EngineError("all predefined address pools have been fully subnetted")


class AddressPool:
    """The addresses of one subnet. The lowest free one is given first, as dockerd does."""

    def __init__(
        self, subnet: ipaddress.IPv4Network, gateway: str, within: ipaddress.IPv4Network | None = None
    ) -> None:
        """`within` (--fixed-cidr) is the part of the subnet that addresses are given out of."""
        self.subnet = subnet
        self.gateway = ipaddress.IPv4Address(gateway)
        self.within = within
        given = within or subnet
        self._first = max(int(given.network_address), int(subnet.network_address) + 1)
        self._last = min(int(given.broadcast_address), int(subnet.broadcast_address) - 1)
        self._next = self._first  # all below it are taken
        self._taken = {int(self.gateway)}

    @property
    def taken(self) -> int:
        """How many addresses are given out, the gateway's included."""
        return len(self._taken)

    def allocate(self) -> str:
        """The lowest free address. Raises EngineError when there is none."""
        for number in range(self._next, self._last + 1):
            if number not in self._taken:
                self._taken.add(number)
                self._next = number + 1
                return str(ipaddress.IPv4Address(number))
        raise EngineError("no available IPv4 addresses on this network's address pools: bridge")

    def reserve(self, address: str) -> None:
        """Takes one address. Raises Forbidden when it is taken or not of this subnet."""
        wanted = ipaddress.IPv4Address(address)
        if wanted not in self.subnet:
            raise Forbidden(f"invalid address {address}: it is not in {self.subnet}")
        if int(wanted) in self._taken:
            raise Forbidden("Address already in use")
        self._taken.add(int(wanted))

    def release(self, address: str) -> None:
        """Gives one back; the gateway's stays, one that is free is no error."""
        number = int(ipaddress.IPv4Address(address))
        if number != int(self.gateway):
            self._taken.discard(number)
            self._next = max(self._first, min(self._next, number))

"""Subnets of networks and addresses of endpoints: what is allocated, and how it is given back."""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from compatd.engine.errors import EngineError, Forbidden, InvalidParameter
from compatd.engine.identity import engine_id
from compatd.engine.networks import ipam
from compatd.engine.networks.drivers import DRIVERS
from compatd.engine.networks.model import Endpoint, Json, Network, Subnet
from compatd.engine.networks.resolvconf import ResolvConf, host_path
from runtime.net import bridge


class Addressing:
    """The address space of one daemon, and which network has which part of it."""

    def __init__(self, pools: Sequence[dict[str, Any]], store: Any) -> None:
        """`pools`: daemon.json's default-address-pools. Without IPv6 among them a pool of unique local
        addresses is made from the engine's ID, which `store` has. Raises InvalidParameter."""
        pools = list(pools or ipam.DEFAULT_POOLS)
        if not any(":" in str(pool.get("base")) for pool in pools):
            pools.append(ipam.ula_pool(engine_id(store)))
        self._space = ipam.AddressSpace(pools)
        self._leases: dict[str, list[ipam.Lease]] = {}  # by network ID, as its subnets
        self._reserved: dict[str, list[tuple[ipam.Pool, str]]] = {}  # gateways and auxiliary addresses

    # Networks

    def allocate(self, network: Network, *, without: str = "") -> None:
        """Gives a new network its subnets, gateways and auxiliary addresses, as it wants them.

        `without`: routes to this link do not count as occupied.
        Raises EngineError with dockerd's texts; nothing is allocated then.
        """
        if not DRIVERS[network.driver].addressed or network.config_only:
            return
        if network.ipam_driver == "null":
            raise InvalidParameter("ipv4 pool is empty" if network.ipv4 else "ipv6 pool is empty")
        leases = self._leases[network.id] = []
        try:
            for version, enabled in ((4, network.ipv4), (6, network.ipv6)):
                wanted = [s for s in network.wanted if s.version == version]
                for subnet in (wanted or [_any(version)]) if enabled else ():
                    lease = self._lease(subnet, version, without)
                    leases.append(lease)
                    network.subnets.append(self._reserve(network, lease, subnet, version))
        except BaseException:
            self.free(network)
            raise

    def _lease(self, wanted: Subnet, version: int, without: str) -> ipam.Lease:
        prefix = ipaddress.ip_network(wanted.prefix) if wanted.prefix else None
        if prefix is None or prefix.network_address.is_unspecified:
            if wanted.range:
                raise EngineError(
                    f'failed to parse pool request for address space "LocalDefault" pool "" subpool '
                    f'"{wanted.range}": invalid address subpool'
                )
            return self._space.elect(version, occupied(version, without), prefix.prefixlen if prefix else 0)
        return self._space.request(wanted.prefix, wanted.range)

    def _take(self, network: Network, lease: ipam.Lease, address: str) -> str:
        taken = lease.take(address)
        self._reserved.setdefault(network.id, []).append((lease.pool, taken))
        return taken

    def _reserve(self, network: Network, lease: ipam.Lease, wanted: Subnet, version: int) -> Subnet:
        gateway = wanted.gateway
        if gateway or DRIVERS[network.driver].gateway_needed(network, version):
            try:
                gateway = self._take(network, lease, gateway)
            except EngineError as e:
                raise EngineError(f"failed to allocate gateway ({gateway}): {e.message}") from e
        for name, address in (wanted.auxiliary or {}).items():
            if ipaddress.ip_address(address) not in lease.pool.prefix:
                raise Forbidden(
                    f"auxiliary address: ({name}:{address}) must belong to the master pool: "
                    f"{lease.pool.prefix}"
                )
            try:
                self._take(network, lease, address)
            except EngineError as e:
                raise EngineError(
                    f"failed to allocate secondary ip address ({name}:{address}): {e.message}"
                ) from e
        return Subnet(str(lease.pool.prefix), wanted.range, gateway, wanted.auxiliary)

    def restore(self, network: Network) -> None:
        """Takes what a network of the store has. Raises EngineError when somebody else has it by now."""
        leases = self._leases[network.id] = []
        try:
            for subnet in network.subnets:
                lease = self._space.request(subnet.prefix, subnet.range)
                leases.append(lease)
                for address in (subnet.gateway, *(subnet.auxiliary or {}).values()):
                    if address:
                        self._take(network, lease, address)
        except BaseException:
            self._release(network)
            raise

    def free(self, network: Network) -> None:
        """Gives back all that a network has; one that has nothing is no error."""
        self._release(network)
        network.subnets = []

    def _release(self, network: Network) -> None:
        for pool, address in self._reserved.pop(network.id, []):
            pool.release(address)  # a pool may be shared: its other users keep it
        for lease in self._leases.pop(network.id, []):
            self._space.release(lease)

    def status(self, network: Network) -> Json:
        """`Status.IPAM` of the API (1.52)."""
        subnets = {
            str(lease.pool.prefix): lease.pool.status(lease.within)
            for lease in self._leases.get(network.id, [])
        }
        return {"Subnets": subnets} if subnets else {}

    # Endpoints

    def assign(self, network: Network, endpoint: Endpoint) -> None:
        """Gives an endpoint its addresses, those of its request or the next free ones.

        Raises EngineError, Forbidden with dockerd's texts; it has none then.
        """
        if not DRIVERS[network.driver].addressed:
            return
        wanted = endpoint.request.get("IPAMConfig") or {}
        try:
            if network.ipv4:
                found = self._address(network, 4, str(wanted.get("IPv4Address") or ""))
                endpoint.address, endpoint.prefix_length = found
            if network.ipv6:
                found = self._address(network, 6, str(wanted.get("IPv6Address") or ""))
                endpoint.address6, endpoint.prefix_length6 = found
        except BaseException:
            self.give_back(endpoint)
            raise

    def _address(self, network: Network, version: int, wanted: str) -> tuple[str, int]:
        for lease in ipam.leases_of(self._leases.get(network.id, []), version):
            if wanted and ipaddress.ip_address(wanted) not in lease.pool.prefix:
                continue
            try:
                return lease.take(wanted), lease.pool.prefix.prefixlen
            except ipam.NoAddresses:
                continue
        if wanted:
            raise InvalidParameter(
                f"invalid address {wanted}: It does not belong to any of this network's subnets"
            )
        raise EngineError(
            f"no available IPv{version} addresses on this network's address pools: "
            f"{network.name} ({network.id})"
        )

    def take_again(self, endpoint: Endpoint) -> None:
        """The addresses of an endpoint of the store. Raises EngineError when they are not to be had."""
        for version, address in ((4, endpoint.address), (6, endpoint.address6)):
            if not address:
                continue
            for lease in ipam.leases_of(self._leases.get(endpoint.network_id, []), version):
                if ipaddress.ip_address(address) in lease.pool.prefix:
                    lease.take(address)
                    break
            else:
                raise EngineError(f"network {endpoint.network_name} has no subnet for {address}")

    def give_back(self, endpoint: Endpoint) -> None:
        """Frees an endpoint's addresses; none is no error."""
        for version, address in ((4, endpoint.address), (6, endpoint.address6)):
            for lease in ipam.leases_of(self._leases.get(endpoint.network_id, []), version):
                if address and ipaddress.ip_address(address) in lease.pool.prefix:
                    lease.pool.release(address)
                    break
        endpoint.address = endpoint.address6 = ""


def _any(version: int) -> Subnet:
    return Subnet("0.0.0.0/0" if version == 4 else "::/0")


def occupied(version: int, without: str = "") -> list[str]:
    """Networks that no pool may overlap with: where the host's IPv4 routes lead to (without the link
    `without`), and its resolvers."""
    found = [f"{address}/{32 if version == 4 else 128}" for address in _resolvers(version)]
    return found + (bridge.routed_networks(without) if version == 4 else [])


def _resolvers(version: int) -> Iterable[str]:
    found = ResolvConf.load(host_path()).servers
    return [address for address in found if (":" in address) == (version == 6) and "%" not in address]

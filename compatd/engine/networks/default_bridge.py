"""The default bridge network: where its subnet comes from, and its pool of addresses."""

import ipaddress
from typing import Any

from compatd.engine.errors import InvalidParameter
from compatd.engine.networks import addresses
from compatd.engine.networks.files import nameservers, resolv_conf_path
from compatd.engine.networks.model import Json
from runtime.net import bridge, nft

DEFAULT_NAME = "docker0"


class DefaultBridge:
    """The network `bridge` in the daemon's network namespace; made by `open`."""

    def __init__(self, config: Any) -> None:
        self.name = str(config.bridge or DEFAULT_NAME)
        self.mtu = int(config.mtu or 0) or 1500
        self.icc = bool(config.icc)
        self.masquerade = bool(config.ip_masq)
        self._bip = str(config.bip or "")
        self._within = str(getattr(config, "fixed_cidr", "") or "")
        self._pools = config.default_address_pools or addresses.DEFAULT_POOLS
        self.pool: addresses.AddressPool

    @property
    def subnet(self) -> str:
        """As "172.17.0.0/16"."""
        return str(self.pool.subnet)

    @property
    def gateway(self) -> str:
        """As "172.17.0.1"."""
        return str(self.pool.gateway)

    @property
    def firewall(self) -> nft.Network:
        """For the firewall's rules."""
        return nft.Network(self.name, (self.subnet,), self.masquerade, self.icc)

    def open(self) -> None:
        """Makes the bridge or takes over the one that is there. Raises OSError, EngineError."""
        interface = self._address()
        bridge.ensure_bridge(self.name, [str(interface)], self.mtu)
        within = self._range(interface.network)
        self.pool = addresses.AddressPool(interface.network, str(interface.ip), within)

    def _range(self, subnet: ipaddress.IPv4Network) -> ipaddress.IPv4Network | None:
        if not self._within:
            return None
        try:
            within = ipaddress.IPv4Network(self._within, strict=False)
        except ValueError:
            raise InvalidParameter(f"invalid CIDR address: {self._within}") from None
        if not within.subnet_of(subnet):
            raise InvalidParameter(f"no matching subnet for range {self._within}")
        return within

    def _address(self) -> ipaddress.IPv4Interface:
        """--bip, else what the bridge has, else the first address of a pool that no route leads to."""
        if self._bip:
            try:
                return ipaddress.IPv4Interface(self._bip)
            except ValueError:
                raise InvalidParameter(f"invalid CIDR address: {self._bip}") from None
        present = bridge.ipv4_address(self.name)
        if present:
            return ipaddress.IPv4Interface(present)
        occupied = bridge.routed_networks(without=self.name) + self._resolvers()
        subnet = addresses.elect(self._pools, occupied)
        return ipaddress.IPv4Interface(f"{subnet.network_address + 1}/{subnet.prefixlen}")

    @staticmethod
    def _resolvers() -> list[str]:
        try:
            found = nameservers(resolv_conf_path().read_bytes())
        except OSError:
            return []
        return [f"{address}/32" for address in found if ":" not in address]

    def endpoint_plan(self, host_name: str, mac: str, address: str) -> Json:
        """One entry of a NetPlan's `endpoints`. `isolated` keeps icc=false at the bridge's ports."""
        return {
            "host_name": host_name,
            "name": "eth0",
            "bridge": self.name,
            "mac": mac,
            "addresses": [f"{address}/{self.pool.subnet.prefixlen}"],
            "gateway": self.gateway,
            "mtu": self.mtu,
            "hairpin": True,
            "isolated": not self.icc,
        }


def mac_for(address: str) -> str:
    """dockerd's MAC address of old for an IPv4 address: 02:42 and its four bytes. So an address that is
    used again has the same one, and nobody's ARP cache is wrong."""
    return "02:42:" + ipaddress.IPv4Address(address).packed.hex(":")

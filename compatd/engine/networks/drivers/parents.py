"""What macvlan and ipvlan have in common: interfaces on top of one of the host's, their parent."""

import ipaddress
import os
from collections.abc import Iterable

from compatd.engine.errors import EngineError
from compatd.engine.networks.drivers.base import Driver
from compatd.engine.networks.model import Endpoint, Network, Subnet
from runtime.net import bridge, vlan

_MOST_VLANS = 4094


class OnParent(Driver):
    """A driver whose option `parent` names a link; without one a dummy link of its own is made."""

    dummy_prefix = ""

    def parent(self, network: Network) -> str:
        """The parent's name."""
        return network.options.get("parent") or f"{self.dummy_prefix}{network.id[:12]}"

    def check_parent(self, network: Network) -> None:
        """Raises EngineError (500, as dockerd)."""
        if network.options.get("parent") == "lo":
            raise EngineError(f"loopback interface is not a valid {self.name} parent link")

    def internal(self, network: Network) -> bool:
        """Whether nothing leads out of it: also where there is no parent."""
        return network.internal or not network.options.get("parent")

    def gateway_needed(self, network: Network, version: int) -> bool:
        return False  # it would be a machine of the parent's network: only the client knows it

    def owns(self, network: Network, others: Iterable[Network]) -> bool:
        parent = self.parent(network)
        if not network.options.get("parent"):
            return True
        if bridge.find_link(parent) is None:
            _check_vlan(parent)
            return True
        return any(other.host_made and self.parent(other) == parent for other in others)

    def create(self, network: Network, others: Iterable[Network]) -> None:
        parent = self.parent(network)
        if not network.options.get("parent"):
            vlan.ensure_dummy(parent)
            return
        try:
            vlan.ensure_parent(parent)
        except OSError as e:
            reason = os.strerror(e.errno or 0).lower()
            raise EngineError(f"failed to create {parent} vlan link: {reason}") from e

    def restore(self, network: Network) -> None:
        if network.host_made:
            self.create(network, ())

    def remove(self, network: Network, others: Iterable[Network]) -> None:
        parent = self.parent(network)
        if network.host_made and not any(self.parent(other) == parent for other in others):
            bridge.delete_link(parent)

    def gateways(self, network: Network, endpoint: Endpoint) -> tuple[str, str]:
        if self.internal(network):
            return "", ""
        four = _gateway(network.of_version(4), endpoint.address) if endpoint.address else ""
        return four, _gateway(network.of_version(6), endpoint.address6) if endpoint.address6 else ""

    def connects(self, network: Network, endpoint: Endpoint) -> tuple[bool, bool]:
        """Also without a gateway: what is on the parent's network can be reached."""
        if self.internal(network):
            return False, False
        return bool(endpoint.address), bool(endpoint.address6)


def _gateway(subnets: list[Subnet], address: str) -> str:
    for subnet in subnets:
        if ipaddress.ip_address(address) in ipaddress.ip_network(subnet.prefix):
            return subnet.gateway
    return ""


def _check_vlan(name: str) -> None:
    """A link that is not there must be named so that it can be made: `eth0.10`."""
    if "." not in name:
        raise EngineError(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
    base, *more = name.split(".")
    if len(more) != 1:
        raise EngineError(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, "
            f"instead received {name}"
        )
    (number,) = more
    if not number.removeprefix("-").isdecimal():
        raise EngineError(f"unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)")
    if bridge.find_link(base) is None:
        raise EngineError(f"-o parent interface was not found on the host: {base}")
    if not 1 <= int(number) <= _MOST_VLANS:
        raise EngineError(f"vlan id must be between 1-4094, received: {int(number)}")

"""Driver `ipvlan`: the containers' interfaces share the parent's MAC address."""

from collections.abc import Iterable

from compatd.engine.errors import EngineError
from compatd.engine.networks.drivers.base import common_part
from compatd.engine.networks.drivers.parents import OnParent
from compatd.engine.networks.model import Endpoint, Json, Network

_MODES = ("l2", "l3", "l3s")
_FLAGS = ("bridge", "private", "vepa")


class Ipvlan(OnParent):
    """Options: `parent`, `ipvlan_mode`, `ipvlan_flag`."""

    name = "ipvlan"
    dummy_prefix = "di-"

    def check(self, network: Network) -> None:
        mode, flag = _mode(network), _flag(network)
        if mode not in _MODES:
            raise EngineError(
                f"requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan driver default"
            )
        if flag not in _FLAGS:
            raise EngineError(
                f"requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default"
            )
        self.check_parent(network)

    def check_subnets(self, network: Network, others: Iterable[Network]) -> None:
        parent = self.parent(network)
        for other in others:
            if self.parent(other) == parent:
                raise EngineError(
                    f"network {self.dummy_prefix}{other.id[:12]} is already using parent interface {parent}"
                )

    def has_mac(self, network: Network) -> bool:
        return False

    def gateways(self, network: Network, endpoint: Endpoint) -> tuple[str, str]:
        return ("", "") if _mode(network) != "l2" else super().gateways(network, endpoint)

    def part(self, network: Network, endpoint: Endpoint) -> Json | None:
        by_device = _mode(network) != "l2"
        return {
            **common_part(endpoint, "ipvlan", 0),
            "parent": self.parent(network),
            "mode": _mode(network),
            "ipvlan_flag": _flag(network),
            "default_device": by_device and endpoint.default4,
            "default_device6": by_device and endpoint.default6,
        }


def _mode(network: Network) -> str:
    return network.options.get("ipvlan_mode") or "l2"


def _flag(network: Network) -> str:
    return network.options.get("ipvlan_flag") or "bridge"

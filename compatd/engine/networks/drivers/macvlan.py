"""Driver `macvlan`: each container has an interface with a MAC address of its own on the parent's network."""

from collections.abc import Iterable

from compatd.engine.errors import EngineError
from compatd.engine.networks.drivers.base import common_part
from compatd.engine.networks.drivers.parents import OnParent
from compatd.engine.networks.model import Endpoint, Json, Network

_MODES = ("bridge", "private", "passthru", "vepa")


class Macvlan(OnParent):
    """Options: `parent`, `macvlan_mode`."""

    name = "macvlan"
    dummy_prefix = "dm-"

    def check(self, network: Network) -> None:
        mode = _mode(network)
        if mode not in _MODES:
            raise EngineError(
                f"requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan driver default"
            )
        self.check_parent(network)

    def check_subnets(self, network: Network, others: Iterable[Network]) -> None:
        parent = self.parent(network)
        for other in others:
            if self.parent(other) != parent:
                continue
            if _mode(network) == "passthru":
                raise EngineError(
                    f"cannot use mode passthru, macvlan network {other.id} is already using parent "
                    f"interface {parent}"
                )
            if _mode(other) == "passthru":
                raise EngineError(
                    f"macvlan network {other.id} is already using parent interface {parent} in mode passthru"
                )

    def part(self, network: Network, endpoint: Endpoint) -> Json | None:
        return {
            **common_part(endpoint, "macvlan", 0),
            "parent": self.parent(network),
            "mode": _mode(network),
        }


def _mode(network: Network) -> str:
    return network.options.get("macvlan_mode") or "bridge"

"""What every network driver can be asked for."""

from collections.abc import Iterable

from compatd.engine.networks.model import Endpoint, Json, Network
from runtime.net import nft

SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls"


class Driver:
    """One kind of network. Drivers have no state: all of it is in the `Network`."""

    name = ""
    addressed = True
    """Whether the networks have subnets and the endpoints addresses and an interface."""

    def check(self, network: Network) -> None:
        """Looks at the options before anything is allocated. Raises EngineError with dockerd's texts."""

    def gateway_needed(self, network: Network, version: int) -> bool:
        """Whether an address is to be set aside as gateway where the client names none."""
        return True

    def check_subnets(self, network: Network, others: Iterable[Network]) -> None:
        """Looks at the allocated subnets beside the other networks of this driver. Raises EngineError."""

    def owns(self, network: Network, others: Iterable[Network]) -> bool:
        """Whether `create` will make the host's side, so that it is to go with the network (`host_made`).

        Asked and written down before it is made. Blocks. Raises OSError, EngineError.
        """
        return False

    def create(self, network: Network, others: Iterable[Network]) -> None:
        """Makes the host's side. Blocks. Raises OSError, EngineError."""

    def restore(self, network: Network) -> None:
        """At a daemon's start: makes again what is missing of the host's side. Blocks. Raises OSError."""

    def remove(self, network: Network, others: Iterable[Network]) -> None:
        """Takes the host's side away as far as it is ours. Blocks. Raises OSError."""

    def gateways(self, network: Network, endpoint: Endpoint) -> tuple[str, str]:
        """The endpoint's IPv4 and IPv6 gateway, "" for none."""
        return "", ""

    def connects(self, network: Network, endpoint: Endpoint) -> tuple[bool, bool]:
        """Whether default routes of IPv4 and IPv6 can go by this endpoint."""
        return bool(endpoint.gateway), bool(endpoint.gateway6)

    def interface_prefix(self, network: Network) -> str:
        """`eth` of `eth0`."""
        return "eth"

    def has_mac(self, network: Network) -> bool:
        """Whether each endpoint has a MAC address of its own."""
        return self.addressed

    def publishes(self, network: Network) -> bool:
        """Whether ports of containers can be published on the host."""
        return False

    def part(self, network: Network, endpoint: Endpoint) -> Json | None:
        """The endpoint of a NetPlan (docs/architecture.md), or None where there is no interface."""
        return None

    def firewall(self, network: Network) -> nft.Network | None:
        """For the firewall's rules; None where there is nothing to filter."""
        return None


def common_part(endpoint: Endpoint, kind: str, mtu: int) -> Json:
    """What endpoints of all kinds have in a NetPlan."""
    return {
        "kind": kind,
        "name": endpoint.interface,
        "mac": endpoint.mac or None,
        "addresses": endpoint.addresses + link_local(endpoint),
        "gateway": endpoint.gateway or None if endpoint.default4 else None,
        "gateway6": endpoint.gateway6 or None if endpoint.default6 else None,
        "mtu": mtu,
        "sysctls": sysctls(endpoint),
    }


def link_local(endpoint: Endpoint) -> list[str]:
    """`LinkLocalIPs` of the request with their prefix lengths."""
    given = (endpoint.request.get("IPAMConfig") or {}).get("LinkLocalIPs") or []
    return [f"{address}/{64 if ':' in address else 16}" for address in given]


def sysctls(endpoint: Endpoint) -> dict[str, str]:
    """Those of the interface, from the driver option; IFNAME in the key stands for its name."""
    given = (endpoint.request.get("DriverOpts") or {}).get(SYSCTLS_OPTION) or ""
    found = {}
    for entry in filter(None, given.split(",")):
        key, _, value = entry.partition("=")
        found[key.replace(".ifname.", ".IFNAME.")] = value
    return found

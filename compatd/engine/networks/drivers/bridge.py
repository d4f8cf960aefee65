"""Driver `bridge`: a bridge on the host, a veth pair for each container."""

import dataclasses
import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from compatd.config.values import parse_bool
from compatd.engine.errors import EngineError, Forbidden, InvalidParameter
from compatd.engine.networks.drivers.base import Driver, common_part
from compatd.engine.networks.model import Endpoint, Json, Network, Subnet
from runtime.net import bridge, nft

_PREFIX = "com.docker.network.bridge."
_GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_DEFAULT_GATEWAY = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}
"""Auxiliary addresses that the containers use as gateway instead of the bridge."""

_LINK_LOCAL = ipaddress.IPv6Network("fe80::/64")


@dataclasses.dataclass(slots=True)
class Options:
    """A bridge network's driver options, parsed."""

    name: str = ""
    mtu: int = 0
    masquerade: bool = True
    icc: bool = True
    mode4: str = "nat"
    mode6: str = "nat"
    inhibit_ipv4: bool = False
    default_bridge: bool = False
    host_ip: str = ""  # where ports without a host address are published
    host_ipv4: str = ""  # source address of masqueraded packets
    host_ipv6: str = ""
    interface_prefix: str = "eth"
    trusted: tuple[str, ...] = ()

    @property
    def isolated(self) -> bool:
        """Whether the host has no address on the bridge, in one of the families at least."""
        return "isolated" in (self.mode4, self.mode6)


def parse(options: dict[str, str]) -> Options:
    """Not to be changed by who asks. Raises InvalidParameter with dockerd's texts."""
    return _parse(tuple(options.items()))


@functools.lru_cache(maxsize=1024)
def _parse(options: tuple[tuple[str, str], ...]) -> Options:
    found = Options()
    for label, value in options:
        if label in _LABELS:
            field, convert = _LABELS[label]
            try:
                setattr(found, field, convert(value))
            except ValueError as e:
                raise InvalidParameter(f"failed to parse {label} value: {value} ({e})") from None
    return found


def _atoi(text: str) -> int:
    if not text.removeprefix("-").removeprefix("+").isdecimal():
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("nil ip") from None


def _mode(text: str) -> str:
    if text not in _GATEWAY_MODES:
        raise ValueError(f"unknown gateway mode {text}")
    return text


_LABELS: dict[str, tuple[str, Callable[[str], Any]]] = {
    _PREFIX + "name": ("name", str),
    "com.docker.network.driver.mtu": ("mtu", _atoi),
    _PREFIX + "enable_ip_masquerade": ("masquerade", parse_bool),
    _PREFIX + "enable_icc": ("icc", parse_bool),
    _PREFIX + "gateway_mode_ipv4": ("mode4", _mode),
    _PREFIX + "gateway_mode_ipv6": ("mode6", _mode),
    _PREFIX + "inhibit_ipv4": ("inhibit_ipv4", parse_bool),
    _PREFIX + "default_bridge": ("default_bridge", parse_bool),
    _PREFIX + "host_binding_ipv4": ("host_ip", _address),
    _PREFIX + "trusted_host_interfaces": ("trusted", lambda text: tuple(filter(None, text.split(":")))),
    "com.docker.network.container_iface_prefix": ("interface_prefix", lambda text: text or "eth"),
    "com.docker.network.host_ipv4": ("host_ipv4", _address),
    "com.docker.network.host_ipv6": ("host_ipv6", _address),
}


class Bridge(Driver):
    """The driver of the default network, and of all networks whose driver nobody names."""

    name = "bridge"

    def check(self, network: Network) -> None:
        options = parse(network.options)
        if options.isolated and not network.internal:
            raise EngineError("gateway mode 'isolated' can only be used for an internal network")

    def gateway_needed(self, network: Network, version: int) -> bool:
        options = parse(network.options)
        if version == 6:
            return options.mode6 != "isolated"
        return options.mode4 != "isolated" and not (options.inhibit_ipv4 and network.internal)

    def check_subnets(self, network: Network, others: Iterable[Network]) -> None:
        if not network.ipv4 and not network.ipv6:
            raise InvalidParameter("IPv4 or IPv6 must be enabled")
        if len(network.of_version(4)) > 1 or len(network.of_version(6)) > 1:
            raise Forbidden("bridge driver doesn't support multiple subnets")
        options = parse(network.options)
        if options.mtu < 0:
            raise InvalidParameter(f"invalid MTU number: {options.mtu}")
        for subnet in network.of_version(6):
            _check_ipv6(subnet)
        for other in others:
            if why := _conflict(network, other):
                raise Forbidden(
                    f"cannot create network {network.id} ({network.bridge}): conflicts with network "
                    f"{other.id} ({other.bridge}): {why}"
                )

    def owns(self, network: Network, others: Iterable[Network]) -> bool:
        return bridge.find_link(network.bridge) is None

    def create(self, network: Network, others: Iterable[Network]) -> None:
        self.restore(network)

    def restore(self, network: Network) -> None:
        options = parse(network.options)
        bridge.ensure_bridge(
            network.bridge, bridge_addresses(network), options.mtu, keep_ipv4=options.inhibit_ipv4
        )

    def remove(self, network: Network, others: Iterable[Network]) -> None:
        if network.host_made and not parse(network.options).default_bridge:
            bridge.delete_link(network.bridge)

    def gateways(self, network: Network, endpoint: Endpoint) -> tuple[str, str]:
        if network.internal:
            return "", ""
        four = _gateway(network.of_version(4)) if endpoint.address else ""
        return four, _gateway(network.of_version(6)) if endpoint.address6 else ""

    def interface_prefix(self, network: Network) -> str:
        return parse(network.options).interface_prefix

    def publishes(self, network: Network) -> bool:
        return not network.internal

    def part(self, network: Network, endpoint: Endpoint) -> Json | None:
        options = parse(network.options)
        return {
            **common_part(endpoint, "bridge", options.mtu or 1500),
            "host_name": endpoint.host_name,
            "bridge": network.bridge,
            "hairpin": True,
            "isolated": not options.icc,
        }

    def firewall(self, network: Network) -> nft.Network | None:
        options = parse(network.options)
        return nft.Network(
            network.bridge,
            tuple(subnet.prefix for subnet in network.subnets),
            options.masquerade,
            options.icc,
            internal=network.internal,
            gateway_mode4=options.mode4,
            gateway_mode6=options.mode6,
            host_ip4=options.host_ipv4,
            host_ip6=options.host_ipv6,
            trusted=options.trusted,
        )


def bridge_addresses(network: Network) -> list[str]:
    """What the host has on the bridge, with prefix lengths: the gateways."""
    inhibited = parse(network.options).inhibit_ipv4
    return [
        f"{subnet.gateway}/{subnet.prefix_length}"
        for subnet in network.subnets
        if subnet.gateway and not (subnet.version == 4 and inhibited)
    ]


def _gateway(subnets: list[Subnet]) -> str:
    for subnet in subnets:
        return (subnet.auxiliary or {}).get(_DEFAULT_GATEWAY[subnet.version]) or subnet.gateway
    return ""


def _check_ipv6(subnet: Subnet) -> None:
    prefix = ipaddress.IPv6Network(subnet.prefix)
    shown = f"{subnet.gateway}/{subnet.prefix_length}" if subnet.gateway else subnet.prefix
    if prefix.is_multicast:
        raise InvalidParameter(f"multicast subnet '{shown}' is not allowed")
    if prefix != _LINK_LOCAL and prefix.overlaps(_LINK_LOCAL):
        raise InvalidParameter(f"'{shown}' clashes with the Link-Local prefix 'fe80::/64'")


def _conflict(network: Network, other: Network) -> str:
    if network.bridge == other.bridge:
        return "networks have same bridge name"
    for version in (4, 6):
        for mine in network.of_version(version):
            for theirs in other.of_version(version):
                one, two = ipaddress.ip_network(mine.prefix), ipaddress.ip_network(theirs.prefix)
                if one.overlaps(two):
                    return f"networks have overlapping IPv{version}"
    return ""

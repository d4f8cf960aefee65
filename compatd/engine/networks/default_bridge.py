"""The network `bridge`, which the daemon makes at each start as its configuration says."""

import ipaddress
from typing import Any

from compatd.engine.errors import InvalidParameter
from compatd.engine.networks.addressing import occupied
from compatd.engine.networks.model import Network, Subnet
from runtime.net import bridge

DEFAULT_NAME = "docker0"
_PREFIX = "com.docker.network.bridge."


def bridge_name(config: Any) -> str:
    """The link's name: --bridge, or docker0."""
    return str(config.bridge or DEFAULT_NAME)


def describe(config: Any, known: Network | None, id: str, created: str) -> Network:
    """The network, with the subnets that it wants. `known` is that of the last daemon: its addresses are kept
    when neither the configuration nor the bridge says otherwise. Raises InvalidParameter, OSError."""
    name = bridge_name(config)
    network = Network(
        name="bridge",
        id=id,
        created=created,
        driver="bridge",
        ipv6=bool(getattr(config, "ipv6", False)),
        options={
            _PREFIX + "default_bridge": "true",
            _PREFIX + "enable_icc": str(bool(config.icc)).lower(),
            _PREFIX + "enable_ip_masquerade": str(bool(config.ip_masq)).lower(),
            _PREFIX + "host_binding_ipv4": config.default_ip or "0.0.0.0",
            _PREFIX + "name": name,
            "com.docker.network.driver.mtu": str(int(config.mtu or 0) or 1500),
        },
        host_made=True,
    )
    network.wanted = [_wanted(config, name, known, 4)]
    if network.ipv6:
        network.wanted.append(_wanted(config, name, known, 6))
    return network


def _wanted(config: Any, name: str, known: Network | None, version: int) -> Subnet:
    """--bip, else what the bridge has, else --fixed-cidr, else what it had, else a piece of the pools."""
    keys = ("bip", "fixed_cidr", "default_gateway") if version == 4 else (
        "bip6", "fixed_cidr_v6", "default_gateway_v6"
    )  # fmt: skip
    own, within, gateway = (str(getattr(config, key, "") or "") for key in keys)
    part = _network(within) if within else None
    present = own or _present(name, version)
    interface = _interface(present) if present else None
    if (
        interface is not None
        and part is not None
        and part.network_address not in interface.network
        and not own
    ):
        interface = None  # it has changed: the bridge follows
    subnet = Subnet("0.0.0.0/0" if version == 4 else "::/0")
    if interface is not None:
        subnet = Subnet(str(interface.network), gateway=str(interface.ip))
    elif part is not None:
        subnet = Subnet(str(part))
    elif known is not None and known.of_version(version):
        before = known.of_version(version)[0]
        if not _taken(before.prefix, name):
            subnet = Subnet(before.prefix, gateway=before.gateway)
    if part is not None:
        if interface is not None and not part.subnet_of(interface.network):  # type: ignore[arg-type]
            raise InvalidParameter(f"no matching subnet for range {within}")
        subnet.range = str(part)
    if gateway:
        subnet.auxiliary = {f"DefaultGatewayIPv{version}": gateway}
    return subnet


def _present(name: str, version: int) -> str:
    found = bridge.link_addresses(name)
    return next((a for a in found if _interface(a).version == version and not _link_local(a)), "")


def _taken(prefix: str, name: str) -> bool:
    network = ipaddress.ip_network(prefix)
    others = [ipaddress.ip_network(other) for other in occupied(network.version, without=name)]
    return any(network.overlaps(other) for other in others)


def _link_local(address: str) -> bool:
    return _interface(address).is_link_local and ":" in address


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        raise InvalidParameter(f"invalid CIDR address: {text}") from None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidParameter(f"invalid CIDR address: {text}") from None


def mac_for(address: str, seed: str) -> str:
    """dockerd's MAC address of old for an IPv4 address: 02:42 and its four bytes. So an address that is
    used again has the same one, and nobody's ARP cache is wrong. Without IPv4 it is made of `seed`, hex."""
    if address:
        return "02:42:" + ipaddress.IPv4Address(address).packed.hex(":")
    return "02:42:" + bytes.fromhex(seed[:8]).hex(":")

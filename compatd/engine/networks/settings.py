"""A container's EndpointSettings as clients give them: checked, and kept under the network's name."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from compatd.engine.errors import InvalidParameter
from compatd.engine.networks.drivers.base import SYSCTLS_OPTION
from compatd.engine.networks.model import PREDEFINED, Json, Network
from compatd.engine.networks.requests import Address, joined, parse_address


def check(network: Network | None, name: str, settings: Json) -> None:
    """Raises InvalidParameter with all that is wrong; `network` None: it is not there (yet).

    Addresses are put into their usual form.
    """
    ipam = settings.get("IPAMConfig") or {}
    errors: list[str] = []
    if not is_user_defined(name):
        if ipam.get("IPv4Address") or ipam.get("IPv6Address"):
            errors.append("user-specified IP address is supported on user-defined networks only")
        if settings.get("Aliases"):
            errors.append("network-scoped aliases are only supported for user-defined networks")
    four = _read(ipam, "IPv4Address", 4, errors)
    six = _read(ipam, "IPv6Address", 6, errors)
    for i, text in enumerate(ipam.get("LinkLocalIPs") or []):
        address = parse_address(str(text))
        if address is None or address.is_unspecified:
            errors.append(f"invalid link-local IP address: {text or 'invalid IP'}")
        else:
            ipam["LinkLocalIPs"][i] = str(address)
    if network is not None:
        for address in (four, six):
            if address is not None and not _inside(address, network):
                errors.append(f"no configured subnet contains IP address {address}")
    errors += _sysctl_errors((settings.get("DriverOpts") or {}).get(SYSCTLS_OPTION))
    if errors:
        raise InvalidParameter("invalid endpoint settings:\n" + joined(errors))


def is_user_defined(name: str) -> bool:
    """Whether a network mode or name is of a network that somebody has made."""
    return name not in (*PREDEFINED, "default") and not name.startswith("container:")


def check_all(find: Any, endpoints: Mapping[str, Json]) -> None:
    """Those of a create request; `find` answers a network or None. Raises InvalidParameter."""
    errors = []
    for name, settings in endpoints.items():
        try:
            check(find(name), name, settings)
        except InvalidParameter as error:
            if error.message.startswith("invalid JSON"):
                raise
            errors.append(f"invalid config for network {name}: {error.message}")
    if errors:
        raise InvalidParameter(joined(errors))


def check_together(network: Network, others: list[Network], *, host_mode: bool) -> None:
    """Whether a container that is on `others` may be on `network`, too. Raises InvalidParameter."""
    if network.driver == "host" and not host_mode:
        raise InvalidParameter(
            "cannot connect container to host network - container must be created in host network mode"
        )
    for other in others:
        if "host" in (network.driver, other.driver):
            raise shares_namespace()
        if "none" in (network.name, other.name):
            raise InvalidParameter(
                "container cannot be connected to multiple networks with one of the networks in private "
                "(none) mode"
            )


def shares_namespace() -> InvalidParameter:
    """The error of a container in the host's or another container's network."""
    return InvalidParameter(
        "container sharing network namespace with another container or host cannot be connected to any "
        "other network"
    )


def _read(ipam: Json, field: str, version: int, errors: list[str]) -> Address | None:
    text = str(ipam.get(field) or "")
    address = parse_address(text)
    if address is None:
        return None
    if address.version != version or address.is_unspecified or "%" in text:
        errors.append(f"invalid IPv{version} address: {text}")
        return None
    ipam[field] = str(address)
    return address


def _inside(address: Address, network: Network) -> bool:
    return any(address in ipaddress.ip_network(s.prefix) for s in network.of_version(address.version))


def _sysctl_errors(option: str | None) -> list[str]:
    errors = []
    for sysctl in (option or "").split(",") if option is not None else ():
        parts = sysctl.split(".", 4)
        if (
            len(parts) != 5
            or parts[1] not in ("ipv4", "ipv6", "mpls")
            or parts[3] not in ("IFNAME", "ifname")
        ):
            errors.append(
                f"unrecognised network interface sysctl '{sysctl}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
    return errors

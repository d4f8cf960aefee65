"""A NetworkCreate request, checked: the texts are dockerd's (API: network.CreateRequest)."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from compatd.config.values import parse_bool
from compatd.engine.errors import EngineError, Forbidden, InvalidParameter
from compatd.engine.networks.model import PREDEFINED, Json, Network, Subnet

_ENABLE = {4: "com.docker.network.enable_ipv4", 6: "com.docker.network.enable_ipv6"}
_ADVERTISE = {
    "com.docker.network.advertise_addr_nmsgs": (0, 3, "must be an integer"),
    "com.docker.network.advertise_addr_ms": (100, 2000, "must be integer milliseconds"),
}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network


def read(body: Mapping[str, Any], default_options: Mapping[str, Mapping[str, str]]) -> Network:
    """The network that the request describes, without ID and addresses.

    `default_options`: the daemon's default-network-opts, by driver. Raises InvalidParameter, Forbidden.
    """
    name = str(body.get("Name") or "")
    if name in (*PREDEFINED, "default"):
        raise Forbidden(f"operation is not permitted on predefined {name} network ")
    driver = str(body.get("Driver") or "") or "bridge"
    if driver == "overlay":
        raise Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
            "to connect this node to swarm and try again."
        )
    options = dict(body.get("Options") or {})
    source = body.get("ConfigFrom")
    if source is None:
        options = {**default_options.get(driver, {}), **options}
    network = Network(
        name=name,
        id="",
        created="",
        driver=driver,
        scope=str(body.get("Scope") or ""),
        ipv4=_enabled(body.get("EnableIPv4"), options, 4),
        ipv6=_enabled(body.get("EnableIPv6"), options, 6),
        internal=bool(body.get("Internal")),
        attachable=bool(body.get("Attachable")),
        ingress=bool(body.get("Ingress")),
        config_only=bool(body.get("ConfigOnly")),
        config_from=str((source or {}).get("Network") or ""),
        options=options,
        labels=dict(body.get("Labels") or {}),
    )
    _read_ipam(body.get("IPAM"), network)
    return network


def check(network: Network) -> None:
    """What a network cannot be, whatever else there is. Raises InvalidParameter, Forbidden."""
    if network.config_only and (network.ingress or network.internal or network.attachable or network.scope):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if not network.config_from:
        _check_advertising(network.options)
        return
    if network.config_only:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    if (
        network.ipam_driver != "default"
        or not network.ipv4
        or network.ipv6
        or network.labels
        or network.ipam_options
        or network.wanted
    ):
        raise Forbidden(
            "user-specified configurations are not supported if the network depends on a "
            "configuration network"
        )
    if network.options:
        raise Forbidden(
            "network driver options are not supported if the network depends on a configuration network"
        )


def _enabled(asked: bool | None, options: dict[str, str], version: int) -> bool:
    """The field of the request, else the driver option of that meaning."""
    key = _ENABLE[version]
    if asked is not None:
        options.pop(key, None)
        return asked
    if key not in options:
        return version == 4
    try:
        return parse_bool(options[key])
    except ValueError:
        raise InvalidParameter(f'driver-opt "{key}" is not a valid bool') from None


def _check_advertising(options: Mapping[str, str]) -> None:
    for key, (low, high, what) in _ADVERTISE.items():
        value = options.get(key)
        if value is None:
            continue
        if not value.removeprefix("-").isdecimal():
            raise EngineError(f'value for option {key} "{value}" {what}')
        if not low <= int(value) <= high:
            raise EngineError(f"{key} must be in the range {low} to {high}")


def _read_ipam(ipam: Json | None, network: Network) -> None:
    if ipam is None:
        return
    network.ipam_driver = str(ipam.get("Driver") or "") or "default"
    network.ipam_options = ipam.get("Options")
    errors: list[str] = []
    for given in ipam.get("Config") or []:
        network.wanted.append(_subnet(given, errors, ipv6=network.ipv6))
    if errors:
        raise InvalidParameter("invalid network config:\n" + joined(errors))
    network.wanted.sort(key=lambda subnet: subnet.version)


def _subnet(given: Mapping[str, Any], errors: list[str], *, ipv6: bool) -> Subnet:
    prefix, host_bits = parse_prefix(str(given.get("Subnet") or ""))
    part, part_bits = parse_prefix(str(given.get("IPRange") or ""))
    gateway = parse_address(str(given.get("Gateway") or ""))
    auxiliary = {
        name: parse_address(str(address)) for name, address in (given.get("AuxiliaryAddresses") or {}).items()
    }
    if prefix is None or prefix.version == 4 or ipv6:
        shown = str(prefix) if prefix else "invalid Prefix"
        if host_bits:
            errors.append(f"invalid subnet {host_bits}: it should be {prefix}")
        errors += _range_errors(part, part_bits, prefix)
        if gateway and (why := _outside(gateway, prefix, shown)):
            errors.append(f"invalid gateway {gateway}: {why}")
        for name, address in auxiliary.items():
            if address and (why := _outside(address, prefix, shown)):
                errors.append(f"invalid auxiliary address {name}: {why}")
    return Subnet(
        str(prefix or ""),
        str(part or ""),
        str(gateway or ""),
        {name: str(address or "") for name, address in auxiliary.items()} or None,
    )


def _range_errors(part: Prefix | None, host_bits: str, prefix: Prefix | None) -> list[str]:
    if part is None:
        return []
    shown = host_bits or str(part)
    if part.version != (prefix.version if prefix else 4):
        return [f"invalid ip-range {shown}: parent subnet is an IPv{prefix.version if prefix else 4} block"]
    errors = []
    if prefix and part.prefixlen < prefix.prefixlen:
        errors.append(f"invalid ip-range {shown}: CIDR block is bigger than its parent subnet {prefix}")
    if host_bits:
        errors.append(f"invalid ip-range {shown}: it should be {part}")
    if prefix is None or not part.overlaps(prefix):
        errors.append(
            f"invalid ip-range {shown}: parent subnet {prefix or 'invalid Prefix'} doesn't contain ip-range"
        )
    return errors


def _outside(address: Address, prefix: Prefix | None, shown: str) -> str:
    version = prefix.version if prefix else 4
    if address.version != version:
        return f"parent subnet is an IPv{version} block"
    if prefix is None or address not in prefix:
        return f"parent subnet {shown} doesn't contain this address"
    return ""


def parse_prefix(text: str) -> tuple[Prefix | None, str]:
    """`10.0.0.0/8` as a network; with bits set behind it also the text as given, else "".

    None for "". Raises InvalidParameter as Go's JSON decoder does for what is none.
    """
    if not text:
        return None, ""
    address, slash, length = text.rpartition("/")
    where = f'invalid JSON: netip.ParsePrefix("{text}")'
    if not slash:
        raise InvalidParameter(f"{where}: no '/'")
    if not length.isdecimal() or (len(length) > 1 and length.startswith("0")):
        raise InvalidParameter(f'{where}: bad bits after slash: "{length}"')
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidParameter(f'{where}: ParseAddr("{address}"): {_why_no_address(address)}') from None
    if int(length) > parsed.max_prefixlen:
        raise InvalidParameter(f"{where}: prefix length out of range")
    network = ipaddress.ip_network((parsed, int(length)), strict=False)
    return network, "" if network.network_address == parsed else f"{parsed}/{length}"


def parse_address(text: str) -> Address | None:
    """An address; IPv4 in IPv6 as IPv4. None for "". Raises InvalidParameter as Go's JSON decoder does."""
    if not text:
        return None
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f'invalid JSON: ParseAddr("{text}"): {_why_no_address(text)}') from None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return mapped or parsed


def _why_no_address(text: str) -> str:
    if ":" not in text and "." in text:
        fields = text.split(".")
        if any(field.isdecimal() and int(field) > 255 for field in fields):
            return "IPv4 field has value >255"
        if all(field.isdecimal() for field in fields):
            return "IPv4 address too short" if len(fields) < 4 else "IPv4 address too long"
        return f'unexpected character (at "{text}")' if fields[0].isdecimal() else "unexpected character"
    return "unable to parse IP"


def joined(errors: list[str]) -> str:
    """Several errors in one text, as dockerd shows them."""
    if len(errors) == 1:
        return errors[0].strip()
    return "* " + "\n* ".join(error.replace("\n", "\n\t") for error in errors)

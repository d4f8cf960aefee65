"""How an option's value is written: on the command line, and in daemon.json.

Each kind has `parse(text, before)` for a flag (repeated flags see the value so far), `check(value)` for JSON,
and `show(value)`, the value as dockerd prints a flag's. The first two raise ValueError with dockerd's text.
"""

import csv
import ipaddress
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from compatd.config.access import check as check_access
from compatd.config.gotypes import Mismatch, exactly, listed, map_of, string, struct, truth, whole, whole64
from compatd.config.hosts import check_host
from compatd.config.registries import check_index, check_mirror, check_registries, parse_registry

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_ULIMITS = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
        *("rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
_DOMAIN = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
)
_RESERVED = ("com.docker.", "io.docker.", "org.dockerproject.")


def plain(value: Any) -> str:
    """A value as Go's %v prints it; numbers out of JSON are floating there."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(map(plain, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{plain(item)}" for key, item in sorted(value.items())) + "]"
    return "<nil>" if value is None else str(value)


class Kind(NamedTuple):
    """`word` names the type in `--help`."""

    word: str
    parse: Callable[[str, Any], Any]
    check: Callable[[Any], Any]
    show: Callable[[Any], str] = plain


def floating(value: Any) -> Any:
    """The numbers of a JSON value in the form that Go's float64 prints them in."""
    if isinstance(value, list):
        return [floating(item) for item in value]
    if isinstance(value, dict):
        return {key: floating(item) for key, item in value.items()}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = Decimal(repr(float(value))).normalize()
    exponent = number.adjusted()
    if not number or -4 <= exponent < 6:
        return f"{number:f}"
    digits = "".join(map(str, number.as_tuple().digits))
    mantissa = f"{digits[0]}.{digits[1:]}" if digits[1:] else digits
    return f"{'-' if number < 0 else ''}{mantissa}e{'+' if exponent >= 0 else '-'}{abs(exponent):02}"


def parse_bytes(text: str) -> int:
    """`64m`, `1GiB`, `512` → bytes. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match[1]) * _UNITS[match[2]])


def _show_bytes(value: int) -> str:
    size, units = float(value), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.4g}{units[0]}" if value else "0"


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(text: str, function: str = "ParseInt") -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
    if not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return int(text)


# one value of a list, checked; the same for flags and JSON


def check_label(text: str) -> str:
    """A label of the engine, `key=value`."""
    if "=" not in text:
        raise ValueError(f"bad attribute format: {text}")
    if text.lower().startswith(_RESERVED):
        raise ValueError(
            f"label {text} is not allowed: the namespaces com.docker.*, io.docker.*, and org.dockerproject.* "
            "are reserved for internal use"
        )
    return text


def check_domain(text: str) -> str:
    """A domain that resolvers search, or `.`."""
    text = text.strip(" ")
    if text == ".":
        return text
    found = _DOMAIN.fullmatch(text.strip().removesuffix("."))
    if not found or not re.search("[a-zA-Z]", text) or len(found[0]) > 254:
        raise ValueError(f"{text} is not a valid domain")
    return found[0]


def check_resource(text: str) -> str:
    """A resource of the node, `name=value`."""
    if "=" not in text:
        raise ValueError(f"invalid node-generic-resource format `{text}` expected `name=value`")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'ParseAddr("{text}"): unable to parse IP') from None


def _flag_ip(text: str, _: Any) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f'failed to parse IP: "{text}"') from None


def _json_ip(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(text)) if (text := string(value)) else ""
    except Mismatch:
        raise
    except ValueError:
        raise ValueError(f"invalid IP address: {value}") from None


# flags with a form of their own


def _pair(text: str, before: dict[str, str] | None) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {**(before or {}), key: value}


def _pair_of_pairs(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    root, first, rest = text.partition("=")
    key, second, value = rest.partition("=")
    if not first or not second:
        raise ValueError(f"invalid value {json.dumps(text)} for map option, should be root-key=key=value")
    found = {name: dict(pairs) for name, pairs in (before or {}).items()}
    found.setdefault(root, {})[key] = value
    return found


def _runtime(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    name, _, path = (part.strip() for part in text.partition("="))
    name = name.lower()
    if not name or not path:
        raise ValueError(f"invalid runtime argument: {text}")
    if name == "runc":
        raise ValueError("runtime name 'runc' is reserved")
    if name in (before or {}):
        raise ValueError(f"runtime '{name}' was already defined")
    return {**(before or {}), name: {"path": path}}


def _ulimit(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    hard = _integer(parts[-1])
    soft = _integer(parts[0])
    wrong = "ulimit soft limit must be less than or equal to hard limit: "
    if hard != -1 and soft == -1:
        raise ValueError(f"{wrong}soft: -1 (unlimited), hard: {hard}")
    if hard != -1 and soft > hard:
        raise ValueError(f"{wrong}{soft} > {hard}")
    return {**(before or {}), name: {"Name": name, "Soft": soft, "Hard": hard}}


def _show_ulimits(value: dict[str, Any]) -> str:
    shown = (f"{limit['Name']}={limit['Soft']}:{limit['Hard']}" for limit in value.values())
    return "[" + " ".join(shown) + "]"


def _prefix(text: str) -> str:
    try:
        if "/" not in text:
            raise ValueError
        return str(ipaddress.ip_interface(text))
    except ValueError:
        raise ValueError(
            f'netip.ParsePrefix("{text}"): ' + ("no '/'" if "/" not in text else "bad")
        ) from None


def _pool(text: str, before: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    pool: dict[str, Any] = {"base": "", "size": 0}
    for field in next(csv.reader([text])):
        key, equals, value = field.lower().partition("=")
        if not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        if key not in pool:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
        try:
            pool[key] = _integer(value, "Atoi") if key == "size" else _prefix(value)
        except ValueError as error:
            what = (
                f'size value: "{text}" (must be integer)'
                if key == "size"
                else f"base prefix {json.dumps(value)}"
            )
            raise ValueError(f"invalid {what}: {error}") from None
    return [*(before or []), pool]


def _show_pools(value: list[dict[str, Any]]) -> str:
    return ", ".join(f"{pool['base']} {pool['size']}" for pool in value)


def _feature(text: str, before: dict[str, bool] | None) -> dict[str, bool]:
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError(f"invalid option name: {json.dumps(text)}")
    return {**(before or {}), name: parse_bool(value) if equals else True}


def _nri(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    found = dict(before or {})
    for field in next(csv.reader([text])):
        key, _, value = field.partition("=")
        if key not in ("enable", "plugin-path", "plugin-config-path", "socket-path"):
            raise ValueError(f"unexpected key '{key}' in '{field}'")
        found[key] = parse_bool(value or "true") if key == "enable" else value
    return found


# JSON


def _sizes(prefix: str) -> dict[str, Callable[[Any], Any]]:
    return {f"{prefix}{name}": string for name in ("ReservedSpace", "MaxUsedSpace", "MinFreeSpace")}


_check_ulimit = struct("container.Ulimit", Name=string, Hard=whole64, Soft=whole64)
_check_pool = struct("ipamutils.NetworkToSplit", base=lambda value: _prefix(string(value)), size=whole)
_check_runtime = struct(
    "system.Runtime",
    path=string,
    runtimeArgs=listed(),
    runtimeType=string,
    options=lambda value: exactly(value, dict, "map[string]interface {}"),
)


_check_rule = struct("config.BuilderGCRule", All=truth, **_sizes(""), KeepStorage=string)
_check_gc = struct(
    "config.BuilderGCConfig",
    Enabled=truth,
    Policy=lambda value: [_check_rule(one) for one in exactly(value, list, "[]config.BuilderGCRule")],
    **_sizes("Default"),
    DefaultKeepStorage=string,
)
_check_entitlements = struct(
    "config.BuilderEntitlements", **{"network-host": truth, "security-insecure": truth, "device": truth}
)


def _check_builder(value: Any) -> dict[str, Any]:
    """The object as it is: whoever builds knows the rest of it."""
    struct("config.BuilderConfig", GC=_check_gc, Entitlements=_check_entitlements)(value)
    return dict(value)


def _keep(text: str) -> str:
    return text


def _json_pools(value: Any) -> list[dict[str, Any]]:
    pools = exactly(value, list, "[]*ipamutils.NetworkToSplit")
    try:
        return [{"base": "", "size": 0, **_check_pool(pool)} for pool in pools]
    except Mismatch as error:  # a decoder within the decoder: the inner struct's name is lost
        raise Mismatch(error.found, error.go, path=error.path) from None


def _json_ulimits(value: Any) -> dict[str, Any]:
    limits = map_of(_check_ulimit, "map[string]*container.Ulimit")(value)
    return {name: {"Name": name, "Soft": 0, "Hard": 0, **limit} for name, limit in limits.items()}


def _size(value: Any) -> int:
    if not isinstance(value, str) or not value:
        raise ValueError(f"invalid size: {json.dumps(json.dumps(value, separators=(',', ':')))}")
    return parse_bytes(value)


def listing(item: Callable[[str], str] = _keep, *, late: bool = True) -> Kind:
    """A list whose values are checked by `item`; those of JSON `late`, when all options are together."""
    return Kind(
        "list",
        lambda text, before: [*(before or []), item(text)],
        listed(_keep if late else item),
        lambda value: plain(value) if value else "",
    )


_INTEGER = Kind("int", lambda text, _: _integer(text), whole)

VALUES: dict[str, Kind] = {
    "string": Kind("string", lambda text, _: text, string),
    "bool": Kind("", lambda text, _: parse_bool(text), truth),
    "int": _INTEGER,
    "bytes": Kind("bytes", lambda text, _: parse_bytes(text), _size, _show_bytes),
    "ip": Kind("ip", _flag_ip, _json_ip),
    "list": listing(),
    "hosts": listing(check_host),
    "labels": listing(check_label),
    "domains": listing(check_domain),
    "addresses": listing(_address, late=False),
    "indexes": listing(check_index),
    "mirrors": listing(check_mirror),
    "resources": listing(check_resource),
    "map": Kind("map", _pair, map_of(string, "map[string]string")),
    "mapmap": Kind(
        "mapmap",
        _pair_of_pairs,
        map_of(map_of(string, "map[string]string"), "map[string]map[string]string"),
    ),
    "runtimes": Kind(
        "runtime",
        _runtime,
        map_of(_check_runtime, "map[string]system.Runtime"),
        lambda value: plain(list(value)),
    ),
    "ulimits": Kind("ulimit", _ulimit, _json_ulimits, _show_ulimits),
    "pools": Kind("pool-options", _pool, _json_pools, _show_pools),
    "features": Kind("map", _feature, map_of(truth, "map[string]bool")),
    "nri": Kind("nri-opts", _nri, lambda value: dict(exactly(value, dict, "opts.nriOpts"))),
    "builder": Kind("", lambda text, _: text, _check_builder),
    "registries": Kind("registry", parse_registry, check_registries),
    "access": Kind("", lambda text, _: text, check_access),
}

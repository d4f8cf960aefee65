"""How an option's value is written: on the command line, and in daemon.json.

Each kind has `parse(text, before)` for a flag (repeated flags see the value so far) and `check(value)` for
JSON. Both raise ValueError with the text to show.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_LEVELS = ("debug", "info", "warn", "error", "fatal")


class Kind(NamedTuple):
    """`word` names the type in `--help`."""

    word: str
    parse: Callable[[str, Any], Any]
    check: Callable[[Any], Any]


def parse_bytes(text: str) -> int:
    """`64m`, `1GiB`, `512` → bytes. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _int(text: str, _: Any) -> int:
    try:
        return int(text, 10)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _append(text: str, before: list[str] | None) -> list[str]:
    return [*(before or []), text]


def _pair(text: str, before: dict[str, str] | None) -> dict[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"invalid key=value pair: {text}")
    return {**(before or {}), key: value}


def _runtime(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise ValueError(f"invalid runtime argument, must be name=path: {text}")
    return {**(before or {}), name.strip().lower(): {"path": path.strip()}}


def _ulimit(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    name, equals, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    if not equals or not re.fullmatch(r"-?\d+", soft) or not re.fullmatch(r"(-?\d+)?", hard):
        raise ValueError(f"invalid ulimit argument: {text}")
    limit = {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    return {**(before or {}), name: limit}


def _pool(text: str, before: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    if set(fields) != {"base", "size"} or not fields["size"].isdigit():
        raise ValueError(f"invalid pool, must be base=SUBNET,size=BITS: {text}")
    return [*(before or []), {"base": fields["base"], "size": int(fields["size"])}]


def check_mirror(url: str) -> str:
    """A mirror's URL as dockerd takes it. Raises ValueError with its text."""
    scheme, colon, _ = url.partition("://")
    if not colon or not scheme:
        raise ValueError(
            f"invalid mirror: no scheme specified for \"{url}\": must use either 'https://' or 'http://'"
        )
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError(f'invalid mirror: "{url}" is not a valid URI') from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            f'invalid mirror: unsupported scheme "{parts.scheme}" in "{url}": '
            "must use either 'https://' or 'http://'"
        )
    if parts.query or parts.fragment:
        raise ValueError(f'invalid mirror: query or fragment at end of the URI "{url}"')
    if parts.username or parts.password:
        raise ValueError("invalid mirror: username/password not allowed in URI")
    return url


def _registry(text: str, before: dict[str, Any] | None) -> dict[str, Any]:
    host, equals, urls = text.partition("=")
    if not host or not equals or not urls:
        raise ValueError(f"invalid registry, must be host=mirror,…: {text}")
    return {**(before or {}), host: {"mirrors": [check_mirror(url) for url in urls.split(",")]}}


def _registries(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object of registries' host names is needed")
    for host, settings in value.items():
        unknown = set(settings) - {"mirrors"} if isinstance(settings, dict) else {"?"}
        if unknown:
            raise ValueError(f'{host}: an object with "mirrors" is needed')
        for url in _list(settings.get("mirrors", [])):
            check_mirror(url)
    return value


def _feature(text: str, before: dict[str, bool] | None) -> dict[str, bool]:
    name, equals, value = text.partition("=")
    return {**(before or {}), name: parse_bool(value) if equals else True}


def _level(text: str, _: Any) -> str:
    if text not in _LEVELS:
        raise ValueError(f"unable to parse logging level: {text}")
    return text


def _is(*types: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"cannot use {value!r}: {types[0].__name__} is needed")
        return value

    return check


def _list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"cannot use {value!r}: a list of strings is needed")
    return value


def _size(value: Any) -> int:
    return parse_bytes(value) if isinstance(value, str) else int(_is(int)(value))


VALUES: dict[str, Kind] = {
    "string": Kind("string", lambda text, _: text, _is(str)),
    "path": Kind("string", lambda text, _: text, _is(str)),
    "level": Kind("string", _level, lambda value: _level(_is(str)(value), None)),
    "bool": Kind("", lambda text, _: parse_bool(text), _is(bool)),
    "int": Kind("int", _int, _is(int)),
    "bytes": Kind("bytes", lambda text, _: parse_bytes(text), _size),
    "list": Kind("list", _append, _list),
    "map": Kind("map", _pair, _is(dict)),
    "runtimes": Kind("runtime", _runtime, _is(dict)),
    "ulimits": Kind("ulimit", _ulimit, _is(dict)),
    "pools": Kind("pool-options", _pool, _is(list)),
    "registries": Kind("registry", _registry, _registries),
    "features": Kind("feature", _feature, _is(dict)),
}

"""The query of a request: parsed and typed as the engine's handlers do."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from apispec.gojson import quote
from apispec.model import BadRequest, Filters, ListOf, Operation, Param, Scalar, Uint32, Uint64
from apispec.versions import MAX, Version

_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FALSE = frozenset(("", "0", "no", "false", "none"))
_PARSE_BOOL = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_NOTHING = [""]
_REQUIRED = (Uint32, Uint64)
"""Terminal sizes and the versions of Swarm's objects: absent is as wrong as empty."""

Reader = Callable[[list[str]], Any]


def parse_query(raw: str) -> dict[str, list[str]]:
    """``a=1&a=2&b`` as {"a": ["1", "2"], "b": [""]}. Raises BadRequest with Go's text."""
    values: dict[str, list[str]] = {}
    for part in raw.split("&"):
        if not part:
            continue
        if ";" in part:
            raise BadRequest("invalid semicolon separator in query")
        if "%" in part and (bad := _BAD_ESCAPE.search(part)):
            raise BadRequest(f"invalid URL escape {quote(bad[0])}")
        key, _, value = part.partition("=")
        values.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return values


def decode_query(operation: Operation, raw: str, version: Version = MAX) -> dict[str, Any]:
    """All of the operation's query parameters, typed, with defaults for the absent ones.

    Absent means: the parameter's default, else "" for strings, False for bools, None for integers, [] for
    lists and {} for filters (a dict of lists). Parameters that the client's version does not
    know count as absent. Raises BadRequest.
    """
    plan = _plan(operation, version.key)
    if not plan:
        return {}
    given = parse_query(raw) if raw else {}
    decoded: dict[str, Any] = {}
    for param, reader in plan:
        values = given.get(param.name) or (_NOTHING if param.type in _REQUIRED else None)
        decoded[param.name] = reader(values) if values and reader else _absent(param, bool(reader))
    return decoded


@lru_cache(maxsize=2048)
def _plan(operation: Operation, version: tuple[int, ...]) -> list[tuple[Param, Reader | None]]:
    client = Version(".".join(map(str, version)))
    plan: list[tuple[Param, Reader | None]] = []
    for param in operation.params:
        if param.where == "query":
            known = not (param.since and client < param.since) and not (param.until and client > param.until)
            plan.append((param, _reader(param) if known else None))
    return plan


def _absent(param: Param, known: bool = True) -> Any:
    default = param.default if known else param.before
    if default is not None:
        return default
    if isinstance(param.type, ListOf):
        return []
    if isinstance(param.type, Filters):
        return {}
    assert isinstance(param.type, Scalar)
    return {"string": "", "boolean": False}.get(param.type.kind)


def _reader(param: Param) -> Reader:
    type = param.type
    if isinstance(type, ListOf):
        return list
    if isinstance(type, Filters):
        return lambda values: decode_filters(values[0], type)
    assert isinstance(type, Scalar)
    if type.kind == "boolean":
        if type.go == "strconv.ParseBool":
            return lambda values: _parse_bool(param, values[0])
        return lambda values: values[0].strip().lower() not in _FALSE
    if type.kind == "integer":
        return lambda values: _integer(param, type, values[0])
    return lambda values: _string(param, type, values[0])


def _string(param: Param, type: Scalar, value: str) -> str:
    if not value and isinstance(param.default, str):
        return param.default
    if value and param.invalid and value not in type.choices:
        raise _invalid(param, value, "")
    return value


def _parse_bool(param: Param, value: str) -> bool:
    if not value:
        return bool(param.default)
    if value not in _PARSE_BOOL:
        raise _invalid(param, value, f"strconv.ParseBool: parsing {quote(value)}: invalid syntax")
    return _PARSE_BOOL[value]


def _integer(param: Param, type: Scalar, value: str) -> Any:
    if not value and type not in _REQUIRED:
        return _absent(param)
    signed = type.bits < 0
    size = type is Uint32  # of these the engine tells negative values from nonsense
    reason = "invalid syntax"
    if _INTEGER.fullmatch(value) and (signed or value[0] not in "+-" or (size and value[0] == "-")):
        number = int(value)
        bits = abs(type.bits)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        if low <= number <= high and not (size and value[0] == "-"):
            return number
        reason = "value out of range"
    if param.lenient:
        return 0
    function = {"int": "Atoi", "int64": "ParseInt"}.get(type.go, "ParseUint")
    raise _invalid(param, value, reason if size else f"strconv.{function}: parsing {quote(value)}: {reason}")


def _invalid(param: Param, value: str, why: str) -> BadRequest:
    if not param.invalid:
        return BadRequest(why)
    return BadRequest(param.invalid.format(value=quote(value), raw=value, why=why))


def decode_filters(text: str, type: Filters) -> dict[str, list[str]]:
    """``{"label": {"a": true}}`` or the older ``{"label": ["a"]}`` as {"label": ["a"]}; values once each.

    Raises BadRequest: "invalid filter" for anything else, "invalid filter 'x'" for a name not accepted.
    """
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("invalid filter") from None
    filters = _filters(value)
    if filters is None:
        raise BadRequest("invalid filter")
    for name in filters:
        if type.names and name not in type.names:
            raise BadRequest(f"invalid filter '{name}'")
    return filters


def _filters(value: Any) -> dict[str, list[str]] | None:
    if value is None:
        return {}
    if not isinstance(value, dict):
        return None
    items = list(value.items())
    if all(inner is None or (isinstance(inner, dict) and _all(inner.values(), bool)) for _, inner in items):
        return {name: list(inner or ()) for name, inner in items}
    if all(inner is None or (isinstance(inner, list) and _all(inner, str)) for _, inner in items):
        return {name: list(dict.fromkeys(item or "" for item in inner or ())) for name, inner in items}
    return None


def _all(values: Any, type: type) -> bool:
    return all(value is None or isinstance(value, type) for value in values)

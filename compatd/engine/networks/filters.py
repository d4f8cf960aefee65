"""Filters of NetworkList: dangling, driver, id, label, name, scope, type."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.networks.documents import PREDEFINED

_KNOWN = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
Filters = Mapping[str, Any]  # values: a list, or a mapping whose keys count


def check(filters: Filters) -> dict[str, list[str]]:
    """The filters with their values as lists. Raises EngineError with dockerd's texts."""
    known: dict[str, list[str]] = {}
    for key, values in filters.items():
        if key not in _KNOWN:
            raise InvalidParameter(f"invalid filter '{key}'")
        known[key] = [str(v) for v in values]
    for value in known.get("type", []):
        if value not in ("custom", "builtin"):
            raise EngineError(f"invalid filter: 'type'='{value}'")  # dockerd answers 500 here
    dangling = known.get("dangling", [])
    if len(dangling) > 1:
        raise InvalidParameter('got more than one value for filter key "dangling"')
    if dangling and dangling[0] not in ("0", "1", "true", "false"):
        raise InvalidParameter(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
        )
    return known


def matches(network: Mapping[str, Any], filters: Mapping[str, list[str]], *, in_use: bool) -> bool:
    """Whether the network resource passes every filter; `filters` as `check` answers them."""
    builtin = network["Name"] in PREDEFINED
    tests: dict[str, Callable[[str], bool]] = {
        "driver": lambda v: network["Driver"] == v,
        "scope": lambda v: network["Scope"] == v,
        "name": lambda v: _contains(v, network["Name"]),
        "id": lambda v: _contains(v, network["Id"]),
        "type": lambda v: builtin == (v == "builtin"),
    }
    for key, values in filters.items():
        if not values:
            continue
        if key == "label":
            if not all(_has_label(network["Labels"] or {}, v) for v in values):
                return False
        elif key == "dangling":
            unused = not builtin and not in_use
            if unused != (values[0] in ("1", "true")):
                return False
        elif not any(tests[key](v) for v in values):
            return False
    return True


def _contains(pattern: str, text: str) -> bool:
    if pattern == text:
        return True
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)

"""Filters of NetworkList (dangling, driver, id, label, name, scope, type) and NetworkPrune (until, label)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from compatd.engine.containers.filters import until_moment
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.labels import matches_labels
from compatd.engine.networks.model import Network
from compatd.engine.timestamps import from_rfc3339

_KNOWN = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_KNOWN_PRUNE = frozenset({"label", "label!", "until"})
Filters = Mapping[str, Any]  # values: a list, or a mapping whose keys count


def check(filters: Filters) -> dict[str, list[str]]:
    """The filters with their values as lists. Raises EngineError with dockerd's texts."""
    known = _known(filters, _KNOWN)
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


def check_prune(filters: Filters, now: int) -> dict[str, list[str]]:
    """As `check`, for NetworkPrune; `until` is a number of nanoseconds afterwards."""
    known = _known(filters, _KNOWN_PRUNE)
    if known.get("until"):
        known["until"] = [str(until_moment(known["until"], now))]
    return known


def _known(filters: Filters, names: frozenset[str]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for key, values in filters.items():
        if key not in names:
            raise InvalidParameter(f"invalid filter '{key}'")
        known[key] = [str(v) for v in values]
    return known


def matches(network: Network, filters: Mapping[str, list[str]], *, in_use: bool) -> bool:
    """Whether the network passes every filter; `filters` as `check` answers them."""
    builtin = not network.user_defined
    tests: dict[str, Callable[[str], bool]] = {
        "driver": lambda v: network.driver == v,
        "scope": lambda v: network.scope == v,
        "name": lambda v: _contains(v, network.name),
        "id": lambda v: _contains(v, network.id),
        "type": lambda v: builtin == (v == "builtin"),
    }
    for key, values in filters.items():
        if not values:
            continue
        if key == "label":
            if not matches_labels(values, network.labels):
                return False
        elif key == "dangling":
            unused = not builtin and not in_use
            if unused != (values[0] in ("1", "true")):
                return False
        elif not any(tests[key](v) for v in values):
            return False
    return True


def matches_prune(network: Network, filters: Mapping[str, list[str]]) -> bool:
    """Whether a network may be pruned; `filters` as `check_prune` answers them."""
    if filters.get("until") and from_rfc3339(network.created) > int(filters["until"][0]):
        return False
    if not matches_labels(filters.get("label"), network.labels):
        return False
    return not (filters.get("label!") and matches_labels(filters["label!"], network.labels))


def _contains(pattern: str, text: str) -> bool:
    if pattern == text:
        return True
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text

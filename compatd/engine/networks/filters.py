"""Filters of NetworkList (dangling, driver, id, label, name, scope, type) and NetworkPrune (until, label)."""

from collections.abc import Callable, Mapping
from typing import Any

from compatd.engine.containers.filters import until_moment
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.labels import matches_labels
from compatd.engine.namefilter import name_matcher
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


def matcher(filters: Mapping[str, list[str]]) -> Callable[[Network, bool], bool]:
    """Whether a network (and: whether it is in use) passes all; `filters` as `check` answers them."""
    patterns = {key: name_matcher(filters.get(key, [])) for key in ("name", "id")}

    def passes(network: Network, key: str, values: list[str], in_use: bool) -> bool:
        builtin = not network.user_defined
        match key:
            case "name" | "id":
                return patterns[key](network.name if key == "name" else network.id)
            case "label":
                return matches_labels(values, network.labels)
            case "dangling":
                return (not builtin and not in_use) == (values[0] in ("1", "true"))
            case "type":
                return ("builtin" if builtin else "custom") in values
            case _:
                return (network.driver if key == "driver" else network.scope) in values

    return lambda network, in_use: all(
        passes(network, key, values, in_use) for key, values in filters.items() if values
    )


def matches_prune(network: Network, filters: Mapping[str, list[str]]) -> bool:
    """Whether a network may be pruned; `filters` as `check_prune` answers them."""
    if filters.get("until") and from_rfc3339(network.created) > int(filters["until"][0]):
        return False
    if not matches_labels(filters.get("label"), network.labels):
        return False
    return not (filters.get("label!") and matches_labels(filters["label!"], network.labels))

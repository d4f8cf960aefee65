"""Filters of lists of volumes, and of what a prune takes."""

from collections.abc import Callable
from typing import Any

from compatd.config.values import parse_bool
from compatd.engine.errors import InvalidParameter
from compatd.engine.labels import matches_labels
from compatd.engine.namefilter import name_matcher

Json = dict[str, Any]
Filters = dict[str, list[str]]
Test = Callable[[Json], bool]

ANONYMOUS = "com.docker.volume.anonymous"
LISTS = frozenset({"dangling", "driver", "label", "name"})
PRUNES = frozenset({"all", "label", "label!"})


def check(filters: Filters, known: frozenset[str]) -> None:
    """Raise InvalidParameter for a filter that is not known."""
    for name in filters:
        if name not in known:
            raise InvalidParameter(f"invalid filter '{name}'")


def matcher(filters: Filters, in_use: Callable[[str], bool]) -> Test:
    """Whether a volume (API: Volume) passes `name`, `driver`, `label`, `label!` and `dangling`, if given.

    in_use: whether a container refers to the volume of that name. Raises InvalidParameter.
    """
    tests: list[Test] = []
    if filters.get("name"):
        passes = name_matcher(filters["name"])
        tests.append(lambda volume: passes(volume["Name"]))
    if filters.get("driver"):
        tests.append(lambda volume: volume["Driver"] in filters["driver"])
    tests.append(lambda volume: matches_labels(filters.get("label"), volume["Labels"] or {}))
    if filters.get("label!"):
        tests.append(lambda volume: not matches_labels(filters["label!"], volume["Labels"] or {}))
    if "dangling" in filters:
        dangling = _boolean("dangling", filters["dangling"])
        tests.append(lambda volume: in_use(volume["Name"]) is not dangling)
    return lambda volume: all(test(volume) for test in tests)


def _boolean(name: str, values: list[str]) -> bool:
    if not values:
        raise InvalidParameter(f"invalid filter '{name}'")
    false, true = not {"0", "false"}.isdisjoint(values), not {"1", "true"}.isdisjoint(values)
    if false is true:
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(values)}]'")
    return true


def prune_labels(filters: Filters, *, named_too: bool) -> list[str]:
    """The labels that a volume needs to be pruned: without `all` that of anonymous ones, too.

    named_too: the client is older than 1.42, for which `all` goes without saying. Raises InvalidParameter.
    """
    values = dict.fromkeys([*filters.get("all", ()), *(["true"] if named_too else [])])
    if len(values) > 1:
        raise InvalidParameter(f"invalid filter 'all=[{' '.join(values)}]': only one value is expected")
    everything = False
    for value in values:
        try:
            everything = parse_bool(value)
        except ValueError as error:
            raise InvalidParameter(f"invalid filter 'all': {error}") from None
    return [*filters.get("label", ()), *([] if everything else [ANONYMOUS])]

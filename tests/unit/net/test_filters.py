"""NetworkList's filters."""

from typing import Any

import pytest

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.networks import filters
from compatd.engine.networks.model import Network

BRIDGE = Network("bridge", "a1" * 32, "2026-11-27T10:00:00Z", "bridge")
MINE = Network("my-net", "b2" * 32, "2026-11-27T12:00:00Z", "bridge", labels={"l": "1", "e": ""})


def passes(network: Network, in_use: bool = False, **given: Any) -> bool:
    return filters.matcher(filters.check(given))(network, in_use)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [BRIDGE, MINE]),
        ({"name": ["net"]}, [MINE]),
        ({"name": ["^my"]}, [MINE]),
        ({"name": ["nope", "bridge"]}, [BRIDGE]),
        ({"name": ["["]}, []),
        ({"id": ["b2b2"]}, [MINE]),
        ({"driver": ["bridge"]}, [BRIDGE, MINE]),
        ({"driver": ["brid"]}, []),
        ({"scope": ["swarm"]}, []),
        ({"type": ["builtin"]}, [BRIDGE]),
        ({"type": ["custom"]}, [MINE]),
        ({"type": ["custom", "builtin"]}, [BRIDGE, MINE]),
        ({"label": ["l"]}, [MINE]),
        ({"label": ["l=1", "e"]}, [MINE]),
        ({"label": ["l=1", "x"]}, []),
        ({"label": ["l=2"]}, []),
    ],
)
def test_what_passes(given: dict[str, Any], expected: list[Network]) -> None:
    assert [n for n in (BRIDGE, MINE) if passes(n, **given)] == expected


@pytest.mark.parametrize("yes", ["true", "1"])
def test_dangling_means_without_containers_and_never_predefined(yes: str) -> None:
    assert passes(MINE, dangling=[yes])
    assert not passes(MINE, in_use=True, dangling=[yes])
    assert not passes(BRIDGE, dangling=[yes])
    assert passes(MINE, in_use=True, dangling=["false"])
    assert not passes(MINE, dangling=["0"])
    assert passes(BRIDGE, dangling=["false"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bogus": ["x"]}, "invalid filter 'bogus'"),
        ({"type": ["x"]}, "invalid filter: 'type'='x'"),
        ({"dangling": ["true", "false"]}, 'got more than one value for filter key "dangling"'),
        ({"dangling": ["yes"]}, "invalid value for filter 'dangling', must be"),
    ],
)
def test_what_is_refused(given: dict[str, list[str]], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        filters.check(given)


@pytest.mark.parametrize(
    ("given", "pruned"),
    [
        ({}, True),
        ({"until": ["2026-11-27T12:00:00Z"]}, True),
        ({"until": ["2026-11-27T11:59:59Z"]}, False),
        ({"until": ["90m"]}, False),
        ({"label": ["l=1"]}, True),
        ({"label": ["l=2"]}, False),
        ({"label!": ["l=1"]}, False),
        ({"label!": ["other"]}, True),
    ],
)
def test_what_is_pruned(given: dict[str, list[str]], pruned: bool) -> None:
    now = 1795780800_000000000  # 2026-11-27T12:00:00Z
    assert filters.matches_prune(MINE, filters.check_prune(given, now)) is pruned


def test_filters_of_prune_only() -> None:
    for given in ({"name": ["x"]}, {"until": ["1h", "2h"]}, {"until": ["soon"]}):
        with pytest.raises(InvalidParameter):
            filters.check_prune(given, 0)
    with pytest.raises(InvalidParameter):
        filters.check({"until": ["1h"]})

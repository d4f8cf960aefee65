"""The event stream: what comes to whom."""

import asyncio
from typing import Any

import pytest

from compatd.engine.events import KEPT, Events, matches, without_tag


class Clock:
    """ns since 1970 that go on by one second at each look."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1_000_000_000
        return self.now


def _actions(events: list[dict[str, Any]]) -> list[str]:
    return [event["Action"] for event in events]


async def _collect(subscription: Any) -> list[dict[str, Any]]:
    with subscription:
        return [event async for event in subscription]


def test_event_has_all_fields() -> None:
    events = Events(Clock())
    event = events.emit("container", "start", "abc", {"image": "busybox", "name": "x"})
    assert event == {
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "abc", "Attributes": {"image": "busybox", "name": "x"}},
        "scope": "local",
        "time": 1,
        "timeNano": 1_000_000_000,
        "status": "start",
        "id": "abc",
        "from": "busybox",
    }
    assert "id" not in events.emit("network", "connect", "n", {})
    assert "from" not in events.emit("container", "create", "f" * 64, {"image": "", "name": "x"})
    assert "from" not in events.emit("image", "pull", "busybox:latest", {"name": "busybox"})


def test_past_events_between_since_and_until() -> None:
    events = Events(Clock())
    for action in ("create", "start", "die"):
        events.emit("container", action, "abc", {})
    found = asyncio.run(_collect(events.subscribe({}, since=2_000_000_000, until=2_500_000_000)))
    assert _actions(found) == ["start"]
    assert _actions(asyncio.run(_collect(events.subscribe({}, until=1)))) == []
    assert events.listeners == 0


def test_new_events_follow_the_kept_ones() -> None:
    async def case() -> list[str]:
        events = Events()
        events.emit("container", "create", "abc", {})
        seen = []
        with events.subscribe({}, since=0) as subscription:
            events.emit("container", "start", "abc", {})
            async for event in subscription:
                seen.append(event["Action"])
                if event["Action"] == "start":
                    events.emit("container", "die", "abc", {})
                if event["Action"] == "die":
                    break
        assert events.listeners == 0
        return seen

    assert asyncio.run(case()) == ["create", "start", "die"]


def test_only_the_last_ones_are_kept() -> None:
    events = Events(Clock())
    for number in range(KEPT + 10):
        events.emit("volume", "create", str(number), {})
    found = asyncio.run(_collect(events.subscribe({}, since=0, until=1)))
    assert found == []
    found = asyncio.run(_collect(events.subscribe({}, since=0, until=(KEPT + 10) * 1_000_000_000)))
    assert [event["Actor"]["ID"] for event in found] == [str(number) for number in range(10, KEPT + 10)]


def test_a_client_that_never_reads_is_let_go() -> None:
    async def case() -> None:
        events = Events()
        with events.subscribe({}) as subscription:
            for _ in range(5000):
                events.emit("container", "start", "abc", {})
            assert events.listeners == 0
            assert len([event async for event in subscription]) < 5000

    asyncio.run(case())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": ["container"]}, True),
        ({"type": ["image", "network"]}, False),
        ({"event": ["exec_create"]}, True),
        ({"event": ["exec_create: sh -c true"]}, True),
        ({"event": ["start"]}, False),
        ({"container": ["abc"]}, True),
        ({"container": ["web"]}, True),
        ({"container": ["we"]}, True),  # a beginning is enough, as with dockerd
        ({"container": ["eb"]}, False),
        ({"network": ["web"]}, True),
        ({"event": ["exec_crea"]}, False),
        ({"event": ["exec_crea", "exec_start"]}, True),
        ({"event": ["die", "exec_create"]}, True),
        ({"image": ["busybox"]}, True),
        ({"image": ["busybox:1"]}, True),
        ({"image": ["busy"]}, False),
        ({"label": ["a"]}, True),
        ({"label": ["a=1", "b"]}, False),
        ({"label": ["a=2"]}, False),
        ({"network": ["bc"]}, False),
        ({"scope": ["local"]}, True),
        ({"scope": ["swarm"]}, False),
        ({"type": ["container"], "event": ["die"]}, False),
        ({}, True),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: bool) -> None:
    event = Events(Clock()).emit(
        "container", "exec_create: sh -c true", "abcdef", {"image": "busybox:1", "name": "web", "a": "1"}
    )
    assert matches(event, filters) is expected


def test_unknown_filters_let_everything_pass() -> None:
    assert matches(Events(Clock()).emit("container", "start", "abcdef", {}), {"foo": ["x"]})


@pytest.mark.parametrize(
    ("name", "short"),
    [("a", "a"), ("a:1", "a"), ("h:5000/a", "h:5000/a"), ("h:5000/a:1", "h:5000/a"), ("a@sha256:0", "a")],
)
def test_without_tag(name: str, short: str) -> None:
    assert without_tag(name) == short

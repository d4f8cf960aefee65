"""Health checks: which command, when, and what its results make of a container."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers import health
from compatd.engine.containers.times import go_duration
from compatd.engine.errors import EngineError
from runtime.client import Running

from .fakes import World
from .scenario import play

MS = 1_000_000
CHECK = {"Test": ["CMD", "probe"], "Interval": MS, "Retries": 2}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, None),
        ({"Healthcheck": None}, None),
        ({"Healthcheck": {"Test": []}}, None),
        ({"Healthcheck": {"Test": ["NONE"]}}, None),
        ({"Healthcheck": {"Test": ["ODD", "x"]}}, None),
        ({"Healthcheck": {"Test": ["CMD", "a", "b c"]}}, ["a", "b c"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a | b"]}}, ["/bin/sh", "-c", "a | b"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a"]}, "Shell": ["ash", "-ec"]}, ["ash", "-ec", "a"]),
    ],
)
def test_command(config: dict[str, Any], words: list[str] | None) -> None:
    assert health.command(config) == words


def test_intervals() -> None:
    check = {"Interval": 7, "StartPeriod": 100, "StartInterval": 3}
    assert health.interval(check, "starting", 99) == 3
    assert health.interval(check, "starting", 100) == 7
    assert health.interval(check, "healthy", 50) == 7
    assert health.interval({}, "starting", 0) == 30 * health.SECOND
    assert health.interval({"StartPeriod": 10}, "starting", 0) == 5 * health.SECOND


def _apply(codes: list[int], check: dict[str, Any], ran_for: int = 0) -> dict[str, Any]:
    state: dict[str, Any] = {"Status": "starting", "FailingStreak": 0, "Log": []}
    for code in codes:
        health.apply(state, check, {"ExitCode": code}, ran_for=ran_for)
    return state


def test_results() -> None:
    assert _apply([0], {})["Status"] == "healthy"
    state = _apply([1, 1], {})
    assert (state["Status"], state["FailingStreak"]) == ("starting", 2)
    assert _apply([1, 1, -1], {})["Status"] == "unhealthy"
    assert _apply([1], {"Retries": 1})["Status"] == "unhealthy"
    state = _apply([1, 1, 1, 0], {})
    assert (state["Status"], state["FailingStreak"]) == ("healthy", 0)
    assert [r["ExitCode"] for r in _apply([0, 1, 2, 3, 4, 5, 6], {})["Log"]] == [2, 3, 4, 5, 6]


def test_start_period() -> None:
    check = {"StartPeriod": 100, "Retries": 1}
    state = _apply([1, 1], check, ran_for=99)
    assert (state["Status"], state["FailingStreak"], len(state["Log"])) == ("starting", 0, 2)
    assert _apply([1], check, ran_for=100)["Status"] == "unhealthy"
    # Once healthy, failures count even within it.
    assert _apply([0, 1], check, ran_for=50)["Status"] == "unhealthy"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (300 * MS, "300ms"),
        (1000 * MS, "1s"),
        (1500 * MS, "1.5s"),
        (90_000 * MS, "1m30s"),
        (3_600_000 * MS, "1h0m0s"),
        (-1000 * MS, "-1s"),
    ],
)
def test_go_duration(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text


class Probe:
    """Gives the exit codes in turn, the last one for ever; `asked` says how often."""

    def __init__(self, world: World, *codes: int) -> None:
        self.codes = list(codes)
        self.asked = 0
        self.calls = asyncio.Event()
        world.containers.health.probe = self

    async def __call__(self, container: Any, words: list[str], timeout: int) -> tuple[int, str]:
        self.asked += 1
        if self.asked >= len(self.codes):
            self.calls.set()
        return self.codes[min(self.asked, len(self.codes)) - 1], "out"


async def _until(world: World, event: str) -> None:
    while event not in world.seen:
        await asyncio.sleep(0)


def test_events_come_on_changes_only(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        probe = Probe(world, 0, 0, 1, 1, 1, 1, 0, 0)
        container_id = await world.create(Healthcheck=CHECK)
        await world.containers.start(container_id)
        container = world.containers.find(container_id)
        assert container.state.health == {"Status": "starting", "FailingStreak": 0, "Log": []}
        assert container.state.describe().endswith("(health: starting)")
        await probe.calls.wait()
        await world.settle()
        assert [e for e in world.seen if "health" in e] == [
            "container health_status: healthy",
            "container health_status: unhealthy",
            "container health_status: healthy",
        ]
        assert container.state.describe().endswith("(healthy)")
        shown = (await world.containers.inspect(container_id))["State"]["Health"]
        assert shown["Status"] == "healthy" and len(shown["Log"]) == 5
        assert shown["Log"][-1]["Output"] == "out"

    play(tmp_path, scenario)


def test_what_cannot_be_run_is_a_failure(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async def refuse(container: Any, words: list[str], timeout: int) -> tuple[int, str]:
            raise EngineError("no such program")

        world.containers.health.probe = refuse
        container_id = await world.create(Healthcheck=CHECK)
        await world.containers.start(container_id)
        await _until(world, "container health_status: unhealthy")
        health_state = world.containers.find(container_id).state.health
        assert health_state is not None
        assert (health_state["Log"][0]["ExitCode"], health_state["Log"][0]["Output"]) == (
            -1,
            "no such program",
        )

    play(tmp_path, scenario)


def test_no_probes_while_paused_or_ended(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        probe = Probe(world, 0)
        container_id = await world.create(Healthcheck=CHECK)
        await world.containers.start(container_id)
        await _until(world, "container health_status: healthy")
        container = world.containers.find(container_id)
        await world.containers.pause(container_id)
        await world.settle()
        assert container.state.health and container.state.health["Status"] == "unhealthy"
        asked = probe.asked
        await asyncio.sleep(0.01)
        assert probe.asked == asked
        world.seen.clear()
        await world.containers.unpause(container_id)
        await _until(world, "container health_status: healthy")
        world.runtime.end(container_id)
        while container.state.running:
            await asyncio.sleep(0)
        assert container.state.health["Status"] == "unhealthy"
        asked = probe.asked
        await asyncio.sleep(0.01)
        assert probe.asked == asked

    play(tmp_path, scenario)


def test_a_probe_that_takes_its_cancellation_for_an_answer(tmp_path: Path) -> None:
    """As one does that ends at the same moment as its container; the monitor ends all the same."""

    async def scenario(world: World) -> None:
        asked = 0

        async def deaf(container: Any, words: list[str], timeout: int) -> tuple[int, str]:
            nonlocal asked
            asked += 1
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                if asked > 1:
                    raise
            return 0, ""

        world.containers.health.probe = deaf
        container_id = await world.create(Healthcheck=CHECK)
        await world.containers.start(container_id)
        while not asked:
            await asyncio.sleep(0.001)
        await world.containers.kill(container_id)
        container = world.containers.find(container_id)
        while container.state.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        assert asked == 1
        assert container.state.health and container.state.health["Status"] == "unhealthy"

    play(tmp_path, scenario)


def test_none_means_no_health(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        Probe(world, 0)
        container_id = await world.create(Healthcheck={"Test": ["NONE"]})
        await world.containers.start(container_id)
        assert "Health" not in (await world.containers.inspect(container_id))["State"]

    play(tmp_path, scenario)


def test_goes_on_after_the_daemon(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        Probe(world, 0)
        container_id = await world.create(Healthcheck=CHECK)
        await world.containers.start(container_id)
        await _until(world, "container health_status: healthy")
        second = World(tmp_path, world.store)
        try:
            probe = Probe(second, 0)
            second.runtime.adopted[container_id] = Running(4242)
            await second.containers.open()
            await probe.calls.wait()
            await second.settle()
            assert second.seen == ["container health_status: healthy"]
        finally:
            await second.close()

    play(tmp_path, scenario)

"""Health checks: when a container's probe runs, and what its results make of it (API: HealthConfig).

The rules are dockerd's: the first probe comes one interval after the start; failures within the start period
do not count until a probe has succeeded; a container that is not probed (paused, ended) shows `unhealthy`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from compatd.engine import metrics
from compatd.engine.containers.model import Container
from compatd.engine.containers.times import now
from compatd.engine.errors import EngineError
from compatd.engine.timestamps import rfc3339_local

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
logger = logging.getLogger(__name__)

Probe = Callable[[Container, list[str], int], Awaitable[tuple[int, str]]]
"""Runs a command in a container, for so many nanoseconds at most: exit code (-1: not ended) and output."""

SECOND = 1_000_000_000
DEFAULT_INTERVAL = DEFAULT_TIMEOUT = 30 * SECOND
DEFAULT_START_INTERVAL = 5 * SECOND
DEFAULT_RETRIES = 3
KEPT_RESULTS = 5
_SHELL = ["/bin/sh", "-c"]


def command(config: Json) -> list[str] | None:
    """What a probe runs, from a container's Config; None without a health check (`NONE`, or none given)."""
    test = (config.get("Healthcheck") or {}).get("Test") or []
    if not test or test[0] not in ("CMD", "CMD-SHELL"):
        return None
    words = list(test[1:])
    return [*(config.get("Shell") or _SHELL), *words] if test[0] == "CMD-SHELL" else words


def interval(check: Json, status: str, running_for: int) -> int:
    """Nanoseconds to the next probe; a container that starts has, within its period, one of its own."""
    if status == "starting" and running_for < (check.get("StartPeriod") or 0):
        return int(check.get("StartInterval") or DEFAULT_START_INTERVAL)
    return int(check.get("Interval") or DEFAULT_INTERVAL)


def apply(health: Json, check: Json, result: Json, *, ran_for: int) -> None:
    """Note a probe's result (API: HealthcheckResult) in `health` (API: Health), in place.

    `ran_for`: how long the container ran when the probe began, in nanoseconds.
    """
    health["Log"] = [*health["Log"][-(KEPT_RESULTS - 1) :], result]
    if result["ExitCode"] == 0:
        health["FailingStreak"], health["Status"] = 0, "healthy"
        return
    if health["Status"] == "starting" and ran_for < (check.get("StartPeriod") or 0):
        return
    health["FailingStreak"] += 1
    if health["FailingStreak"] >= ((check.get("Retries") or 0) or DEFAULT_RETRIES):
        health["Status"] = "unhealthy"


class Health:
    """The monitors of all containers. The callers hold the container's lock, or are on the way up or down."""

    def __init__(self, containers: "Containers") -> None:
        self._containers = containers
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self.probe: Probe | None = None

    def begin(self, container: Container) -> None:
        """A container has been started, or found running: its state is `starting`; past results are kept."""
        if command(container.config) is None:
            return
        self.stop(container)
        if container.state.health is None:
            container.state.health = {"Log": []}
        container.state.health = {**container.state.health, "Status": "starting", "FailingStreak": 0}
        self.update(container)

    def update(self, container: Container) -> None:
        """Monitor a container while it runs and is not paused."""
        state = container.state
        if state.health is None or self.probe is None or command(container.config) is None:
            return
        if not state.running or state.paused:
            self.stop(container)
        elif container.id not in self._tasks:
            self._tasks[container.id] = self._containers.background(self._monitor(container))

    def stop(self, container: Container) -> None:
        """No more probes; one that runs is killed."""
        task = self._tasks.pop(container.id, None)
        if task is None:
            return
        task.cancel()
        if container.state.health is not None:
            container.state.health["Status"] = "unhealthy"
            container.version += 1

    async def _monitor(self, container: Container) -> None:
        state, check = container.state, container.config["Healthcheck"]
        this = asyncio.current_task()
        # A cancellation may get lost in what a probe waits for, when both come at once (asyncio.wait_for).
        while state.health is not None and self._tasks.get(container.id) is this:
            ran_for = now() - state.started_at
            await asyncio.sleep(interval(check, state.health["Status"], ran_for) / SECOND)
            began = now()
            result = await self._result(container, check, began)
            if self._tasks.get(container.id) is this:
                self._noted(container, check, result, began - state.started_at)

    async def _result(self, container: Container, check: Json, began: int) -> Json:
        words = command(container.config)
        metrics.health_checks.add()
        try:
            if not words:
                raise EngineError(f"healthcheck for container {container.id} has no command")
            assert self.probe is not None
            code, output = await self.probe(container, words, int(check.get("Timeout") or DEFAULT_TIMEOUT))
        except (EngineError, OSError) as error:
            metrics.health_checks_failed.add()
            logger.warning("health check for container %s: %s", container.id, error)
            code, output = -1, error.message if isinstance(error, EngineError) else str(error)
        return {
            "Start": rfc3339_local(began),
            "End": rfc3339_local(now()),
            "ExitCode": code,
            "Output": output,
        }

    def _noted(self, container: Container, check: Json, result: Json, ran_for: int) -> None:
        health = container.state.health
        if health is None:
            return
        before = health["Status"]
        apply(health, check, result, ran_for=ran_for)
        container.version += 1
        if health["Status"] != before:
            self._containers.emit(container, f"health_status: {health['Status']}")

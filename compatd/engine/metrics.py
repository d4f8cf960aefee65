"""What the engine counts and times while it works, by dockerd's names; written as text by `compatd.status`.

One number is added where something has been done: nothing is kept for anybody who does not ask.
"""

import functools
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper limits of a histogram's buckets: the usual ones of Prometheus' clients."""


class Counter:
    """Only grows."""

    def __init__(self) -> None:
        self.value = 0

    def add(self) -> None:
        """One more."""
        self.value += 1


class Histogram:
    """How often which duration was seen, for each label: counts by BOUNDS, beyond them, and the sum."""

    def __init__(self) -> None:
        self.series: dict[str, list[float]] = {}

    def declare(self, label: str) -> list[float]:
        """The label's series, which is shown from now on."""
        return self.series.setdefault(label, [0.0] * (len(BOUNDS) + 2))

    def observe(self, label: str, seconds: float) -> None:
        """Something took so long."""
        series = self.declare(label)
        series[bisect_left(BOUNDS, seconds)] += 1
        series[-1] += seconds

    def since(self, label: str, began: float) -> None:
        """Something that began at `began` (time.perf_counter) is done."""
        self.observe(label, time.perf_counter() - began)


class Counters:
    """One that only grows for each label."""

    def __init__(self, *labels: str) -> None:
        self.values = dict.fromkeys(labels, 0)

    def add(self, label: str) -> None:
        """One more of it."""
        self.values[label] += 1


container_actions = Histogram()
for _action in ("changes", "commit", "create", "delete", "start"):
    container_actions.observe(_action, 0)  # dockerd begins with one of each that took no time
network_actions = Histogram()
health_starts = Histogram()
health_starts.declare("")
host_info = Histogram()
health_checks = Counter()
health_checks_failed = Counter()
events = Counter()
builds_triggered = Counter()
builds_failed = Counters(
    "build_canceled",
    "build_target_not_reachable_error",
    "command_not_supported_error",
    "dockerfile_empty_error",
    "dockerfile_syntax_error",
    "error_processing_commands_error",
    "missing_onbuild_arguments_error",
    "unknown_instruction_error",
)


def timed(
    histogram: Histogram, label: str
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Time an asynchronous function whenever it does not fail, as dockerd does."""

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            began = time.perf_counter()
            result = await function(*args, **kwargs)
            histogram.since(label, began)
            return result

        return measured

    return decorate

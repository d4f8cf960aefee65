"""Waiting with deadlines: nothing in this suite sleeps for a fixed time and hopes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 30.0


def until(probe: Callable[[], T], what: str = "", seconds: float = DEADLINE) -> T:
    """Call `probe` until it returns something true, and return that.

    An AssertionError or OSError of the probe counts as "not yet". Raises AssertionError with the last of
    these when `seconds` are over.
    """
    end = time.monotonic() + seconds
    pause = 0.01
    while True:
        last: BaseException | None = None
        value: T | None = None
        try:
            value = probe()
        except (AssertionError, OSError) as error:
            last = error
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:.0f} s: {what or probe!r} (last: {last or value!r})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)

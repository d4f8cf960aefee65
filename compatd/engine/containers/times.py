"""Moments as a container's answers write them, and durations as `ps` shows them."""

import time

from compatd.engine import timestamps

_SECOND = 1_000_000_000


def now() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()


def rfc3339(moment: int) -> str:
    """A moment in nanoseconds since 1970 as the API writes it; 0 stands for never: Go's zero time."""
    return timestamps.rfc3339(moment) if moment else timestamps.ZERO


def human_duration(nanoseconds: int) -> str:
    """A duration in words, as `docker ps` shows it (the thresholds of Docker's go-units)."""
    seconds = nanoseconds // _SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"

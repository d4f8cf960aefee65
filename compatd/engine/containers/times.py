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


def go_duration(nanoseconds: int) -> str:
    """A duration as Go's time.Duration prints it: `1m30s`, `1.5s`, `300ms`."""
    if nanoseconds < 0:
        return "-" + go_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return text + _decimal(rest, _SECOND) + "s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = f"{rest:0{len(str(size)) - 1}}".rstrip("0") if size > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)


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

"""Times as the API writes and reads them.

Answers have RFC 3339 with nanoseconds, trailing zeros cut, as Go prints it; `since` and `until` take seconds
since 1970 with an optional fraction.
"""

import re
import time
from datetime import UTC, datetime

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time: what a container that was never started shows."""

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def rfc3339(nanoseconds: int) -> str:
    """ns since 1970 → `2026-11-27T17:29:47.1234Z`."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    digits = f"{fraction:09}".rstrip("0")
    return f"{stamp}.{digits}Z" if digits else f"{stamp}Z"


def rfc3339_local(nanoseconds: int) -> str:
    """The same with the machine's own time zone, as Go prints moments that it took itself."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    digits = f"{fraction:09}".rstrip("0")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local) + (f".{digits}" if digits else "")
    minutes = local.tm_gmtoff // 60
    if not minutes:
        return stamp + "Z"
    hours, minutes = divmod(abs(minutes), 60)
    return f"{stamp}{'-' if local.tm_gmtoff < 0 else '+'}{hours:02}:{minutes:02}"


def from_rfc3339(text: str) -> int:
    """`2026-11-27T17:29:47.1234+01:00` → ns since 1970. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(f"not an RFC 3339 time: {text}")
    day, clock, fraction, zone = match.groups()
    whole = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone == 'Z' else zone}").astimezone(UTC)
    seconds = round(whole.timestamp())
    return seconds * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))


def parse_timestamp(text: str) -> int:
    """`1795454383.724760697` or `1795454383` → ns since 1970. Raises ValueError with Docker's text."""
    seconds, dot, fraction = text.partition(".")
    if not re.fullmatch(r"[+-]?\d+", seconds):
        raise ValueError(f'invalid timestamp "{text}": invalid seconds "{seconds}": invalid syntax')
    if dot and not re.fullmatch(r"\d+", fraction):
        raise ValueError(f'invalid timestamp "{text}": invalid nanoseconds "{fraction}": invalid syntax')
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") if dot else 0)

"""Waiting before something is tried again."""

import asyncio
import email.utils
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

Report = Callable[..., Awaitable[None]]

SECOND = 1.0
"""How long a second of these pauses is; tests are in a hurry."""

LONGEST = 60
"""A registry that wants to be left alone for longer (seconds) is not asked again."""


def wanted(header: str) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3): a number, or until a date. None: neither."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


async def pause(attempt: int, wanted: float | None = None) -> None:
    """A short one, for small requests: 0.5 s, 1 s, …, or what the registry wants."""
    await asyncio.sleep(SECOND * (attempt / 2 if wanted is None else wanted))


async def countdown(attempt: int, report: Report, wanted: float | None = None) -> None:
    """Docker's: five seconds more each time, or what the registry wants, told second by second."""
    for left in range(5 * attempt if wanted is None else max(math.ceil(wanted), 1), 0, -1):
        await report(f"Retrying in {left} second{'s' if left != 1 else ''}")
        await asyncio.sleep(SECOND)

"""Waiting before something is tried again."""

import asyncio
from collections.abc import Awaitable, Callable

Report = Callable[..., Awaitable[None]]

SECOND = 1.0
"""How long a second of these pauses is; tests are in a hurry."""


async def pause(attempt: int) -> None:
    """A short one, for small requests: 0.5 s, 1 s, …"""
    await asyncio.sleep(SECOND * attempt / 2)


async def countdown(attempt: int, report: Report) -> None:
    """Docker's: five seconds more each time, told second by second."""
    for left in range(5 * attempt, 0, -1):
        await report(f"Retrying in {left} second{'s' if left != 1 else ''}")
        await asyncio.sleep(SECOND)

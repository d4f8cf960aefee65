"""Plays a scenario in a world of fakes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .fakes import FakeStore, World

Scenario = Callable[[World], Awaitable[None]]


def play(root: Path, scenario: Scenario, store: FakeStore | None = None, **config: Any) -> World:
    """Run a scenario in a world of its own and clean up after it."""
    made: list[World] = []

    async def run() -> None:
        world = World(root, store, **config)
        made.append(world)
        try:
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(asyncio.wait_for(run(), 20))
    return made[0]

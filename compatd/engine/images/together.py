"""Several transfers at once, of which one that fails ends all."""

import asyncio
from collections.abc import Collection
from typing import Any


async def together(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Wait for all of them. When one raises, or the caller is cancelled, the others are cancelled and have
    ended before the error goes on.
    """
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

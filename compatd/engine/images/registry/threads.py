"""Work in threads whose descriptors may not be closed under it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def to_the_end(function: Callable[..., Result], *arguments: object) -> Result:
    """As asyncio.to_thread; when cancelled, it still returns only after the thread is done."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise

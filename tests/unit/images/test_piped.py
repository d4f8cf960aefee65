"""A body on its way to a worker."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from compatd.engine.images.layers import piped


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1 << 20)


def test_a_worker_that_gives_up_does_not_wait_for_the_rest() -> None:
    async def work(source: int) -> str:
        assert await asyncio.to_thread(os.read, source, 10)
        return "gave up"

    async def main() -> str:
        return await asyncio.wait_for(piped(endless(), work), 30)

    assert asyncio.run(main()) == "gave up"


def test_a_client_that_goes_away_ends_the_work() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionError("gone")

    async def work(source: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ConnectionError):
        asyncio.run(piped(broken(), work))


def test_all_that_was_sent_arrives() -> None:
    async def body() -> AsyncIterator[bytes]:
        for number in range(100):
            yield bytes([number]) * 50_000

    async def work(source: int) -> int:
        def read() -> int:
            total = 0
            while data := os.read(source, 1 << 16):
                total += len(data)
            return total

        return await asyncio.to_thread(read)

    assert asyncio.run(piped(body(), work)) == 5_000_000

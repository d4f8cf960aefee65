"""Who gets which folder of a cache mount."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.cache import Cache
from compatd.engine.builder.running.caches import CacheMounts
from compatd.engine.images.index import Index
from compatd.store import Store
from runtime.storage.overlay import Overlay

Scenario = Callable[[CacheMounts, Cache], Coroutine[Any, Any, None]]


async def nothing(folder: Path) -> None:
    pass


def play(folder: Path, scenario: Scenario) -> None:
    storage = Overlay(folder)
    storage.open()
    store = Store(folder)
    try:
        cache = Cache(store, Index(store, storage), storage)
        cache.open()
        asyncio.run(scenario(CacheMounts(), cache))
    finally:
        store.close()
        storage.settle()


def test_it_is_found_again(tmp_path: Path) -> None:
    filled: list[str] = []

    async def scenario(mounts: CacheMounts, cache: Cache) -> None:
        async def fill(folder: Path) -> None:
            filled.append(folder.name)
            (folder / "seed").touch()

        first = await mounts.acquire(cache, "k", "", "text", fill)
        await mounts.release(cache, first)
        again = await mounts.acquire(cache, "k", "private", "text", fill)
        other = await mounts.acquire(cache, "other", "shared", "text", fill)
        assert again is first
        assert other is not first
        assert filled == [first.id, other.id]
        assert (first.users, first.uses, first.type) == (1, 2, "exec.cachemount")

    play(tmp_path, scenario)


def test_sharing(tmp_path: Path) -> None:
    async def scenario(mounts: CacheMounts, cache: Cache) -> None:
        one = await mounts.acquire(cache, "k", "shared", "", nothing)
        two = await mounts.acquire(cache, "k", "", "", nothing)
        alone = await mounts.acquire(cache, "k", "private", "", nothing)
        assert one is two
        assert alone is not one
        assert one.users == 2
        third = await mounts.acquire(cache, "k", "private", "", nothing)
        assert third not in (one, alone)
        await mounts.release(cache, alone)
        assert await mounts.acquire(cache, "k", "private", "", nothing) is alone
        await mounts.release(cache, one)
        assert await mounts.acquire(cache, "k", "shared", "", nothing) is two

    play(tmp_path, scenario)


def test_a_locked_one_is_waited_for(tmp_path: Path) -> None:
    async def scenario(mounts: CacheMounts, cache: Cache) -> None:
        one = await mounts.acquire(cache, "k", "locked", "", nothing)
        waiting = [asyncio.create_task(mounts.acquire(cache, "k", "locked", "", nothing)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        await mounts.release(cache, one)
        done, pending = await asyncio.wait(waiting[1:], return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert [task.result() for task in done] == [one]
        assert len(pending) == 1
        await mounts.release(cache, one)
        assert await pending.pop() is one

    play(tmp_path, scenario)


def test_what_was_half_filled_is_filled_again(tmp_path: Path) -> None:
    async def scenario(mounts: CacheMounts, cache: Cache) -> None:
        async def failing(folder: Path) -> None:
            raise OSError("no room")

        with pytest.raises(OSError, match="no room"):
            await mounts.acquire(cache, "k", "", "", failing)

        async def fill(folder: Path) -> None:
            (folder / "seed").touch()

        found = await mounts.acquire(cache, "k", "", "", fill)
        assert (cache.folder(found) / "seed").exists()
        assert found.users == 1

    play(tmp_path, scenario)


def test_names_are_no_paths(tmp_path: Path) -> None:
    """CVE-2024-9675."""

    async def scenario(mounts: CacheMounts, cache: Cache) -> None:
        for key in ("../../../etc", "/etc", ".", "a\0b"):
            found = await mounts.acquire(cache, key, "", "", nothing)
            assert cache.folder(found).parent == tmp_path / "build"
            assert found.id.isalnum()

    play(tmp_path, scenario)

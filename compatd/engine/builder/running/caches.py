"""Cache mounts: folders of the build cache (records `exec.cachemount`) that RUNs of many builds use.

Source: moby/buildkit solver/llbsolver/mounts (who has which). A folder's name is the record's random ID, so
nothing of a Dockerfile is in a path (CVE-2024-9675).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from compatd.engine.builder.cache import Cache
from compatd.engine.builder.records import MOUNT, Record

_MOST = 256  # folders of one key: as many builds at once
Fill = Callable[[Path], Awaitable[None]]


class CacheMounts:
    """Who has which folder mounted. To be used on the event loop.

    A key has several folders where it is used by several builds that do not share: `KEY 0`, `KEY 1` …
    """

    def __init__(self) -> None:
        self._shared: set[str] = set()  # records that several may have at once
        self._filling: dict[str, asyncio.Lock] = {}
        self._released = asyncio.Event()

    async def acquire(self, cache: Cache, key: str, sharing: str, description: str, fill: Fill) -> Record:
        """A folder for a RUN, until `release`: one that there is, or a new one, which `fill` fills.

        "" or `shared`: all RUNs of this kind have the same one; `private`: nobody else has it; `locked`: the
        same, after waiting for who has it. Raises OSError, and what `fill` raises.
        """
        shared = sharing in ("", "shared")
        while (name := self._choose(cache, key, shared=shared, wait=sharing == "locked")) is None:
            self._released.clear()
            await self._released.wait()
        record, _ = cache.open_folder(MOUNT, name, description)
        if shared:
            self._shared.add(record.id)
        try:
            async with self._filling.setdefault(record.id, asyncio.Lock()):
                folder = cache.folder(record)
                if not await asyncio.to_thread(_has_content, folder):  # new, or a daemon died at it
                    await fill(folder)
        except BaseException:
            await self.release(cache, record)
            raise
        return record

    def _choose(self, cache: Cache, key: str, *, shared: bool, wait: bool) -> str | None:
        """The folder to take; None: wait for one."""
        free = new = ""
        for name in _names(key):
            record = cache.find(name)
            if record is None:
                new = new or name
            elif not record.users:
                free = free or name
            elif shared and record.id in self._shared:
                return name
            elif wait:
                return None
        return free or new or None

    async def release(self, cache: Cache, record: Record) -> None:
        """The RUN is over."""
        counting = asyncio.ensure_future(cache.close_folder(record))
        await asyncio.sleep(0)  # it has let go
        if not record.users:
            self._shared.discard(record.id)
            self._filling.pop(record.id, None)
        self._released.set()
        await counting


def _names(key: str) -> Iterator[str]:
    return (f"{key} {number}" for number in range(_MOST))


def _has_content(folder: Path) -> bool:
    return any(True for _ in folder.iterdir())

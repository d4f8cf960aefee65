"""Downloads that several pulls share: a layer comes once, however many wait for it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.backoff import Report
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.download import Download

Update = tuple[str, int, int]


class _Mailbox:
    """Progress for one who waits: a slow reader gets the newest of each status, and holds up nobody."""

    def __init__(self) -> None:
        self._updates: list[Update] = []
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, update: Update) -> None:
        if self._updates and self._updates[-1][0] == update[0]:
            self._updates[-1] = update
        else:
            self._updates.append(update)
        self._filled.set()

    def close(self) -> None:
        self._closed = True
        self._filled.set()

    async def deliver(self, report: Report) -> None:
        """Report all updates until the end."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            updates, self._updates = self._updates, []
            for update in updates:
                await report(*update)
            if self._closed and not self._updates:
                return


class _Transfer:
    """A download under way, or done and its file still in use. The last user takes the file away."""

    def __init__(self, path: Path, origin: str) -> None:
        self.path = path
        self.origin = origin
        self.users = 0
        self.task: asyncio.Task[None] | None = None
        self._last: Update | None = None
        self._mailboxes: list[_Mailbox] = []

    async def report(self, status: str, current: int = 0, total: int = 0) -> None:
        self._last = (status, current, total)
        for mailbox in self._mailboxes:
            mailbox.put(self._last)

    def _done(self, _: object) -> None:
        for mailbox in self._mailboxes:
            mailbox.close()

    async def follow(self, report: Report) -> None:
        """Report its progress until it ends; raises what it raised."""
        assert self.task
        mailbox = _Mailbox()
        if self._last:
            mailbox.put(self._last)
        self._mailboxes.append(mailbox)
        self.task.add_done_callback(self._done)
        try:
            await mailbox.deliver(report)
            self.task.result()
        finally:
            self._mailboxes.remove(mailbox)

    async def end(self) -> None:
        """Stop it if it runs, and remove the file."""
        assert self.task
        self.task.cancel()
        try:
            await asyncio.wait((self.task,))
        finally:
            with suppress(FileNotFoundError):
                self.path.unlink()


class Downloads:
    """All downloads of the engine: at most `limit` at a time."""

    def __init__(self, limit: int) -> None:
        self._transfers: dict[str, _Transfer] = {}
        self.limit(limit)

    def limit(self, limit: int) -> None:
        """How many at a time from now on; what is under way goes on, and is not counted."""
        self._slots = asyncio.Semaphore(limit)

    @asynccontextmanager
    async def blob(
        self,
        repository: Repository,
        digest: str,
        size: int,
        folder: Path,
        report: Report,
        attempts: int,
    ) -> AsyncIterator[Path]:
        """A file in `folder` with the blob, checked, for the length of the block. Raises EngineError.

        Whoever joins a download of another repository that fails tries by itself.
        """
        key = f"{digest} {size}"
        while True:
            transfer = self._transfers.get(key)
            joined = transfer is not None
            if transfer is None:
                transfer = _Transfer(folder / f"blob-{secrets.token_hex(8)}", repository.base)
                self._transfers[key] = transfer
                work = self._run(repository, digest, size, transfer, attempts)
                transfer.task = asyncio.ensure_future(work)
            transfer.users += 1
            try:
                try:
                    await transfer.follow(report)
                except EngineError:
                    if joined and transfer.origin != repository.base:
                        continue
                    raise
                yield transfer.path
                return
            finally:
                transfer.users -= 1
                if self._transfers.get(key) is transfer and (not transfer.users or _failed(transfer)):
                    del self._transfers[key]
                if not transfer.users:
                    await transfer.end()

    async def _run(
        self, repository: Repository, digest: str, size: int, transfer: _Transfer, attempts: int
    ) -> None:
        if self._slots.locked():
            await transfer.report("Waiting")
        # Connections of its own: whoever began it may go while others wait
        async with self._slots, repository.sibling() as own:
            await Download(own, digest, size, transfer.path, transfer.report).run(attempts)


def _failed(transfer: _Transfer) -> bool:
    task = transfer.task
    return bool(task and task.done() and (task.cancelled() or task.exception()))

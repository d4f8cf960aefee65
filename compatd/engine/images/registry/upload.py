"""A layer's blob from here into a registry: gone on with where it broke off, if the registry can.

Source: OCI distribution spec, "Pushing blobs", "in chunks" and "after an interruption".
"""

import re
import time
from collections.abc import AsyncIterator

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.backoff import Report, countdown
from compatd.engine.images.registry.client import Repository, with_digest
from compatd.engine.images.registry.errors import (
    RegistryError,
    Unavailable,
    UnexpectedResponse,
    is_final,
    pause_of,
)
from compatd.engine.images.registry.sources import Source

ATTEMPTS = 5
_INTERVAL = 0.1
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class Upload:
    """One blob on its way. `where` is the URL of an upload begun already, or ""."""

    def __init__(self, repository: Repository, source: Source, report: Report, where: str = "") -> None:
        self._repository = repository
        self._source = source
        self._report = report
        self._where = where
        self._offset = 0
        self._shown = 0.0

    async def run(self, attempts: int = ATTEMPTS) -> None:
        """Send it all. Raises EngineError after that many attempts, or at once where none can help."""
        attempt = 1
        while True:
            try:
                await self._once()
                return
            except EngineError as error:
                if self._source.error:
                    raise self._source.error from None
                answered = isinstance(error, RegistryError | UnexpectedResponse | Unavailable)
                if attempt >= attempts or (answered and is_final(error)):
                    raise
                wait = pause_of(error)
            await countdown(attempt, self._report, wait)
            await self._find_place()
            attempt += 1

    async def _once(self) -> None:
        if not self._where:
            self._where, self._offset = await self._repository.start_upload(), 0
        if not self._source.whole or self._offset < self._source.size or not self._offset:
            await self._send()
        await self._source.wait()
        url = with_digest(self._where, self._source.digest)
        headers = {"Content-Length": "0", "Content-Type": "application/octet-stream"}
        async with self._repository.http.request("PUT", url, headers=headers):
            return

    async def _send(self) -> None:
        start = self._offset
        headers = {"Content-Type": "application/octet-stream"}
        if start:
            await self._source.wait()
            headers["Content-Range"] = f"{start}-{self._source.size - 1}"
        if self._source.whole:
            headers["Content-Length"] = str(self._source.size - start)
        http = self._repository.http
        async with http.request(
            "PATCH", self._where, headers=headers, body=lambda: self._bytes(start)
        ) as response:
            self._where = self._repository.location(response)
        self._offset = self._source.size

    async def _bytes(self, start: int) -> AsyncIterator[bytes]:
        sent = start
        async for data in self._source.read(start):
            yield data
            sent += len(data)
            now = time.monotonic()
            if now - self._shown >= _INTERVAL:
                self._shown = now
                await self._show(sent)
        await self._show(sent)

    async def _show(self, sent: int) -> None:
        await self._report("Pushing", self._source.shown(sent), self._source.total)

    async def _find_place(self) -> None:
        """Ask how much has come; a registry that does not say, or nothing, gets it all anew."""
        self._offset = 0
        where, self._where = self._where, ""
        if not where:
            return
        try:
            async with self._repository.http.request("GET", where) as response:
                found = _RANGE.fullmatch(response.headers.get("Range", ""))
                # "0-0" is what an empty upload says too
                if response.status in (204, 200) and found and int(found[1]):
                    self._offset = int(found[1]) + 1
                    self._where = where
                    if response.headers.get("Location"):
                        self._where = self._repository.location(response)
        except EngineError:
            return
        if self._source.whole and self._offset > self._source.size:
            self._where, self._offset = "", 0

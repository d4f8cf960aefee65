"""A layer's blob from the registry into a file: hashed on the way, tried again where it breaks off."""

import errno
import hashlib
import os
import time
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.backoff import Report, countdown
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.errors import (
    RegistryError,
    Unavailable,
    UnexpectedResponse,
    is_final,
    pause_of,
)
from compatd.engine.images.registry.threads import to_the_end

_PIECE = 1 << 20
_INTERVAL = 0.1


class Download:
    """One blob on its way to `path`. `report(status, current, total)` draws the progress."""

    def __init__(self, repository: Repository, digest: str, size: int, path: Path, report: Report) -> None:
        self._repository = repository
        self._digest = digest
        self._expected = size
        self._path = path
        self._report = report
        self._have = 0
        self._hash: Any = None

    async def run(self, attempts: int) -> None:
        """Fetch and check it. Raises EngineError after that many attempts, or at once where none can help."""
        attempt = 1
        while True:
            try:
                await self._once()
                return
            except (RegistryError, UnexpectedResponse, Unavailable, Corrupt) as error:
                if is_final(error) or attempt >= attempts:
                    raise
                wait = pause_of(error)
            except (EngineError, OSError) as error:
                if attempt >= attempts or getattr(error, "errno", 0) == errno.ENOSPC:
                    raise error if isinstance(error, EngineError) else EngineError(str(error)) from error
                wait = None
            await countdown(attempt, self._report, wait)
            attempt += 1

    async def _once(self) -> None:
        if not self._have or self._have < self._expected:
            await self._fetch()
        if self._have < self._expected:
            raise EngineError(f"unexpected EOF: {self._have} of {self._expected} bytes of {self._digest}")
        await self._report("Verifying Checksum")
        if f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}" != self._digest:
            self._have = 0
            raise Corrupt(f"filesystem layer verification failed for digest {self._digest}")
        await self._report("Download complete")

    async def _fetch(self) -> None:
        async with self._repository.blob(self._digest, self._have) as response:
            if not self._have or response.status != 206:
                self._have = 0
                self._hash = hashlib.new(self._digest.partition(":")[0])
            elif not _continues(response, self._have):
                self._have = 0
                raise EngineError("the registry goes on with another part of the layer than asked for")
            length = response.content_length
            if length is not None and self._have + length != self._expected:
                raise Corrupt(
                    f"the registry sends {self._have + length} bytes for {self._digest}, "
                    f"and its manifest says {self._expected}"
                )
            total = self._expected
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if self._have else os.O_TRUNC)
            fd = os.open(self._path, flags, 0o600)
            try:
                os.lseek(fd, self._have, os.SEEK_SET)
                await self._copy(response, fd, total)
            finally:
                os.close(fd)

    async def _copy(self, response: Any, fd: int, total: int) -> None:
        shown = 0.0
        pending = bytearray()
        try:
            async for chunk in response.content.iter_any():
                pending += chunk
                if len(pending) < _PIECE:
                    continue
                taken, pending = pending, bytearray()
                await self._put(fd, taken)
                if time.monotonic() - shown >= _INTERVAL:
                    shown = time.monotonic()
                    await self._report("Downloading", self._have, total)
        finally:
            if pending:
                await self._put(fd, pending)  # what came before a connection breaks is kept
        await self._report("Downloading", self._have, total)

    async def _put(self, fd: int, data: bytearray) -> None:
        if self._have + len(data) > self._expected:
            raise Corrupt(f"filesystem layer verification failed for digest {self._digest}")
        # Both let go of the interpreter's lock; a thread keeps them off the event loop
        await to_the_end(self._write, fd, data)
        self._have += len(data)

    def _write(self, fd: int, data: bytearray) -> None:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def _continues(response: Any, offset: int) -> bool:
    """Whether a 206 has the bytes from `offset` on; some servers leave Content-Range out."""
    given = response.headers.get("Content-Range", "")
    return not given or given.strip().startswith(f"bytes {offset}-")


class Corrupt(EngineError):
    """The registry sends other bytes than the digest promises."""

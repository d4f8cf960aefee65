"""A layer's blob from the registry into a file: hashed on the way, tried again where it breaks off."""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.images.registry.client import Repository
from compatd.engine.images.registry.errors import RegistryError, UnexpectedResponse

Report = Callable[..., Awaitable[None]]

_FINAL = ("UNAUTHORIZED", "UNSUPPORTED", "DENIED", "TOOMANYREQUESTS", "NAME_UNKNOWN", "BLOB_UNKNOWN")
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
            except (RegistryError, UnexpectedResponse, Corrupt) as error:
                hopeless = not isinstance(error, RegistryError) or error.code in _FINAL
                if hopeless or attempt >= attempts:
                    raise
            except (EngineError, OSError) as error:
                if attempt >= attempts:
                    raise error if isinstance(error, EngineError) else EngineError(str(error)) from error
            for left in range(5 * attempt, 0, -1):
                await self._report(f"Retrying in {left} second{'s' if left != 1 else ''}")
                await asyncio.sleep(1)
            attempt += 1

    async def _once(self) -> None:
        async with self._repository.blob(self._digest, self._have) as response:
            if not self._have or response.status != 206:
                self._have = 0
                self._hash = hashlib.new(self._digest.partition(":")[0])
            length = response.content_length
            total = self._have + length if length is not None else self._expected
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if self._have else os.O_TRUNC)
            fd = os.open(self._path, flags, 0o600)
            try:
                os.lseek(fd, self._have, os.SEEK_SET)
                await self._copy(response, fd, total)
            finally:
                os.close(fd)
        await self._report("Verifying Checksum")
        if f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}" != self._digest:
            self._have = 0
            raise Corrupt(f"filesystem layer verification failed for digest {self._digest}")
        await self._report("Download complete")

    async def _copy(self, response: Any, fd: int, total: int) -> None:
        shown = 0.0
        pending = bytearray()
        async for chunk in response.content.iter_any():
            pending += chunk
            if len(pending) < _PIECE:
                continue
            await self._put(fd, pending)
            pending = bytearray()
            if time.monotonic() - shown >= _INTERVAL:
                shown = time.monotonic()
                await self._report("Downloading", self._have, total)
        if pending:
            await self._put(fd, pending)
        await self._report("Downloading", self._have, total)

    async def _put(self, fd: int, data: bytearray) -> None:
        if self._expected and self._have + len(data) > self._expected:
            raise Corrupt(f"filesystem layer verification failed for digest {self._digest}")
        # Both let go of the interpreter's lock; a thread keeps them off the event loop
        await asyncio.to_thread(self._write, fd, data)
        self._have += len(data)

    def _write(self, fd: int, data: bytearray) -> None:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


class Corrupt(EngineError):
    """The registry sends other bytes than the digest promises."""

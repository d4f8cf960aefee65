"""Layers come in: from a stream of bytes or a file, through the unpacking worker, into the index."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from compatd.engine.errors import EngineError
from compatd.engine.images.index import Index, Pins
from compatd.engine.images.model import Layer, chain_ids
from runtime.client.types import WorkerError

UNTAR = "runtime.storage.untar:apply"
Result = TypeVar("Result")
Progress = Callable[[int, int], Awaitable[None]]

_PIPE = 1 << 20
_PARALLEL = 2  # unpacking is bound by the disk and two cores' worth of hashing


class Layers:
    """Unpacks layers; each only once, however many images are being brought in that have it."""

    def __init__(self, index: Index, runtime: Any) -> None:
        self._index = index
        self._runtime = runtime
        self._overlay = index.overlay
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._busy: dict[str, asyncio.Lock] = {}

    async def from_file(
        self,
        path: Path,
        parent: str,
        diff_id: str,
        pins: Pins,
        *,
        digest: str = "",
        progress: Progress | None = None,
    ) -> Layer:
        """The layer of the (compressed) tar at `path`, which also becomes the layer's blob (by a hard link).

        `diff_id` is what the config promises, `digest` the blob's, when it has been checked already.
        `progress(read, total)` is called about ten times a second while it unpacks.
        Raises EngineError for an archive that is broken or another one.
        """
        chain_id = chain_ids([parent, diff_id])[1] if parent else diff_id
        pins.add(chain_id)
        async with self._busy.setdefault(chain_id, asyncio.Lock()), self._slots:
            known = self._index.layers.get(chain_id)
            if known:
                return known
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            watcher = asyncio.create_task(_watch(source, progress)) if progress else None
            prepared = self._overlay.prepare_layer()
            try:
                result = await self._unpack({"hash_raw": not digest}, prepared, source)
                if result["diff_id"] != diff_id:
                    raise EngineError(
                        f'invalid diffID for layer: expected "{diff_id}", got "{result["diff_id"]}"'
                    )
                result["digest"] = digest or result["digest"]
                return self._commit(prepared, path, parent, result)
            finally:
                if watcher:
                    watcher.cancel()
                os.close(source)
                self._overlay.discard(prepared)

    async def from_stream(self, chunks: AsyncIterator[bytes], pins: Pins) -> Layer:
        """A base layer of whatever tar comes, compressed or not. Raises EngineError."""
        prepared = self._overlay.prepare_layer()
        blob = prepared / "blob"

        async def work(source: int) -> dict[str, Any]:
            async with self._slots:
                return await self._unpack({"copy": str(blob)}, prepared, source)

        try:
            result = await piped(chunks, work)
            pins.add(result["diff_id"])
            known = self._index.layers.get(result["diff_id"])
            return known or self._commit(prepared, blob, "", result)
        finally:
            self._overlay.discard(prepared)

    async def _unpack(self, arguments: dict[str, Any], prepared: Path, source: int) -> dict[str, Any]:
        arguments["target"] = str(prepared / "diff")
        try:
            result: dict[str, Any] = await self._runtime.worker(UNTAR, arguments, [source])
        except WorkerError as error:
            raise EngineError(f"Error processing tar file(exit status 1): {error}") from error
        if "error" in result:
            raise EngineError(f"Error processing tar file(exit status 1): {result['error']}")
        return result

    def _commit(self, prepared: Path, blob: Path, parent: str, result: dict[str, Any]) -> Layer:
        diff_id = result["diff_id"]
        chain_id = chain_ids([parent, diff_id])[1] if parent else diff_id
        layer = Layer(
            chain_id=chain_id,
            diff_id=diff_id,
            parent=parent,
            size=result["layer_size"],
            digest=result["digest"],
            blob_size=result["size"],
            plain_size=result["plain_size"],
            compression=result["compression"],
        )
        try:
            self._index.blob_path(layer.digest).hardlink_to(blob)
        except FileExistsError:
            pass
        (prepared / "blob").unlink(missing_ok=True)
        self._overlay.commit_layer(prepared, chain_id)
        self._index.add_layer(layer)
        return layer


async def piped(chunks: AsyncIterator[bytes], work: Callable[[int], Awaitable[Result]]) -> Result:
    """Run `work` on the reading end of a pipe that `chunks` go into; raises what either of them raises."""
    read, write = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE)
    feeding = asyncio.ensure_future(_feed(write, chunks))
    working = asyncio.ensure_future(work(read))
    try:
        await asyncio.wait((working, feeding), return_when=asyncio.FIRST_EXCEPTION)
        if feeding.done() and not working.done():
            feeding.result()  # the client went away: nothing is whole
        return await working
    finally:
        feeding.cancel()
        working.cancel()
        await asyncio.gather(feeding, working, return_exceptions=True)
        os.close(read)


async def _feed(write: int, chunks: AsyncIterator[bytes]) -> None:
    """Write all chunks into the pipe without ever blocking the loop, and close it."""
    loop = asyncio.get_running_loop()
    os.set_blocking(write, False)
    try:
        async for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(write, view) :]
                except BlockingIOError:
                    room = loop.create_future()
                    loop.add_writer(write, _wake, room)
                    try:
                        await room
                    finally:
                        loop.remove_writer(write)
                except BrokenPipeError:
                    return  # the worker gave up, and says why
    finally:
        os.close(write)


def _wake(room: "asyncio.Future[None]") -> None:
    if not room.done():
        room.set_result(None)


async def _watch(source: int, progress: Progress) -> None:
    """Report how far the worker has read: it shares the file's position with us."""
    total = os.fstat(source).st_size
    last = 0
    with contextlib.suppress(Exception):  # nobody listens any more
        while True:
            position = os.lseek(source, 0, os.SEEK_CUR)
            if position != last:
                await progress(position, total)
            last = position
            await asyncio.sleep(0.1)

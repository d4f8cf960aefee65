"""Layers come in: from a stream of bytes or a file, through the unpacking worker, into the index."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from compatd.engine.errors import EngineError
from compatd.engine.images.index import Index, Pins
from compatd.engine.images.model import Layer, chain_ids
from runtime.client.types import WorkerError
from runtime.storage.recipe import rebuild
from runtime.storage.tarheader import TarError
from runtime.storage.tarstream import decompressor

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

    def chain(self, parent: str, diff_id: str) -> str:
        """The chain ID of a layer on top of `parent` ("" for none)."""
        return chain_ids([parent, diff_id])[1] if parent else diff_id

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
        """The layer of the (compressed) tar at `path`; one that is compressed also becomes its blob.

        `diff_id` is what the config promises, `digest` the blob's, when it has been checked already.
        `progress(read, total)` is called about ten times a second while it unpacks.
        Raises EngineError for an archive that is broken or another one.
        """
        chain_id = self.chain(parent, diff_id)
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

    async def from_stream(
        self, chunks: AsyncIterator[bytes], pins: Pins, *, parent: str = "", diff_id: str = ""
    ) -> Layer:
        """A layer of whatever tar comes, compressed or not; `diff_id` is checked if given."""
        prepared = self._overlay.prepare_layer()

        async def work(source: int) -> dict[str, Any]:
            async with self._slots:
                return await self._unpack({"blob": "blob"}, prepared, source)

        try:
            result = await piped(chunks, work)
            if diff_id and result["diff_id"] != diff_id:
                raise EngineError(
                    f'invalid diffID for layer: expected "{diff_id}", got "{result["diff_id"]}"'
                )
            chain_id = self.chain(parent, result["diff_id"])
            pins.add(chain_id)
            known = self._index.layers.get(chain_id)
            return known or self._commit(prepared, prepared / "blob", parent, result)
        finally:
            self._overlay.discard(prepared)

    async def from_worker(
        self, function: str, arguments: dict[str, Any], pins: Pins, *, parent: str = ""
    ) -> Layer:
        """A layer of the plain tar that a worker writes to the fd handed to it. Raises EngineError."""
        prepared = self._overlay.prepare_layer()
        read, write = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE)

        async def produce() -> None:
            try:
                answer = await self._runtime.worker(function, arguments, [write])
            except WorkerError as error:
                raise EngineError(str(error)) from error
            finally:
                os.close(write)  # the end of the archive
            if "error" in answer:
                raise EngineError(answer["error"])

        async def consume() -> dict[str, Any]:
            try:
                return await self._unpack({"plain": True}, prepared, read)
            finally:
                os.close(read)

        producing = asyncio.ensure_future(produce())
        consuming = asyncio.ensure_future(consume())
        try:
            async with self._slots:
                await asyncio.wait((producing, consuming))
            if consuming.exception() is None:
                producing.result()  # else it is only told that nobody reads
            result = consuming.result()
            chain_id = self.chain(parent, result["diff_id"])
            pins.add(chain_id)
            return self._index.layers.get(chain_id) or self._commit(prepared, prepared, parent, result)
        finally:
            producing.cancel()
            consuming.cancel()
            await asyncio.gather(producing, consuming, return_exceptions=True)
            self._overlay.discard(prepared)

    def from_folder(self, prepared: Path, parent: str, result: dict[str, Any], pins: Pins) -> Layer:
        """A layer that was unpacked with its recipe already; the folder is moved."""
        chain_id = self.chain(parent, result["diff_id"])
        pins.add(chain_id)
        return self._index.layers.get(chain_id) or self._commit(prepared, prepared, parent, result)

    def plain(self, layer: Layer) -> Iterator[bytes]:
        """The layer's uncompressed tar; to be iterated in a thread. Raises OSError, ValueError, TarError."""
        if not layer.compression:
            return rebuild(str(self._overlay.layer_path(layer.chain_id)))
        return decompressor(layer.compression)(_read(self._index.blob_path(layer.digest)))

    async def plain_chunks(self, layer: Layer) -> AsyncIterator[bytes]:
        """As `plain`, for the event loop; raises EngineError when it is not the tar that it was."""
        digest = hashlib.sha256()
        pieces = self.plain(layer)

        def step() -> bytes:
            piece = next(pieces, b"")
            digest.update(piece)
            return piece

        try:
            while piece := await asyncio.to_thread(step):
                yield piece
        except (OSError, ValueError, TarError) as error:
            raise EngineError(f"layer {layer.diff_id} is damaged: {error}") from error
        if f"sha256:{digest.hexdigest()}" != layer.diff_id:
            raise EngineError(f"layer {layer.diff_id} is damaged: its files have changed")

    async def _unpack(self, arguments: dict[str, Any], prepared: Path, source: int) -> dict[str, Any]:
        arguments["layer"] = str(prepared)
        try:
            result: dict[str, Any] = await self._runtime.worker(UNTAR, arguments, [source])
        except WorkerError as error:
            raise EngineError(f"Error processing tar file(exit status 1): {error}") from error
        if "error" in result:
            raise EngineError(f"Error processing tar file(exit status 1): {result['error']}")
        return result

    def _commit(self, prepared: Path, blob: Path, parent: str, result: dict[str, Any]) -> Layer:
        diff_id = result["diff_id"]
        chain_id = self.chain(parent, diff_id)
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
        if layer.compression:
            try:
                self._index.blob_path(layer.digest).hardlink_to(blob)
            except FileExistsError:
                pass
            (prepared / "blob").unlink(missing_ok=True)
        self._overlay.commit_layer(prepared, chain_id)
        self._index.add_layer(layer)
        return layer


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while data := file.read(1 << 20):
            yield data


async def piped(chunks: AsyncIterator[bytes], work: Callable[[int], Awaitable[Result]]) -> Result:
    """Run `work` on the reading end of a pipe that `chunks` go into; raises what either of them raises."""
    read, write = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE)
    feeding = asyncio.ensure_future(feed(write, chunks))
    working = asyncio.ensure_future(work(read))
    try:
        # A worker that gives up leaves the rest unread, and whoever sends it would wait for ever
        await asyncio.wait((working, feeding), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            feeding.result()  # the client went away: nothing is whole
        return await working
    finally:
        feeding.cancel()
        working.cancel()
        await asyncio.gather(feeding, working, return_exceptions=True)
        os.close(read)


async def feed(write: int, chunks: AsyncIterator[bytes]) -> None:
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

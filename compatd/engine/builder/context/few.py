"""A few small files that a client sends (a Dockerfile, an ignore file): taken in memory, without a worker.

Only files and folders, so nothing is looked up anywhere. As soon as something else or something large is
told, a worker takes over, and hears all from the beginning.
"""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Sequence

from compatd.engine.builder.context.folder import Context, Contexts
from compatd.engine.builder.context.kept import Kept, take
from compatd.engine.builder.context.receiving import Receiver
from compatd.engine.errors import EngineError, NotFound
from runtime.storage import fsutilwire as wire

MAX_FILES, MAX_BYTES = 16, 1 << 20
_PLAIN = ~0o777 & ~wire.DIR & 0xFFFFFFFF  # all bits of a mode but these are of something special


class Few(Context):
    """Files in memory. `kept` is the record of the build cache that stands for them."""

    def __init__(self, kept: Context, files: dict[str, bytes]) -> None:
        super().__init__(kept.folder, lambda _: None)
        self._kept, self._files = kept, files

    async def read(self, path: str) -> bytes:
        """A file of it. Raises NotFound, EngineError (no file)."""
        name = posixpath.normpath(posixpath.join("/", path)).strip("/")
        found = self._files.get(name)
        if found is not None:
            return found
        if not name or any(one.startswith(name + "/") for one in self._files):
            raise EngineError(f"read {path}: is a directory")
        parts = name.split("/")
        if any("/".join(parts[:count]) in self._files for count in range(1, len(parts))):
            raise NotFound(f"open {path}: not a directory")
        raise NotFound(f"open {path}: no such file or directory")

    async def close(self) -> None:
        """Let it go."""
        if isinstance(self._kept, Kept):
            self._kept.size = sum(map(len, self._files.values()))
        await self._kept.close()


class FewReceiver:
    """As `Receiver`."""

    def __init__(self, contexts: Contexts, name: str, shared_key: str) -> None:
        self._contexts, self._name, self._key = contexts, name, shared_key
        self._worker: Receiver | None = None
        self._held: list[bytes] = []
        self._files: dict[int, tuple[str, bytearray]] = {}
        self._open: set[int] = set()
        self._entries = self._told = 0
        self._all_told = self._finished = False
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.received = 0

    async def feed(self, *packets: bytes) -> None:
        """As `Receiver.feed`."""
        for packet in packets:
            await self._feed(packet)

    async def _feed(self, packet: bytes) -> None:
        self.received += len(packet)
        if self._worker:
            await self._worker.feed(packet)
            return
        try:
            kind, number, stat, data = wire.parse(memoryview(packet))
        except wire.WireError as error:
            raise EngineError(str(error)) from None
        if kind == wire.ERR:
            raise EngineError(f"error from sender: {bytes(data).decode('utf-8', 'replace')}")
        if kind == wire.STAT and not self._all_told:
            await self._tell(packet, stat)
        elif kind == wire.DATA:
            self._data(number, data)

    async def _tell(self, packet: bytes, stat: wire.Stat | None) -> None:
        self._held.append(packet)
        if stat is None:
            self._all_told = True
            self._open = set(self._files)
            for number in self._files:
                self._out.put_nowait(wire.encode(wire.REQ, number))
            self._finish()
            return
        number, self._entries = self._entries, self._entries + 1
        folder = bool(stat.mode & wire.DIR)
        if stat.mode & _PLAIN or stat.linkname or self._entries > MAX_FILES:
            await self._hand_over()
        elif not folder:
            self._told += stat.size
            self._files[number] = (stat.path.decode("utf-8", "surrogateescape"), bytearray())
            if self._told > MAX_BYTES:
                await self._hand_over()

    async def _hand_over(self) -> None:
        worker = await Receiver.start(self._contexts, self._name, self._key, True)
        await worker.feed(*self._held)
        self._held.clear()
        self._files.clear()
        self._worker = worker
        self._out.put_nowait(None)

    def _data(self, number: int, data: memoryview) -> None:
        if number not in self._open:
            raise EngineError(f"invalid file request {number}")
        content = self._files[number][1]
        if data:
            content += data
            if len(content) > 2 * MAX_BYTES:  # it has grown since it was told
                raise EngineError(f"{self._files[number][0]} is larger than was told")
            return
        self._open.discard(number)
        self._finish()

    def _finish(self) -> None:
        if self._all_told and not self._open and not self._finished:
            self._finished = True
            self._out.put_nowait(wire.encode(wire.FIN))

    async def end(self) -> None:
        """As `Receiver.end`."""
        if self._worker:
            await self._worker.end()
        else:
            self._out.put_nowait(None)

    async def packets(self) -> AsyncIterator[Sequence[bytes]]:
        """As `Receiver.packets`."""
        while (packet := await self._out.get()) is not None:
            yield [packet]
            if packet == wire.encode(wire.FIN):
                return
        if self._worker:
            async for packets in self._worker.packets():
                yield packets

    async def context(self) -> Context:
        """As `Receiver.context`."""
        if self._worker:
            return await self._worker.context()
        if not self._finished:
            raise EngineError("unexpected EOF")
        contexts = self._contexts
        kept = contexts.empty() if contexts.cache is None else take(contexts.cache, self._name, self._key)
        return Few(kept, {path: bytes(data) for path, data in self._files.values()})

    async def close(self) -> None:
        """As `Receiver.close`."""
        if self._worker:
            await self._worker.close()

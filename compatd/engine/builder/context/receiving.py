"""A context that a client sends through its session: packets of FileSync.DiffCopy.

They go to a worker as they come (`runtime.storage.diffcopy`), and its own come back.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from compatd.engine.builder.context.folder import Context, Contexts
from compatd.engine.builder.context.kept import take
from compatd.engine.errors import EngineError
from runtime.client.types import WorkerError

Json = dict[str, Any]

RECEIVE = "runtime.storage.diffcopy:receive"
_LENGTH = 4
_READ = 1 << 16
_MAX_PACKET = 1 << 20
_HIGH = 4 << 20  # bytes on the way to the worker before `feed` waits


class Receiver:
    """Between the session's stream and the worker.

    Send what `packets` yields to the client in a task of its own, `feed` every message that comes, `end` when
    the client has closed its side; then `context()`; `close` in any case. `received` counts bytes.
    """

    def __init__(self, contexts: Contexts, context: Context) -> None:
        self._contexts = contexts
        self._context = context
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._work: asyncio.Task[Json]
        self._taken = False
        self.received = 0

    @classmethod
    async def start(cls, contexts: Contexts, name: str, shared_key: str, always: bool) -> "Receiver":
        """As `Contexts.receive`."""
        context: Context = (
            contexts.empty() if contexts.cache is None else take(contexts.cache, name, shared_key)
        )
        self = cls(contexts, context)
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
            self._writer.transport.set_write_buffer_limits(high=_HIGH)
        except BaseException:
            theirs.close()
            await context.close()
            raise
        arguments = {"folder": str(context.folder), "always": always}
        self._work = asyncio.ensure_future(self._run(arguments, theirs))
        return self

    async def _run(self, arguments: Json, theirs: socket.socket) -> Json:
        try:
            answer: Json = await self._contexts.runtime.worker(RECEIVE, arguments, [theirs.fileno()])
        except WorkerError as error:
            return {"error": str(error)}
        finally:
            theirs.close()
        return answer

    async def feed(self, *packets: bytes) -> None:
        """`fsutil.types.Packet`s as they came (protobuf). Raises EngineError when the worker gave up."""
        self.received += sum(map(len, packets))
        if self._work.done():
            raise EngineError(self._work.result().get("error", "the transfer is over"))
        # in one piece: for many small files each would cost a call of the kernel at both ends
        parts = [part for packet in packets for part in (len(packet).to_bytes(_LENGTH, "big"), packet)]
        self._writer.write(b"".join(parts))
        try:
            await self._writer.drain()
        except ConnectionError:
            raise EngineError((await self._work).get("error", "the transfer is over")) from None

    async def end(self) -> None:
        """The client has closed its side."""
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
        except OSError:
            pass  # the worker has ended

    async def packets(self) -> AsyncIterator[Sequence[bytes]]:
        """Packets for the client (REQ, then FIN; ERR when it fails), encoded; ends with the worker."""
        async for found in split(self._reader, _MAX_PACKET):
            yield found

    async def context(self) -> Context:
        """What came, once all of it is there. Raises EngineError."""
        answer = await asyncio.shield(self._work)
        if "error" in answer:
            raise EngineError(answer["error"])
        self._taken = True
        return self._context

    async def close(self) -> None:
        """End it wherever it is. A context that was taken stays; what came of another is thrown away."""
        self._writer.close()
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        if not self._taken:
            self._taken = True
            self._context.spoil()
            await self._context.close()


async def split(reader: asyncio.StreamReader, most: int) -> AsyncIterator[Sequence[bytes]]:
    """A worker's packets (their length in front, four bytes), as many at a time as there are; "" is one.

    Ends with the worker, with a packet that is too large, and in the middle of one.
    """
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(_READ):
            data += piece
            found, at = [], 0
            while len(data) >= (start := at + _LENGTH):
                length = int.from_bytes(data[at:start], "big")
                if length > most:
                    return
                if len(data) < start + length:
                    break
                at = start + length
                found.append(bytes(data[start:at]))
            del data[:at]
            if found:
                yield found

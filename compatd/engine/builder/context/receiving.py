"""A context that a client sends through its session: packets of FileSync.DiffCopy, taken apart by a worker."""

from collections.abc import AsyncIterator

from compatd.engine.builder.context.folder import Context


class Receiver:
    """Between the session's stream and the worker. Use: start `packets` in a task that sends what it yields to
    the client, `feed` every message that comes, then `context()`; `close` in any case.
    """

    async def feed(self, packet: bytes) -> None:
        """One `fsutil.types.Packet` as it came (protobuf). Raises EngineError when the worker gave up."""
        raise NotImplementedError

    async def end(self) -> None:
        """The client has closed its side."""
        raise NotImplementedError

    def packets(self) -> AsyncIterator[bytes]:
        """Packets for the client (REQ, then FIN; ERR when it fails), encoded."""
        raise NotImplementedError

    async def context(self) -> Context:
        """What came, once all of it is there. Raises EngineError."""
        raise NotImplementedError

    async def close(self) -> None:
        """End it wherever it is; after `context()` nothing."""
        raise NotImplementedError

"""A client's session, as exports and imports use it: its content stores, and its places for outputs.

Source: moby/buildkit session/filesync, session/content; containerd's content service.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from compatd.engine.builder.buildkit.wire.client import ClientStream
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.sessions import Session
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.exporting.descriptors import Descriptor
from compatd.engine.builder.exporting.task import ContentStore, Packets
from compatd.engine.errors import EngineError, NotFound

_SEND = "/moby.filesync.v1.FileSend/DiffCopy"
_CONTENT = "/containerd.services.content.v1.Content/"
_EXPORTER, _META, _STORE = (
    "buildkit-attachable-exporter-id", "exporter-md-", "buildkit-attachable-store-id",
)  # fmt: skip
_STAT, _WRITE, _COMMIT = 0, 1, 2
PIECE = 1 << 20  # bytes of a message


class TargetExists(EngineError):
    """The client has what it was to get."""


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except GrpcError as error:
        kind = {Code.NOT_FOUND: NotFound, Code.ALREADY_EXISTS: TargetExists}.get(
            Code(error.code), EngineError
        )
        raise kind(error.message) from error


class SessionPackets:
    """A stream of FileSend, of messages encoded by the caller."""

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream

    async def send(self, *messages: bytes) -> None:
        """As many as there are. Raises EngineError."""
        with _translated():
            await self._stream.send_raw(*messages)

    async def receive(self) -> Sequence[bytes] | None:
        """All that have come, one at least; None at the end. Raises EngineError."""
        with _translated():
            return await self._stream.receive_raw()

    def end(self) -> None:
        """No more is sent. Receiving goes on."""
        self._stream.end()


class SessionClient:
    """The client behind a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def content(self, store: str) -> ContentStore:
        """Its content store of that name."""
        return SessionStore(self._session, store)

    @contextlib.asynccontextmanager
    async def sending(self, exporter: int, metadata: Mapping[str, str]) -> AsyncIterator[Packets]:
        """FileSend.DiffCopy to the output of that number. Raises EngineError."""
        if not self._session.has(_SEND):
            raise EngineError(f"method {_SEND} not supported by the client")
        headers = {_META + name: text for name, text in metadata.items()} | {_EXPORTER: str(exporter)}
        with _translated():
            stream = await self._session.client.call(_SEND, metadata=headers)
        async with stream:
            yield SessionPackets(stream)


class SessionStore:
    """A content store at the client."""

    def __init__(self, session: Session, store: str) -> None:
        self._client = session.client
        self._metadata = {_STORE: store}

    async def size(self, digest: str) -> int:
        """Of a blob. Raises NotFound, EngineError."""
        request = proto("containerd.services.content.v1.InfoRequest")(digest=digest)
        with _translated():
            answer = await self._client.unary(f"{_CONTENT}Info", request, metadata=self._metadata)
        return int(answer.info.size) if answer.info else 0

    async def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        """A blob's bytes; not checked against the digest. Raises NotFound, EngineError."""
        request = proto("containerd.services.content.v1.ReadContentRequest")(digest=digest, size=size)
        left = size
        with _translated():
            async with await self._client.call(f"{_CONTENT}Read", metadata=self._metadata) as call:
                await call.send(request)
                call.end()
                while (message := await call.receive()) is not None:
                    left -= len(message.data)
                    if left < 0:
                        raise EngineError(f"blob {digest} is longer than {size} bytes")
                    yield message.data
        if left:
            raise EngineError(f"unexpected EOF: blob {digest} is shorter than {size} bytes")

    async def write(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Put a blob there; one that is there is no error. Raises EngineError."""
        with contextlib.suppress(TargetExists), _translated():
            async with await self._client.call(f"{_CONTENT}Write", metadata=self._metadata) as call:
                await self._write(call, descriptor, chunks)

    @staticmethod
    async def _write(call: ClientStream, blob: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        message = proto("containerd.services.content.v1.WriteContentRequest")
        about = {"ref": blob.digest, "total": blob.size, "expected": blob.digest}

        async def ask(**more: object) -> None:
            await call.send(message(**about, **more))
            if await call.receive() is None:
                raise EngineError(f"the client has ended the upload of {blob.digest}")

        await ask(action=_STAT)
        offset = 0
        async for chunk in chunks:
            for at in range(0, len(chunk), PIECE):
                piece = bytes(chunk[at : at + PIECE])
                await ask(action=_WRITE, offset=offset, data=piece)
                offset += len(piece)
        await ask(action=_COMMIT, offset=offset)
        call.end()


async def send_file(packets: Packets, chunks: AsyncIterator[bytes]) -> None:
    """An archive as one file to the client. Raises EngineError, TargetExists."""
    message = proto("moby.filesync.v1.BytesMessage")
    async for chunk in chunks:
        for at in range(0, len(chunk), PIECE):
            await packets.send(message(data=bytes(chunk[at : at + PIECE])).encode())
    packets.end()
    while await packets.receive() is not None:
        pass

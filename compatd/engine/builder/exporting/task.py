"""What an export has at hand: the client's session, credentials, progress, how the build was asked for."""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from compatd.engine.builder.bases import Auth
from compatd.engine.builder.exporting.descriptors import Descriptor, digest_of
from compatd.engine.builder.progress import Observer, Status, Vertex
from compatd.engine.errors import EngineError


@dataclass(frozen=True, slots=True)
class Output:
    """One `--output`: exporter's type and attributes as they came; `id` is its place among them."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One `--cache-to` or `--cache-from`: type and attributes."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether the layers of all stages go there, not only those of the result."""
        return self.type != "inline" and self.attributes.get("mode") == "max"


class ContentStore(Protocol):
    """A folder of blobs at the client (an OCI layout), reached through its session."""

    async def size(self, digest: str) -> int:
        """Of a blob. Raises NotFound, EngineError."""

    def read(self, digest: str, size: int) -> AsyncIterator[bytes]:
        """A blob's bytes, which must be so many; not checked against the digest. Raises EngineError."""

    async def write(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Put a blob there; one that is there is no error. Raises EngineError."""


class Packets(Protocol):
    """A stream of messages to the client and back."""

    async def send(self, *messages: bytes) -> None:
        """As many as there are. Raises EngineError."""

    async def receive(self) -> Sequence[bytes] | None:
        """All that have come, one at least; None at the end. Raises EngineError."""

    def end(self) -> None:
        """No more is sent. Receiving goes on."""


class Client(Protocol):
    """What a client lends in its session, as far as exports use it."""

    def content(self, store: str) -> ContentStore:
        """The store of that name: "export", "local:<path>", or an OCI layout's ID."""

    def sending(
        self, exporter: int, metadata: Mapping[str, str]
    ) -> contextlib.AbstractAsyncContextManager[Packets]:
        """FileSend.DiffCopy to the output of that number. `metadata` is what the client learns of it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a build was asked for: for its provenance. `frontend` are the frontend's attributes as they came,
    `attestations`: kind → parameters ("mode=max"), `started` is in ns, `locals` are the client's folders.
    """

    ref: str = ""
    frontend: Mapping[str, str] = field(default_factory=dict)
    materials: Sequence[tuple[str, Mapping[str, str]]] = ()  # of a remote context: (URI, digests)
    attestations: Mapping[str, str] = field(default_factory=dict)
    dockerfile: bytes = b""
    filename: str = "Dockerfile"
    locals: Sequence[str] = ("context", "dockerfile")
    started: int = 0


@dataclass(slots=True)
class Task:
    """All of that for one build. `auth`: credentials of registries (X-Registry-Config, or the session's)."""

    observer: Observer = field(default_factory=Observer)
    client: Client | None = None
    auth: Auth | None = None
    invocation: Invocation = field(default_factory=Invocation)
    epoch: int | None = None  # SOURCE_DATE_EPOCH, for outputs that say nothing else
    several: bool = False  # platforms were asked for as several, also where it is one

    @contextlib.asynccontextmanager
    async def vertex(self, name: str, *, lenient: bool = False) -> AsyncIterator["Line"]:
        """A line of progress for the length of the block; what the block raises is its error.

        `lenient`: an error is shown there and not raised.
        """
        line = Line(self.observer, name)
        try:
            yield line
        except Exception as error:  # also a GrpcError of the client's
            line.end(error.message if isinstance(error, EngineError) else str(error))
            if not lenient:
                raise
        except BaseException:
            line.end("context canceled")
            raise
        else:
            line.end()


class Line:
    """A vertex under way, and its parts."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer = observer
        self._vertex = Vertex(digest_of(secrets.token_bytes(16)), name, started=time.time_ns())
        observer.vertex(self._vertex)

    def end(self, error: str = "") -> None:
        """It is done, or has failed."""
        self._vertex.completed, self._vertex.error = time.time_ns(), error
        self._observer.vertex(self._vertex)

    @contextlib.contextmanager
    def part(self, text: str) -> "Iterator[Part]":
        """`exporting layers`, … `done`."""
        part = Part(self._observer, Status(self._vertex.digest, text, started=time.time_ns()))
        yield part
        part.end()

    def note(self, text: str) -> None:
        """A part that takes no time."""
        with self.part(text):
            pass


class Part:
    """A part of a line that goes on, in bytes."""

    def __init__(self, observer: Observer, status: Status) -> None:
        self._observer, self._status = observer, status
        self._told = 0.0
        observer.status(status)

    def advance(self, current: int, total: int = 0) -> None:
        """How far it is; told ten times a second at most."""
        self._status.current, self._status.total = current, total
        now = time.monotonic()
        if now - self._told >= 0.1:
            self._told = now
            self._observer.status(self._status)

    def end(self) -> None:
        """It is done."""
        self._status.completed = time.time_ns()
        self._observer.status(self._status)

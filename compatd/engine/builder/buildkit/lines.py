"""Lines of progress that this door adds to the executor's: the Dockerfile, the context, the export."""

import hashlib
import time
from types import TracebackType

from compatd.engine.builder.progress import Observer, Status, Vertex

_EVERY = 100_000_000  # ns between two messages about one transfer


class Part:
    """A part of a line with a progress of its own."""

    def __init__(self, observer: Observer, status: Status) -> None:
        self._observer, self._status = observer, status
        self._told = 0
        self._tell()

    def add(self, amount: int) -> None:
        """So many more bytes."""
        self._status.current += amount
        if time.time_ns() - self._told >= _EVERY:
            self._tell()

    def done(self) -> None:
        """It is over."""
        self._status.completed = time.time_ns()
        self._tell()

    def _tell(self) -> None:
        self._told = time.time_ns()
        self._observer.status(self._status)


class Line:
    """A vertex: `with` says when it starts and ends, and with what error."""

    def __init__(self, observer: Observer, identity: str, name: str) -> None:
        """`identity` is what tells it from all others of the build: its digest is made of it."""
        digest = "sha256:" + hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        self._observer, self._vertex = observer, Vertex(digest, name)

    @property
    def digest(self) -> str:
        """The vertex' digest."""
        return self._vertex.digest

    def part(self, name: str, action: str = "") -> Part:
        """Something begins within it."""
        status = Status(self._vertex.digest, name, started=time.time_ns(), name=action)
        return Part(self._observer, status)

    def __enter__(self) -> "Line":
        self._vertex.started = time.time_ns()
        self._observer.vertex(self._vertex)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vertex.completed = time.time_ns()
        if error is not None:
            self._vertex.error = str(error) or "context canceled"
        self._observer.vertex(self._vertex)

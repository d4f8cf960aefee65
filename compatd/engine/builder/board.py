"""Keeps the lines of a build's progress, and tells the observer of them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence

from compatd.engine.builder import cachekeys
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.progress import Log, Observer, Status, Vertex
from compatd.engine.errors import EngineError

CANCELED = "context canceled"
_KEY = "failed to compute cache key: "  # told of the build, not of the step


class Board:
    """The vertexes of one build; `scope` tells those of its platforms apart."""

    def __init__(self, observer: Observer, scope: str = "") -> None:
        self.observer = observer
        self._scope = scope

    def vertex(self, name: str, inputs: Sequence[str] = (), *identity: object) -> Vertex:
        """A line that has not begun; the same arguments are the same line."""
        digest = cachekeys.digest("vertex", self._scope, name, list(inputs), [str(one) for one in identity])
        return Vertex(digest, name, tuple(one for one in inputs if one))

    @contextlib.contextmanager
    def running(self, vertex: Vertex) -> Iterator[Vertex]:
        """It begins and ends with the block; what is raised is its error."""
        vertex.started = time.time_ns()
        self.observer.vertex(vertex)
        try:
            yield vertex
        except asyncio.CancelledError:
            vertex.error = CANCELED
            raise
        except EngineError as error:
            vertex.error = error.message.removeprefix(_KEY)
            if isinstance(error, BuildError):
                error.vertex = error.vertex or vertex.digest
            raise
        except BaseException as error:
            vertex.error = str(error)
            raise
        finally:
            vertex.completed = time.time_ns()
            self.observer.vertex(vertex)

    @contextlib.asynccontextmanager
    async def status(self, vertex: Vertex, text: str) -> AsyncIterator[Status]:
        """A part of a line that lasts as long as the block."""
        status = Status(vertex.digest, text, started=time.time_ns())
        self.observer.status(status)
        try:
            yield status
            status.completed = time.time_ns()
        finally:
            self.observer.status(status)

    async def log(self, vertex: Vertex, stream: int, data: bytes) -> None:
        """Output of a step."""
        await self.observer.log(Log(vertex.digest, stream, data, time.time_ns()))

"""What happens in a build, kept and told as Control/Status tells it.

Source: moby/buildkit solver/progress.go.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable

from compatd.engine.builder import progress
from compatd.engine.builder.buildkit.clipping import Clip
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto, timestamp

BATCH = 0.1  # seconds between two messages to one client
MAX_MESSAGE = 1024 * 1024  # of logs; gRPC's clients refuse 4 MiB
MAX_LOGS = 16 * 1024 * 1024  # what is kept of all steps' output, for those who ask late
MAX_STATUSES = 4096  # parts of vertices: layers, transfers
MAX_WARNED = 1024 * 1024  # of warnings, and as much of what they point into: the last ones come without
MAX_WARNINGS = 1000
_OBJECT = 1024  # bytes that a message takes at least, however short it is
_CANCELED = "context canceled"
_BEFORE = ("[internal] ", "[context ", "importing ")  # lines of what comes before the steps

_RESPONSE = proto("moby.buildkit.v1.StatusResponse")
_VERTEX = proto("moby.buildkit.v1.Vertex")
_STATUS = proto("moby.buildkit.v1.VertexStatus")
_LOG = proto("moby.buildkit.v1.VertexLog")
_WARNING = proto("moby.buildkit.v1.VertexWarning")


class _Logs:
    """Output of steps, the oldest of it dropped where it is too much."""

    def __init__(self) -> None:
        self._kept: deque[Message] = deque()
        self.size = 0

    def add(self, log: Message) -> None:
        self._kept.append(log)
        self.size += len(log.msg) + _OBJECT
        while self.size > MAX_LOGS:
            self.size -= len(self._kept.popleft().msg) + _OBJECT

    def all(self) -> list[Message]:
        return list(self._kept)

    def take(self) -> list[Message]:
        logs = list(self._kept)
        self._kept.clear()
        self.size = 0
        return logs


class _Pending:
    """What one client has not been told yet: of a vertex and of a status only the newest."""

    def __init__(self) -> None:
        self.vertices: dict[str, Message] = {}
        self.statuses: dict[tuple[str, str], Message] = {}
        self.logs = _Logs()
        self.warnings: list[Message] = []
        self.woken = asyncio.Event()

    def take(self) -> list[Message]:
        """StatusResponses."""
        self.woken.clear()
        vertices, self.vertices = self.vertices, {}
        statuses, self.statuses = self.statuses, {}
        warnings, self.warnings = self.warnings, []
        return _responses(vertices.values(), statuses.values(), self.logs.take(), warnings)


class StatusLog(progress.Observer):
    """An Observer that Status streams are made from; whoever follows late is told all that was."""

    def __init__(self, source: Message | None = None) -> None:
        """`source` is the pb.SourceInfo that warnings point into; it may be set later."""
        self.source = source
        self._over = asyncio.Event()
        self.stepping = asyncio.Event()  # set when a step of the Dockerfile begins
        self._vertices: dict[str, Message] = {}
        self._statuses: dict[tuple[str, str], Message] = {}
        self._logs = _Logs()
        self._warnings: list[Message] = []
        self._warned = self._pointed = 0
        self._clips: dict[tuple[str, int], Clip] = {}
        self._followers: set[_Pending] = set()

    # what Observer wants

    def vertex(self, vertex: progress.Vertex) -> None:
        """A vertex is new, starts or ends."""
        if vertex.completed:
            self._flush(vertex.digest, failed=bool(vertex.error))
        if vertex.started and not vertex.name.startswith(_BEFORE):
            self.stepping.set()
        self._show(_vertex(vertex))

    def status(self, status: progress.Status) -> None:
        """A part of a vertex goes on."""
        message = _status(status)
        if len(self._statuses) >= MAX_STATUSES and (status.vertex, status.id) not in self._statuses:
            return
        self._statuses[status.vertex, status.id] = message
        for pending in self._followers:
            pending.statuses[status.vertex, status.id] = message
            pending.woken.set()

    async def log(self, log: progress.Log) -> None:
        """Output of a step; what is over the limits is clipped."""
        clip = self._clips.setdefault((log.vertex, log.stream), Clip())
        self._tell(log.vertex, log.stream, clip.cut(log.data), log.time)

    def warning(self, notice: progress.Notice) -> None:
        """A remark about the Dockerfile."""
        self.warn(notice.vertex, notice.short, notice.detail, notice.url, [notice.lines], notice.level)

    # more

    def warn(
        self,
        vertex: str,
        short: str,
        detail: Iterable[str],
        url: str,
        lines: Iterable[tuple[int, int]],
        level: int = 1,
        source: Message | None = None,
    ) -> None:
        """A warning, at lines of the Dockerfile; what is over the limits is left out."""
        message = _WARNING(
            vertex=vertex,
            level=level,
            short=short.encode(),
            detail=[text.encode() for text in detail],
            url=url,
            ranges=ranges(lines),
        )
        self._warned += len(message.encode())
        if self._warned > MAX_WARNED or len(self._warnings) >= MAX_WARNINGS:
            return
        if (info := source or self.source) is not None:
            size = len(info.data) if source is None else len(source.encode())
            if self._pointed + size <= MAX_WARNED:
                message.info = info
                self._pointed += size
        self._warnings.append(message)
        for pending in self._followers:
            pending.warnings.append(message)
            pending.woken.set()

    @property
    def weight(self) -> int:
        """Bytes that all of this takes, about."""
        source = len(self.source.data) if self.source is not None else 0
        return (
            self._logs.size
            + self._warned
            + self._pointed
            + source
            + (len(self._vertices) + len(self._statuses)) * _OBJECT
        )

    @property
    def ended(self) -> bool:
        """The build is over."""
        return self._over.is_set()

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many steps there are, ended, and were cached; and how many warnings there were."""
        vertices = self._vertices.values()
        return (
            len(vertices),
            sum(vertex.completed is not None for vertex in vertices),
            sum(vertex.cached for vertex in vertices),
            len(self._warnings),
        )

    def end(self) -> None:
        """The build is over: what has not ended was cancelled, followers hear the rest."""
        if self.ended:
            return
        now = timestamp(time.time_ns())
        for vertex in list(self._vertices.values()):
            if vertex.started is not None and vertex.completed is None:
                self._flush(vertex.digest, failed=True)
                values = {name: getattr(vertex, name) for name in ("digest", "inputs", "name", "started")}
                self._show(_VERTEX(completed=now, error=vertex.error or _CANCELED, **values))
        self._over.set()
        for pending in self._followers:
            pending.woken.set()

    async def follow(self) -> AsyncIterator[Message]:
        """StatusResponses from the beginning, until the build is over."""
        pending = _Pending()
        self._followers.add(pending)
        try:
            for response in self.replay():
                yield response
            while True:
                ended = self.ended
                for response in pending.take():
                    yield response
                if ended:
                    return
                await pending.woken.wait()
                await self._gather()
        finally:
            self._followers.discard(pending)

    def replay(self) -> list[Message]:
        """All that was, as StatusResponses."""
        return _responses(self._vertices.values(), self._statuses.values(), self._logs.all(), self._warnings)

    async def _gather(self) -> None:
        """A batch's time, or less when the build ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BATCH):
                await self._over.wait()

    def _show(self, vertex: Message) -> None:
        self._vertices[vertex.digest] = vertex
        for pending in self._followers:
            pending.vertices[vertex.digest] = vertex
            pending.woken.set()

    def _flush(self, vertex: str, *, failed: bool) -> None:
        """The step has ended: of one that failed the end of what was clipped is told after all."""
        for stream in (1, 2):
            if (clip := self._clips.pop((vertex, stream), None)) is not None and failed:
                self._tell(vertex, stream, clip.tail(), time.time_ns())

    def _tell(self, vertex: str, stream: int, data: bytes, moment: int) -> None:
        if not data:
            return
        message = _LOG(vertex=vertex, stream=stream, msg=data, timestamp=timestamp(moment))
        self._logs.add(message)
        for pending in self._followers:
            pending.logs.add(message)
            pending.woken.set()


def ranges(lines: Iterable[tuple[int, int]]) -> list[Message]:
    """Lines of a file as pb.Range."""
    make, position = proto("pb.Range"), proto("pb.Position")
    return [make(start=position(line=first), end=position(line=last)) for first, last in lines]


def _responses(
    vertices: Iterable[Message], statuses: Iterable[Message], logs: list[Message], warnings: list[Message]
) -> list[Message]:
    shown = sorted(vertices, key=lambda vertex: _moment(vertex.started))
    responses = []
    part: dict[str, list[Message]] = {
        "vertexes": shown,
        "statuses": sorted(statuses, key=lambda status: _moment(status.timestamp)),
        "warnings": list(warnings),
    }
    batch: list[Message] = []
    size = 0
    for log in logs:
        batch.append(log)
        size += len(log.msg)
        if size > MAX_MESSAGE:
            responses.append(_RESPONSE(logs=batch, **part))
            batch, size, part = [], 0, {}
    if batch or any(part.values()):
        responses.append(_RESPONSE(logs=batch, **part))
    return responses


def _moment(stamp: Message | None) -> tuple[int, int]:
    return (0, 0) if stamp is None else (stamp.seconds, stamp.nanos)


def _stamp(moment: int) -> Message | None:
    return timestamp(moment) if moment else None


def _vertex(vertex: progress.Vertex) -> Message:
    return _VERTEX(
        digest=vertex.digest,
        inputs=list(vertex.inputs),
        name=vertex.name,
        cached=vertex.cached,
        started=_stamp(vertex.started),
        completed=_stamp(vertex.completed),
        error=vertex.error,
        progressGroup=proto("pb.ProgressGroup")(id=vertex.group, name=vertex.group) if vertex.group else None,
    )


def _status(status: progress.Status) -> Message:
    return _STATUS(
        ID=status.id,
        vertex=status.vertex,
        name=status.name,
        current=status.current,
        total=status.total,
        timestamp=timestamp(time.time_ns()),
        started=_stamp(status.started),
        completed=_stamp(status.completed),
    )

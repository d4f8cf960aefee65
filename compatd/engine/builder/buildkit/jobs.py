"""Builds that clients have under way, and what came of the last ones.

Source: moby/buildkit solver/jobs.go.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compatd.engine.builder.buildkit import errors
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.status import StatusLog
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.status import GrpcError
from compatd.engine.builder.context import Context
from compatd.engine.builder.request import BuildResult, PlatformResult

WAIT = 6.0  # seconds for a build to come, of which somebody asks already
MAX_ENDED = 50  # builds that are remembered
MAX_KEPT = 64 << 20  # bytes of them; the last one is remembered in any case
MAX_JOBS = 100  # at a time, for hostile clients
_LEAST = 4096  # bytes of the smallest
MAX_SOLVES = 1000  # that a client's build function may ask for


@dataclass(slots=True)
class Reference:
    """What one Solve came to: what was built for a platform, or files of a source.

    `origin` is that Solve. While `pending`, it is under way: `ready` waits for its result of that `key`.
    """

    built: PlatformResult | None = None
    files: Context | None = None
    origin: "Solved | None" = None
    pending: "asyncio.Future[Solved] | None" = None
    key: str = ""

    async def ready(self) -> "Reference":
        """Itself, once it is there. Raises GrpcError: what the build failed with."""
        if self.pending is not None:
            solved = await asyncio.shield(self.pending)
            found = solved.results.get(self.key, self)
            self.built, self.files, self.origin, self.pending = found.built, found.files, solved, None
        return self


@dataclass(slots=True)
class Solved:
    """The outcome of a frontend. `results`: platform → what came of it ("" where only one was asked for)."""

    metadata: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, Reference] = field(default_factory=dict)
    build: BuildResult | None = None
    several: bool = False
    dockerfile: bytes = b""
    wanted: FrontendOptions | None = None


@dataclass(slots=True)
class Job:
    """One Control/Solve. `request` is a SolveRequest; `peer`: who asked."""

    ref: str
    request: Message
    peer: Peer = field(default_factory=Peer)
    status: StatusLog = field(default_factory=StatusLog)
    references: dict[str, Reference] = field(default_factory=dict)
    solved: list[Solved] = field(default_factory=list)
    created: int = field(default_factory=time.time_ns)
    completed: int = 0
    error: GrpcError | None = None
    response: Mapping[str, str] = field(default_factory=dict)
    returned: "asyncio.Future[Solved] | None" = None  # of a build function that runs at the client
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    closers: list[Any] = field(default_factory=list)  # what has files of it; async context managers
    attributes: Mapping[str, str] = field(default_factory=dict)  # the frontend's, wherever they came from
    body: Callable[[], AsyncIterator[bytes]] | None = None  # the context as a tar, for a context of BODY
    pinned: bool = False
    generation: int = 0
    weight: int = 0

    @property
    def session_id(self) -> str:
        """The client's session."""
        return str(self.request.Session)

    def lighten(self) -> None:
        """Let go of what is of no use after its end; `weight` are the bytes that it takes then, about."""
        request = self.request
        request.FrontendInputs, request.Definition, request.Cache, self.body = {}, None, None, None
        built = sum(len(one.built.config) for one in self.references.values() if one.built is not None)
        texts = (*self.attributes.items(), *self.response.items())
        texts_size = sum(len(key) + len(value) for key, value in texts)
        self.weight = _LEAST + len(request.encode()) + self.status.weight + built + texts_size

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.peer.identity

    def keep(self, solved: Solved) -> Solved:
        """Hold what came of a Solve until the end of the job."""
        self.solved.append(solved)
        for reference in solved.results.values():
            reference.origin = solved
        return solved

    def name(self, references: Mapping[str, Reference]) -> dict[str, str]:
        """IDs by which clients know them: by platform."""
        ids = {key: secrets.token_hex(12) for key in references}
        self.references.update({ids[key]: reference for key, reference in references.items()})
        return ids

    def reference(self, ref_id: str) -> Reference:
        """Of a job that has ended only what was built, whose layers may be gone. Raises GrpcError."""
        found = self.references.get(ref_id)
        if found is None:
            raise GrpcError(2, f"no such ref: {ref_id}")
        return found

    async def wait_for_return(self) -> Solved:
        """What the client's build function returns, all of it ready. Raises GrpcError."""
        self.returned = asyncio.get_running_loop().create_future()
        solved = await self.returned
        for reference in solved.results.values():
            origin = (await reference.ready()).origin
            if origin is not None:
                solved.build, solved.dockerfile, solved.wanted = (
                    origin.build,
                    origin.dockerfile,
                    origin.wanted,
                )
        return solved

    async def close(self) -> None:
        """Cancel what still runs for it, and let all results go."""
        running = list(self.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for solved in self.solved:
            if solved.build is not None:
                solved.build.close()
        self.solved.clear()
        built = {key: Reference(one.built) for key, one in self.references.items() if one.built is not None}
        self.references = built
        while self.closers:
            await self.closers.pop().__aexit__(None, None, None)


class Jobs:
    """All jobs, by reference."""

    def __init__(self) -> None:
        self._running: dict[str, Job] = {}
        self._ended: dict[str, Job] = {}
        self._news: set[asyncio.Event] = set()

    def add(self, job: Job) -> None:
        """A build begins. Raises GrpcError."""
        if job.ref in self._running:
            raise GrpcError(2, f"job ID {job.ref} exists")
        if len(self._running) >= MAX_JOBS:
            raise GrpcError(8, f"more than {MAX_JOBS} builds at a time")
        self._running[job.ref] = job
        self._wake()

    async def end(self, job: Job) -> None:
        """It is over: its results go, its progress and outcome are remembered."""
        job.completed = time.time_ns()
        await job.close()
        job.status.end()
        self._running.pop(job.ref, None)
        job.lighten()
        self._ended[job.ref] = job  # also what is in no history: its Status may be asked for only now
        self._forget()
        self._wake()

    async def get(self, ref: str, wait: float = WAIT, *, owner: str | None = None) -> Job:
        """A job that runs, or comes within `wait` seconds. Raises GrpcError."""
        return await self._find(ref, wait, owner, ended=False)

    async def known(self, ref: str, *, owner: str | None = None) -> Job:
        """A job that runs, comes soon, or has ended. Raises GrpcError."""
        return await self._find(ref, WAIT, owner, ended=True)

    async def _find(self, ref: str, wait: float, owner: str | None, *, ended: bool) -> Job:
        with self.news() as news:
            try:
                async with asyncio.timeout(wait):
                    while True:
                        job = self._running.get(ref) or (self._ended.get(ref) if ended else None)
                        if job is not None and owner in (None, job.owner):
                            return job
                        await news.wait()
                        news.clear()
            except TimeoutError:
                raise errors.no_job(ref) from None

    def all(self, *, active: bool = False) -> list[Job]:
        """Those that have ended (unless only active ones are asked for) and those that run, oldest first."""
        return [*(() if active else self._ended.values()), *self._running.values()]

    def runs(self, job: Job) -> bool:
        """Whether it is under way."""
        return self._running.get(job.ref) is job

    def update(self, ref: str, *, pinned: bool = False, delete: bool = False) -> None:
        """Remember a build for longer, or forget it. Raises GrpcError."""
        job = self._ended.get(ref)
        if job is None:
            raise GrpcError(
                2, f"failed to retrieve bucket for {ref}: file does not exist" if not delete else ref
            )
        if delete:
            del self._ended[ref]
        else:
            job.pinned = pinned
        job.generation += 1
        self._wake()

    def news(self) -> "_News":
        """An event that is set when a job comes, ends or changes; for `with`."""
        return _News(self._news)

    def _wake(self) -> None:
        for event in self._news:
            event.set()

    def _forget(self) -> None:
        loose = [ref for ref, job in self._ended.items() if not job.pinned]
        for ref in loose[: max(0, len(loose) - MAX_ENDED)]:
            del self._ended[ref]
        size = sum(job.weight for job in self._ended.values())
        while size > MAX_KEPT and len(self._ended) > 1:
            size -= self._ended.pop(next(iter(self._ended))).weight


class _News:
    def __init__(self, events: set[asyncio.Event]) -> None:
        self._events, self._event = events, asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        self._events.add(self._event)
        return self._event

    def __exit__(self, *_: object) -> None:
        self._events.discard(self._event)

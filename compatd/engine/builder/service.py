"""`Builder`: what the doors ask; `engine.builder`."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.cache import Cache
from compatd.engine.builder.context import Contexts
from compatd.engine.builder.executor import Execution
from compatd.engine.builder.progress import Observer
from compatd.engine.builder.request import BuildRequest, BuildResult
from compatd.engine.builder.snapshots import Snapshots
from compatd.engine.images import platform as platforms
from compatd.engine.images.together import together

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]

_TOGETHER = 16  # steps that run at a time, whoever asked for them


class Builder:
    """Runs builds, and keeps their cache."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.snapshots = Snapshots(engine.images, engine.storage, engine.runtime)
        self.cache = Cache(engine.store, engine.images.index, engine.storage)
        self.contexts = Contexts(engine.storage, engine.runtime)
        self.slots = asyncio.Semaphore(_TOGETHER)
        self._builds: dict[str, asyncio.Task[Any]] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Read the cache, and remove what a killed daemon left half done."""
        self.cache.open()
        self.engine.images.index.holders.append(self.cache.held)

    async def close(self) -> None:
        """End all builds."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def build(self, request: BuildRequest, observer: Observer, *, build_id: str = "") -> BuildResult:
        """Run a build. Cancelling this ends it: all its steps are killed, and what they made is removed.

        Raises DockerfileError, BuildError (a step failed), EngineError and its kin.
        """
        task = asyncio.ensure_future(self._build(request, observer))
        self._running.add(task)
        if build_id:
            self._builds[build_id] = task
        try:
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._running.discard(task)
            if self._builds.get(build_id) is task:
                del self._builds[build_id]

    async def _build(self, request: BuildRequest, observer: Observer) -> BuildResult:
        wanted = request.platforms or (request.options.platform or platforms.host(),)
        with contextlib.ExitStack() as stack:
            pins = stack.enter_context(self.engine.images.index.pinned())
            runs = [Execution(self, request, platform, observer, pins) for platform in wanted]
            tasks = [asyncio.ensure_future(one.run()) for one in runs]
            await together(tasks)
            warnings = [one for run in runs[:1] for one in run.program.plan.linter.warnings]
            return BuildResult(tuple(task.result() for task in tasks), warnings, stack.pop_all())

    def cancel(self, build_id: str) -> bool:
        """End the build of that ID; whether there was one."""
        task = self._builds.get(build_id)
        return task.cancel() if task else False

    async def disk_usage(self) -> list[Json]:
        """The cache's records (API: BuildCache)."""
        raise NotImplementedError

    async def prune(self, filters: dict[str, list[str]], **options: Any) -> Json:
        """Remove records: {"CachesDeleted": [IDs], "SpaceReclaimed": bytes}. Raises InvalidParameter."""
        raise NotImplementedError

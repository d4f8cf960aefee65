"""`Builder`: what the doors ask; `engine.builder`."""

import asyncio
import contextlib
import logging
import os
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine import metrics
from compatd.engine.builder import selectors
from compatd.engine.builder.board import CANCELED
from compatd.engine.builder.cache import Cache
from compatd.engine.builder.context import Contexts
from compatd.engine.builder.errors import reason
from compatd.engine.builder.executor import Execution
from compatd.engine.builder.progress import Observer
from compatd.engine.builder.prune import Rule, Usage, prune, rules
from compatd.engine.builder.prune import rule as make_rule
from compatd.engine.builder.request import BuildRequest, BuildResult
from compatd.engine.builder.snapshots import Snapshots
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.images import platform as platforms
from compatd.engine.images.together import together

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]
logger = logging.getLogger(__name__)

_COLLECT, _COLLECT_AGAIN = 1.0, 60.0  # seconds after a build, and at least between two collections
_TOGETHER = 16  # steps of one owner that run at a time


class Builder:
    """Runs builds, and keeps their cache."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.snapshots = Snapshots(engine.images, engine.storage, engine.runtime)
        self.cache = Cache(engine.store, engine.images.index, engine.storage)
        self.contexts = Contexts(engine.storage, engine.runtime, self.cache)
        self._slots: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._builds: dict[tuple[str, str], asyncio.Task[Any]] = {}  # by owner, and the ID that it gave
        self._running: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()  # by `cancel`
        self._collecting: asyncio.TimerHandle | None = None
        self._collected = -_COLLECT_AGAIN

    async def open(self) -> None:
        """Read the cache, and remove what a killed daemon left half done. Raises EngineError, OSError."""
        try:
            rules(self.engine.config.builder, str(self.engine.storage.root))
        except InvalidParameter as error:
            text = f"error initializing buildkit: could not get builder GC policy: {error.message}"
            raise EngineError(text) from None
        self.cache.open()
        self.engine.images.index.holders.append(self.cache.held)

    async def close(self) -> None:
        """End all builds."""
        if self._collecting:
            self._collecting.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def build(self, request: BuildRequest, observer: Observer, *, build_id: str = "") -> BuildResult:
        """Run a build. Cancelling this ends it: all its steps are killed, and what they made is removed.

        `build_id` is what whoever asks (`request.limits`) may cancel it by.
        Raises DockerfileError, BuildError (a step failed), EngineError and its kin.
        """
        metrics.builds_triggered.add()
        task = asyncio.ensure_future(self._build(request, observer))
        self._running.add(task)
        key = request.owner, build_id
        if build_id:
            self._builds[key] = task
        taken = False
        try:
            result = await task
            taken = True
            return result
        except BaseException as error:
            metrics.builds_failed.add(reason(error))
            if isinstance(error, asyncio.CancelledError) and task in self._ended:
                raise EngineError(CANCELED) from None
            raise
        finally:
            self._ended.discard(task)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not taken and not task.cancelled() and task.exception() is None:
                task.result().close()  # a result that nobody takes any more holds no layers
            self._running.discard(task)
            if self._builds.get(key) is task:
                del self._builds[key]
            self._collect_later()

    async def _build(self, request: BuildRequest, observer: Observer) -> BuildResult:
        wanted = request.platforms or (request.options.platform or platforms.host(),)
        with contextlib.ExitStack() as stack:
            pins = stack.enter_context(self.engine.images.index.pinned())
            runs = [Execution(self, request, platform, observer, pins) for platform in wanted]
            tasks = [asyncio.ensure_future(one.run()) for one in runs]
            await together(tasks)
            warnings = [one for run in runs[:1] for one in run.program.plan.linter.warnings]
            return BuildResult(tuple(task.result() for task in tasks), warnings, stack.pop_all())

    def slots(self, owner: str) -> asyncio.Semaphore:
        """What steps run under: nobody's wait for those of others, which may never end."""
        return self._slots.setdefault(owner, asyncio.Semaphore(_TOGETHER))

    def cancel(self, build_id: str, owner: str | None = None) -> bool:
        """End the builds of that ID, of an owner or (None) anybody's; whether there was one."""
        found = [
            task for (whose, one), task in self._builds.items() if one == build_id and owner in (None, whose)
        ]
        self._ended.update(found)
        cancelled = [task.cancel() for task in found]
        return any(cancelled)

    # The cache ---------------------------------------------------------------------------------------------

    def usage(self) -> Usage:
        """The cache's records as they are now."""
        images = self.engine.images.index.images.values()
        return Usage(self.cache, (chain_id for image in images for chain_id in image.chain_ids))

    def disk_usage(self, filters: Sequence[str] = (), *, mutable: bool = False) -> list[Json]:
        """build.CacheRecord objects, of those that BuildKit's `filters` choose; with `mutable` they say so.

        Raises InvalidParameter.
        """
        usage = self.usage()
        match = selectors.parse_all(filters, "diskusage")
        found = [one for one in usage.records if match(usage.fields(one))]
        return [usage.shown(one) | ({"Mutable": one.mutable} if mutable else {}) for one in found]

    def prune(self, rule: Rule) -> tuple[list[str], int]:
        """Remove records (`prune.rule` makes a rule of a request): their IDs and bytes.

        Raises InvalidParameter.
        """
        disk = os.statvfs(self.engine.storage.root)
        return prune(self.usage(), rule, disk.f_bfree * disk.f_frsize)

    def prune_asked(self, filters: dict[str, list[str]], **sizes: Any) -> Json:
        """`POST /build/prune`: {"CachesDeleted", "SpaceReclaimed"}; `sizes`: as `prune.rule`'s.

        Raises InvalidParameter.
        """
        try:
            deleted, size = self.prune(make_rule(filters, **sizes))
        except InvalidParameter as error:
            raise InvalidParameter(f"failed to prune build cache: {error.message}") from None
        self.engine.events.emit("builder", "prune", "", {"reclaimed": str(size)})
        return {"CachesDeleted": deleted or None, "SpaceReclaimed": size}

    def collect(self) -> None:
        """Remove what daemon.json's `builder.gc` says is too much."""
        try:
            for one in rules(self.engine.config.builder, str(self.engine.storage.root)):
                self.prune(one)
        except (EngineError, OSError) as error:
            logger.error("collecting the build cache failed: %s", error)

    def _collect_later(self) -> None:
        if self._collecting is None or self._collecting.cancelled():
            loop = asyncio.get_running_loop()
            pause = max(_COLLECT, self._collected + _COLLECT_AGAIN - loop.time())
            self._collecting = loop.call_later(pause, self._collect_now)

    def _collect_now(self) -> None:
        self._collecting, self._collected = None, asyncio.get_running_loop().time()
        self.collect()

"""`Builder`: what the doors ask; `engine.builder`."""

from typing import TYPE_CHECKING, Any

from compatd.engine.builder.cache import Cache
from compatd.engine.builder.context import Contexts
from compatd.engine.builder.progress import Observer
from compatd.engine.builder.request import BuildRequest, BuildResult
from compatd.engine.builder.snapshots import Snapshots

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]


class Builder:
    """Runs builds, and keeps their cache."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.snapshots = Snapshots(engine.images, engine.storage, engine.runtime)
        self.cache = Cache(engine.store, engine.images.index, engine.storage)
        self.contexts = Contexts(engine.storage, engine.runtime)

    async def open(self) -> None:
        """Read the cache, and remove what a killed daemon left half done."""

    async def close(self) -> None:
        """End all builds."""

    async def build(self, request: BuildRequest, observer: Observer, *, build_id: str = "") -> BuildResult:
        """Run a build. Cancelling this ends it: all its steps are killed, and what they made is removed.

        Raises DockerfileError, BuildError (a step failed), EngineError and its kin.
        """
        raise NotImplementedError

    def cancel(self, build_id: str) -> bool:
        """End the build of that ID; whether there was one."""
        raise NotImplementedError

    async def disk_usage(self) -> list[Json]:
        """The cache's records (API: BuildCache)."""
        raise NotImplementedError

    async def prune(self, filters: dict[str, list[str]], **options: Any) -> Json:
        """Remove records: {"CachesDeleted": [IDs], "SpaceReclaimed": bytes}. Raises InvalidParameter."""
        raise NotImplementedError

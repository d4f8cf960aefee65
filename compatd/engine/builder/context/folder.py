"""A build context: a folder of files below the data root, and what is known of their content."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.context import reading
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.ignore import Matcher, read_patterns
from compatd.engine.builder.snapshots import Folder
from compatd.engine.containers.archive import gathered
from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.images.layers import piped
from runtime.client.types import WorkerError

if TYPE_CHECKING:
    from compatd.engine.builder.context.few import FewReceiver
    from compatd.engine.builder.context.receiving import Receiver

Json = dict[str, Any]

Progress = Callable[[str, int, int], Awaitable[None]]
"""Called with what is being done (`Downloading`, a line of git's), bytes so far, and all (0: unknown)."""

UNTAR = "runtime.storage.buildcontext:untar"
DOCKERFILE, IGNORE = "Dockerfile", ".dockerignore"


class Context:
    """The files are below `data`; `index` is where their digests are remembered. Close it in any case.

    `dockerfile_only` is set when the remote was a Dockerfile alone, `commit` when it was a git repository.
    """

    def __init__(self, folder: Path, discard: Callable[[Path], None]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.index = folder / "index"
        self.dockerfile_only: bytes | None = None
        self.commit = ""
        self._discard: Callable[[Path], None] | None = discard

    @property
    def tree(self) -> Folder:
        """For COPY and mounts."""
        return Folder(self.data)

    async def read(self, path: str) -> bytes:
        """A file of it; links are followed inside only. Raises NotFound, EngineError (too large, no file)."""
        return await asyncio.to_thread(reading.read, self.data, path)

    async def dockerfile(self, path: str = DOCKERFILE, *, classic: bool = False) -> bytes:
        """The Dockerfile; for the name `Dockerfile` also `dockerfile`. Raises EngineError in the door's
        words.

        For the classic door it (and the ignore file) is then removed from the context if the ignore file says
        so.
        """
        if self.dockerfile_only is not None:
            return self.dockerfile_only
        lower = path.removesuffix(DOCKERFILE) + DOCKERFILE.lower()
        names = [path, lower] if path.rpartition("/")[2] == DOCKERFILE else [path]
        if classic and _leaves(path):
            raise EngineError(f"forbidden path outside the build context: {path} ()")
        missing: NotFound | None = None
        for name in names:
            try:
                found = await self.read(name)
            except NotFound as error:
                missing = missing or error
                continue
            if classic:
                await self._ignore_dockerfile(name)
                if not found:
                    raise InvalidParameter(f"the Dockerfile ({name}) cannot be empty")
            return found
        if classic:
            raise EngineError(f"Cannot locate specified Dockerfile: {path}")
        assert missing is not None
        raise EngineError(f"failed to read dockerfile: {missing.message}") from None

    async def _ignore_dockerfile(self, path: str) -> None:
        try:
            patterns = read_patterns(await self.read(IGNORE))
        except NotFound:
            return
        try:
            matcher = Matcher(patterns)
        except DockerfileError:
            return
        for name in (IGNORE, path):
            if matcher.ignored(name):
                await asyncio.to_thread(reading.remove, self.data, name)

    async def ignore(self, dockerfile: str = DOCKERFILE) -> list[str]:
        """The patterns of `<dockerfile>.dockerignore`, or of `.dockerignore`; none are no error."""
        for name in (dockerfile + IGNORE, IGNORE):
            try:
                return read_patterns(await self.read(name))
            except NotFound:
                continue
        return []

    def spoil(self) -> None:
        """What is in it is half of something, and of no use to anybody later."""

    async def close(self) -> None:
        """Let it go: removed in the background, or kept for the next build of a session."""
        discard, self._discard = self._discard, None
        if discard:
            discard(self.folder)


def _leaves(path: str) -> bool:
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


@asynccontextmanager
async def filling(context: Context) -> AsyncIterator[None]:
    """Closes the context when that fails. Raises EngineError for what a worker could not."""
    try:
        yield
    except BaseException as error:
        await context.close()
        if isinstance(error, WorkerError):
            raise EngineError(str(error)) from error
        raise


class Contexts:
    """Makes contexts; one for an engine, at `Builder.contexts`."""

    def __init__(self, storage: Any, runtime: Any, cache: Any = None) -> None:
        """`cache`: the build cache, where sessions' folders stay; without one they go like all others."""
        self.storage, self.runtime, self.cache = storage, runtime, cache

    def empty(self) -> Context:
        """A new one without files. Raises EngineError."""
        folder = self.storage.tmp / f"context-{secrets.token_hex(8)}"
        try:
            folder.mkdir(mode=0o700)
            (folder / "data").mkdir(mode=0o755)
            (folder / "data").chmod(0o755)
        except OSError as error:
            raise EngineError(f"cannot make a build context: {error}") from error
        return Context(folder, self.storage.discard)

    async def from_tar(self, chunks: AsyncIterator[bytes], *, lend: Any = None) -> Context:
        """One of a (compressed) tar. Raises EngineError.

        `lend`: as for `docker cp`, gives the client's socket for the worker to read from.
        """
        context = self.empty()
        arguments: Json = {"folder": str(context.folder)}

        async def work(source: int) -> Json:
            answer: Json = await self.runtime.worker(UNTAR, arguments, [source])
            return answer

        async with filling(context):
            lent = await lend() if lend else None
            if lent:
                answer: Json = {}
                try:
                    arguments["body"] = lent.told
                    answer = await work(lent.fd)
                finally:
                    lent.give_back(answer.get("body"))
            else:
                answer = await piped(gathered(chunks), work)
            if "error" in answer:
                raise EngineError(answer["error"])
        return context

    async def from_remote(
        self, url: str, *, classic: bool = False, progress: Progress | None = None, **options: Any
    ) -> Context:
        """One of a tar's URL, a Dockerfile's, or a git repository's. Raises EngineError.

        `options`: `keep_git_dir`, `auth_token`, `auth_header` (of secrets GIT_AUTH_TOKEN, GIT_AUTH_HEADER),
        `ssh` (a Ssh, for git over ssh).
        """
        from compatd.engine.builder.context import remote

        return await remote.load(self, url, classic, progress, options)

    async def receive(self, name: str, shared_key: str, *, always: bool = False) -> "Receiver | FewReceiver":
        """One that a client's session fills (FileSync.DiffCopy); what is there of the last one is used again.

        `name`: of the local source (`context`, `dockerfile`), `shared_key`: what tells clients and folders
        apart. Nobody else gets the same folder until the context is closed. `always`: each file is asked for,
        whatever its size and time say (BuildKit: DiffNone, for Dockerfiles and ignore files).
        """
        from compatd.engine.builder.context.few import FewReceiver
        from compatd.engine.builder.context.receiving import Receiver

        if always:
            return FewReceiver(self, name, shared_key)
        return await Receiver.start(self, name, shared_key, always)

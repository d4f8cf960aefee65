"""A build context: a folder of files below the data root, and what is known of their content."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.snapshots import Folder

if TYPE_CHECKING:
    from compatd.engine.builder.context.receiving import Receiver

Json = dict[str, Any]

Progress = Callable[[str, int, int], Awaitable[None]]
"""Called with what is being done (`Downloading`, a line of git's), bytes so far, and all of them (0: unknown)."""


class Context:
    """The files are below `data`; `index` is where their digests are remembered. Close it in any case.

    `dockerfile_only` is set when the remote was a Dockerfile alone.
    """

    def __init__(self, folder: Path, discard: Callable[[Path], None]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.index = folder / "index"
        self.lock = asyncio.Lock()
        self.dockerfile_only: bytes | None = None
        self._discard = discard

    @property
    def tree(self) -> Folder:
        """For COPY and mounts."""
        return Folder(self.data)

    async def read(self, path: str) -> bytes:
        """A file of it; links are followed inside only. Raises NotFound, EngineError (too large, no file)."""
        raise NotImplementedError

    async def dockerfile(self, path: str, *, classic: bool = False) -> bytes:
        """The Dockerfile; for the name `Dockerfile` also `dockerfile`. Raises EngineError in the door's words."""
        raise NotImplementedError

    async def ignore(self, dockerfile: str) -> list[str]:
        """The patterns of `<dockerfile>.dockerignore`, or of `.dockerignore`; none are no error."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let it go: removed in the background, or kept for the next build of a session."""
        self._discard(self.folder)


class Contexts:
    """Makes contexts; one for an engine, at `Builder.contexts`."""

    def __init__(self, storage: Any, runtime: Any) -> None:
        self._storage, self._runtime = storage, runtime

    def empty(self) -> Context:
        """A new one without files."""
        raise NotImplementedError

    async def from_tar(self, chunks: AsyncIterator[bytes], *, classic: bool = False) -> Context:
        """One of a (compressed) tar. Raises EngineError."""
        raise NotImplementedError

    async def from_remote(
        self, url: str, *, classic: bool = False, progress: Progress | None = None, **options: Any
    ) -> Context:
        """One of a tar's URL, a Dockerfile's, or a git repository's. Raises EngineError.

        `options`: `keep_git_dir`, `auth_token`, `auth_header` (of secrets GIT_AUTH_TOKEN, GIT_AUTH_HEADER),
        `ssh` (a Ssh, for git over ssh).
        """
        raise NotImplementedError

    async def receive(self, name: str, shared_key: str) -> "Receiver":
        """One that a client's session fills (FileSync.DiffCopy); what is there of the last one is used again.

        `name`: of the local source (`context`, `dockerfile`), `shared_key`: what tells clients and folders
        apart. Nobody else gets the same folder until the context is closed.
        """
        raise NotImplementedError

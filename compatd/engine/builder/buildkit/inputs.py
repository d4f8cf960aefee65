"""The files of a build: Dockerfile, context and named contexts, of the client or from elsewhere.

Source: moby/buildkit frontend/dockerui (context, config, namedcontext).
"""

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.buildkit import definitions, errors
from compatd.engine.builder.buildkit.jobs import Job
from compatd.engine.builder.buildkit.lent import SessionSecrets, SessionSsh
from compatd.engine.builder.buildkit.lines import Line
from compatd.engine.builder.buildkit.locals import Locals, Wanted
from compatd.engine.builder.buildkit.named import named_contexts
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.context import Context
from compatd.engine.builder.dockerfile import gitref
from compatd.engine.builder.dockerfile.ignore import Matcher, read_patterns
from compatd.engine.builder.request import NamedContext
from compatd.engine.errors import EngineError, NotFound

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit

_UPLOADED = re.compile(r"https?://buildkit-session/")
_IGNORE = ".dockerignore"
_MAX_PARTS = 100
BODY = "http://compatd-body/context"  # the body of the request that asks for the build


class Inputs:
    """All of them, for one Solve; an async context manager. It is the build's `request.ContextSource`."""

    def __init__(
        self, kit: "BuildKit", job: Job, wanted: FrontendOptions, given: Mapping[str, Message]
    ) -> None:
        self.kit, self.job, self.wanted, self.given = kit, job, wanted, given
        self.filename = wanted.filename
        self.named: Mapping[str, NamedContext] = named_contexts(self, wanted.contexts)
        self.sessions = kit.sessions.of(job.peer.owner)
        self.locals = Locals(kit.builder.contexts, self.sessions, job.session_id, job.status)
        self._remote: Context | None = None
        self._ssh = SessionSsh(self.sessions, job.session_id)
        self._made: list[Context] = []
        self._ignore: bytes | None = None
        self._patterns: list[str] | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "Inputs":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ssh.close()
        await self.locals.close()
        while self._made:
            await self._made.pop().close()

    async def dockerfile(self) -> bytes:
        """The Dockerfile's content. Raises EngineError, GrpcError."""
        await self._fetch_remote()
        wanted = self.wanted
        if self._remote is not None and not wanted.local_dockerfile:
            if self._remote.dockerfile_only is not None:
                self.filename = "context"
                return self._remote.dockerfile_only
            return await self._read_dockerfile(self._remote)
        names = [self.filename, self.filename + _IGNORE]
        if posixpath.basename(self.filename) == "Dockerfile":
            names.append(posixpath.join(posixpath.dirname(self.filename), "dockerfile"))
        title = f"[internal] load build definition from {self.filename}"
        name = wanted.dockerfile_name
        files = await self.locals.fetch(Wanted(name, title, name, names, always=True))
        return await self._read_dockerfile(files)

    async def _read_dockerfile(self, files: Context) -> bytes:
        data = await files.dockerfile(self.filename)
        self._ignore = await _optional(files, self.filename + _IGNORE)
        return data

    async def ignore(self) -> list[str]:
        """The patterns of what the context leaves out."""
        async with self._lock:  # the builds of several platforms ask
            if self._patterns is None:
                self._patterns = await self._read_ignore()
        return self._patterns

    async def matcher(self) -> Matcher:
        """The same, for the build checks."""
        return Matcher(await self.ignore())

    async def _read_ignore(self) -> list[str]:
        data = self._ignore
        if self._remote is not None:
            return [] if data is None else read_patterns(data)
        if data is None and self.job.session_id:
            title = f"[internal] load {_IGNORE}"
            wanted = Wanted("context", title, f"context-{_IGNORE}", [_IGNORE], always=True)
            files = await self.locals.fetch(wanted)
            data = await _optional(files, _IGNORE)
        return read_patterns(data) if data else []

    async def load(self, paths: Sequence[str] | None) -> Context:
        """The build context: `request.ContextSource`."""
        if self._remote is not None:
            return self._remote
        title = "[internal] load build context"
        return await self.locals.fetch(
            Wanted("context", title, "context", _followed(paths), await self.ignore())
        )

    # remote contexts

    async def _fetch_remote(self) -> None:
        url = self.wanted.context
        if self.wanted.subfolder:
            raise errors.not_supported("a part of a context (contextsubdir)")
        if url:
            is_git = gitref.parse(url) is not None
            what = "failed to read dockerfile" if is_git else "failed to read downloaded context"
            try:
                self._remote = await self.remote(url, "[internal] load ")
            except EngineError as error:
                raise EngineError(f"{what}: failed to load cache key: {error.message}") from error
        elif "context" in self.given:
            self._remote = await definitions.files(self, self.given["context"])

    async def remote(self, url: str, title: str, *, keep_git: bool = False) -> Context:
        """Files of a git repository, or of a URL of an archive (or of a Dockerfile). Raises EngineError.

        `title` is the line of progress, whole or (`[internal] load `) without its end.
        """
        whole = not title.endswith(" load ")
        if gitref.parse(url) is not None:
            return await self.git(url, title if whole else f"{title}git source {url}", keep_git=keep_git)
        if not url.startswith(("http://", "https://")):
            raise EngineError(f"unsupported context source {url.partition(':')[0]} for context")
        name = title if whole else f"{title}remote build context"
        with Line(self.job.status, f"{self.job.ref}:{name}:{url}", name) as line:
            if url == BODY and self.job.body is not None:
                context = await self.kit.builder.contexts.from_tar(self.job.body())
            elif _UPLOADED.match(url):
                context = await self.kit.builder.contexts.from_tar(self._uploaded(url))
            else:
                context = await self.kit.builder.contexts.from_remote(url, progress=_Progress(line))
        self._made.append(context)
        if context.dockerfile_only is None:
            with Line(self.job.status, f"{self.job.ref}:unpacked:{url}", "copy /context /"):
                pass  # BuildKit unpacks in a step of its own, and people know that line
        return context

    async def git(self, url: str, title: str, *, keep_git: bool = False) -> Context:
        """Files of a git repository; the client's secrets and ssh agent may open it. Raises EngineError."""
        secrets = SessionSecrets(self.sessions, self.job.session_id)
        found: dict[str, Any] = {}
        for name, option in (("GIT_AUTH_TOKEN", "auth_token"), ("GIT_AUTH_HEADER", "auth_header")):
            try:
                found[option] = (await secrets.get(name)).decode().strip()
            except (NotFound, UnicodeDecodeError):
                continue
        with Line(self.job.status, f"{self.job.ref}:{title}:{url}", title) as line:
            context = await self.kit.builder.contexts.from_remote(
                url,
                progress=_Progress(line),
                keep_git_dir=keep_git or self.wanted.keep_git,
                ssh=self._ssh,
                **found,
            )
        self._made.append(context)
        return context

    async def _uploaded(self, url: str) -> AsyncIterator[bytes]:
        session = await self.sessions.get(self.job.session_id)
        path = "/" + url.split("/", 3)[3]
        metadata = {"urlpath": [path], "urlhost": ["buildkit-session"]}
        async with await session.client.call("/moby.upload.v1.Upload/Pull", metadata=metadata) as call:
            call.end()
            async for message in call:
                yield message.data


class _Progress:
    """What a remote's loading tells, as parts of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._parts: dict[str, tuple[Any, int]] = {}

    async def __call__(self, what: str, current: int, total: int) -> None:
        if what not in self._parts and len(self._parts) >= _MAX_PARTS:
            return  # a git server may say what it likes, as long as it likes
        part, before = self._parts.get(what) or (self._line.part(what), 0)
        part.add(current - before)
        self._parts[what] = part, current


async def _optional(files: Context, path: str) -> bytes | None:
    try:
        return await files.read(path)
    except NotFound:
        return None


def _followed(paths: Sequence[str] | None) -> list[str] | None:
    """Paths as clients want them: relative; None for all."""
    if not paths:
        return None
    cleaned = sorted({posixpath.normpath("/" + path.lstrip("/")).lstrip("/") for path in paths})
    return None if "" in cleaned else cleaned

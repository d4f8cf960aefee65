"""Contexts from somewhere else: `remote=` of the classic door, a URL instead of a folder with BuildKit.

Source: moby daemon/builder/remotecontext (classic), moby/buildkit frontend/dockerui (BuildKit): rules and
texts.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from compatd.engine.builder.context import git
from compatd.engine.builder.context.download import Response, get
from compatd.engine.builder.context.folder import Context, Contexts, Progress
from compatd.engine.builder.dockerfile import gitref
from compatd.engine.errors import EngineError, Forbidden, InvalidParameter, NotFound, Unauthorized
from runtime.storage.tarheader import BLOCK, ZERO_BLOCK, TarError, parse

Json = dict[str, Any]

_PREAMBLE = 100
_TEXT, _STREAM = "text/plain", "application/octet-stream"
_ACCEPTED = re.compile(
    r"application/(?:(?:x-)?tar|octet-stream|(?:x-)?(?:gzip|bzip2?|xz))|text/plain", re.ASCII
)
_MAGIC = ((b"BZh", "bzip2"), (b"\x1f\x8b\x08", "gzip"), (b"\xfd7zXZ\0", "xz"))
_KINDS = {404: NotFound, 400: InvalidParameter, 401: Unauthorized, 403: Forbidden}
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_HEAD = 1024
_MAX_DOCKERFILE = 16 << 20


async def load(
    contexts: Contexts, url: str, classic: bool, progress: Progress | None, options: Json
) -> Context:
    """As `Contexts.from_remote`."""
    ref = gitref.classic(url) if classic else gitref.parse(url)
    if ref is not None:
        return await git.clone(contexts, ref, classic=classic, progress=progress, **options)
    if not url.startswith(("http://", "https://")):
        raise EngineError(f"remoteURL ({url}) could not be recognized as URL")
    headers = {"Authorization": options["authorization"]} if options.get("authorization") else None
    async with _opened(url, headers, classic) as response:
        return await (_classic if classic else _buildkit)(contexts, url, response, progress)


class _opened:
    """The response of `get`, with errors in either door's words."""

    def __init__(self, url: str, headers: dict[str, str] | None, classic: bool) -> None:
        self._manager = get(url, headers)
        self._url, self._classic = url, classic

    async def __aenter__(self) -> Response:
        try:
            response = await self._manager.__aenter__()
        except EngineError as error:
            prefix = f"error downloading remote context {self._url}: " if self._classic else ""
            raise EngineError(prefix + error.message) from error
        try:
            check(self._url, response, classic=self._classic)
        except EngineError as error:
            await self._manager.__aexit__(None, None, None)
            if self._classic:
                text = f"error downloading remote context {self._url}: {error.message}"
                raise type(error)(text) from None
            raise
        return response

    async def __aexit__(self, *exc: Any) -> None:
        await self._manager.__aexit__(*exc)


def check(url: str, response: Response, *, classic: bool) -> None:
    """Raise EngineError for a status that is no success."""
    head = response.head
    if head.status < 400:
        return
    if not classic:
        raise EngineError(f"invalid response status {head.status}")
    text = f"failed to GET {url} with status {head.status} {head.phrase}: {head.body.strip()}"
    raise _KINDS.get(head.status, EngineError)(text)


async def _classic(contexts: Contexts, url: str, response: Response, progress: Progress | None) -> Context:
    chunks = response.chunks()
    first = await anext(chunks, b"")
    given = response.head.content_type
    prefix = f"error detecting content type for remote {url}: "
    if not first:
        raise EngineError(prefix + "empty response")
    kind = given if given not in ("", _STREAM) else sniffed(first[:_PREAMBLE])
    accepted = _ACCEPTED.search(kind)
    if accepted is None:
        raise EngineError(f'{prefix}unsupported Content-Type "{given}"')
    body = _counted(first, chunks, response.head.length, progress)
    if accepted[0] == _TEXT:
        context = contexts.empty()
        context.dockerfile_only = await _whole(body)
        return context
    return await contexts.from_tar(body)


def sniffed(data: bytes) -> str:
    """What Go's http.DetectContentType says, as far as it matters here."""
    if data.startswith(b"\x1f\x8b\x08"):
        return "application/x-gzip"
    return _STREAM if _BINARY.search(data) else _TEXT


async def _buildkit(contexts: Contexts, url: str, response: Response, progress: Progress | None) -> Context:
    chunks = response.chunks()
    first = b""
    async for piece in chunks:
        first += piece
        if len(first) >= _HEAD:
            break
    body = _counted(first, chunks, response.head.length, progress)
    if is_archive(first):
        return await contexts.from_tar(body)
    context = contexts.empty()
    context.dockerfile_only = await _whole(body)
    await asyncio.to_thread((context.data / "context").write_bytes, context.dockerfile_only)
    return context


def is_archive(head: bytes) -> bool:
    """Whether a context that was fetched is a (compressed) tar, by its first bytes."""
    if any(head.startswith(magic) for magic, _ in _MAGIC):
        return True
    block = head[:BLOCK]
    if len(block) < BLOCK or block == ZERO_BLOCK:
        return False
    try:
        parse(block)
    except TarError:
        return False
    return True


async def _counted(
    first: bytes, chunks: AsyncIterator[bytes], length: int, progress: Progress | None
) -> AsyncIterator[bytes]:
    done = 0
    if first:
        done += len(first)
        yield first
    async for piece in chunks:
        done += len(piece)
        if progress:
            await progress("Downloading", done, length)
        yield piece
    if progress:
        await progress("Downloading", done, length)


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    data = bytearray()
    async for piece in chunks:
        data += piece
        if len(data) > _MAX_DOCKERFILE:
            raise InvalidParameter(f"the Dockerfile is larger than {_MAX_DOCKERFILE} bytes")
    return bytes(data)

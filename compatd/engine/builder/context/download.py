"""A URL's content into a file, for remote contexts and ADD. Errors are in the words of Go's net/http."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from compatd import VERSION
from compatd.engine.builder.context.folder import Progress
from compatd.engine.errors import EngineError
from compatd.engine.images.registry.http import READ_TIMEOUT, reason
from compatd.engine.images.registry.proxies import proxy_for

_MAX_REDIRECTS = 10
_MAX_ERROR = 1 << 16
_PIECE = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(slots=True)
class Head:
    """What the server says of it. `status` with its phrase;
    `modified` in seconds, None where it is not told.
    """

    status: int
    phrase: str
    content_type: str
    length: int
    modified: int | None
    disposition: str
    body: str = ""  # of an error


class Response:
    """A response: `head`, then `save` or `chunks`."""

    def __init__(self, head: Head, response: Any) -> None:
        self.head = head
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of the body. Raises EngineError when it ends early."""
        import aiohttp

        try:
            async for piece in self._response.content.iter_chunked(_PIECE):
                yield piece
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise EngineError("unexpected EOF") from error

    async def save(self, path: Path, progress: Progress | None = None) -> str:
        """All of the body into a new file of mode 0600; its digest. Raises EngineError."""
        digest = hashlib.sha256()
        done = 0
        fd = await asyncio.to_thread(
            os.open, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        try:
            async for piece in self.chunks():
                await asyncio.to_thread(_write, fd, piece, digest)
                done += len(piece)
                if progress:
                    await progress("Downloading", done, self.head.length)
        except OSError as error:
            raise EngineError(f"write {path.name}: {os.strerror(error.errno or 0).lower()}") from error
        finally:
            os.close(fd)
        return f"sha256:{digest.hexdigest()}"


def _write(fd: int, piece: bytes, digest: Any) -> None:
    digest.update(piece)
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


@asynccontextmanager
async def get(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[Response]:
    """GET it, redirects followed. Raises EngineError (`Get "URL": dial tcp …`); any status is an answer."""
    import aiohttp
    import yarl

    first, sent = url, {"User-Agent": f"docker/{VERSION}", **(headers or {})}
    timeout = aiohttp.ClientTimeout(total=None, connect=60, sock_connect=30, sock_read=READ_TIMEOUT)
    try:
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), headers={"Accept-Encoding": "gzip"}
        ) as session:
            for _ in range(_MAX_REDIRECTS + 1):
                address = yarl.URL(url, encoded=True)
                async with session.get(
                    address, headers=sent, proxy=proxy_for(url), allow_redirects=False
                ) as response:
                    target = response.headers.get("Location")
                    if response.status in _REDIRECTS and target:
                        url, before = urljoin(url, target), url
                        if not url.startswith(("http://", "https://")):
                            raise EngineError(f'Get "{url}": unsupported protocol scheme')
                        if urlsplit(url).netloc != urlsplit(before).netloc:
                            sent = {key: value for key, value in sent.items() if key != "Authorization"}
                        continue
                    yield Response(await _head(response), response)
                    return
            raise EngineError(f'Get "{first}": stopped after {_MAX_REDIRECTS} redirects')
    except (aiohttp.ClientError, ssl.SSLError, TimeoutError, ConnectionError, ValueError) as error:
        why = await asyncio.to_thread(reason, error, url)
        raise EngineError(f'Get "{url}": {why}') from error


async def _head(response: Any) -> Head:
    headers = response.headers
    head = Head(
        response.status, response.reason or "", headers.get("Content-Type", ""), response.content_length or 0,
        _time(headers.get("Last-Modified", "")), headers.get("Content-Disposition", ""),
    )  # fmt: skip
    if head.status >= 400:
        head.body = (await response.content.read(_MAX_ERROR)).decode("utf-8", "replace")
    return head


def _time(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def url_name(url: str) -> str:
    """The last part of a URL's path, or ""."""
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]


def disposition_name(text: str) -> str:
    """The file name of a Content-Disposition header, or ""."""
    message = Message()
    message["content-disposition"] = text
    found = message.get_filename("")
    return "" if found.endswith("/") else found.rpartition("/")[2]

"""`docker import http://…`: a body from anywhere, with its progress."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from compatd.engine.errors import EngineError, InvalidParameter

Write = Callable[[dict[str, Any]], Awaitable[None]]


async def fetch(source: str, write: Write) -> AsyncIterator[bytes]:
    """The chunks of what a GET of `source` brings. Raises InvalidParameter, EngineError before the first."""
    import aiohttp

    url = source if "://" in source else f"http://{source}"
    if not url.startswith(("http://", "https://")):
        raise InvalidParameter(f'Get "{url}": unsupported protocol scheme "{url.partition("://")[0]}"')
    session = aiohttp.ClientSession(auto_decompress=False, trust_env=True)
    try:
        response = await session.get(url, timeout=aiohttp.ClientTimeout(total=None, sock_connect=30))
        if response.status >= 400:
            body = (await response.content.read(1024)).decode("utf-8", "replace")
            raise EngineError(f"failed to GET {url} with status {response.status} {response.reason}: {body}")
    except (aiohttp.ClientError, ValueError, OSError) as error:
        await session.close()
        if url in ("http://",):
            raise EngineError('Get "http:": http: no Host in request URL') from error
        raise EngineError(f'Get "{url}": {error}') from error
    except BaseException:
        await session.close()
        raise
    await write({"status": f"Downloading from {url}"})
    return _chunks(session, response, write)


async def _chunks(session: Any, response: Any, write: Write) -> AsyncIterator[bytes]:
    total = response.content_length or 0
    done = 0
    shown = 0.0
    try:
        async for chunk in response.content.iter_chunked(1 << 18):
            done += len(chunk)
            if time.monotonic() - shown >= 0.1:
                shown = time.monotonic()
                detail = {"current": done, **({"total": total} if total else {})}
                await write({"status": "Importing", "progressDetail": detail})
            yield chunk
    finally:
        response.close()
        await session.close()

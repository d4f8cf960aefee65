"""A small HTTP server for reading: GET and HEAD of few paths, an answer a connection. No bodies in."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

log = logging.getLogger(__name__)

_HEAD_LIMIT = 16 << 10
_HEAD_SECONDS = 10.0
_WRITE_SECONDS = 60.0
_MOST = 64
"""Connections at a time: more are refused, so that nobody takes the daemon's files."""


@dataclass(frozen=True)
class Page:
    """An answer; the body is bytes, or pieces as they come: then the connection lasts as long as they do."""

    body: bytes | AsyncIterator[bytes]
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Page(b"404 page not found\n", status=404, headers={"X-Content-Type-Options": "nosniff"})
Answerer = Callable[[str, Mapping[str, str]], Awaitable[Page]]
"""Gets a path and the headers, by lower case names."""


class PlainServer:
    """Asks `answer` for every request."""

    def __init__(self, answer: Answerer) -> None:
        self._answer = answer
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept connections on bound, listening sockets, which are the server's from now on."""
        for sock in sockets:
            self._servers.append(await asyncio.start_server(self._accept, sock=sock, limit=_HEAD_LIMIT))

    async def stop(self) -> None:
        """Accept no more and end what is under way."""
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            pass  # only `stop` does it, and it waits for nobody else
        except Exception:
            log.exception("a page could not be served")
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) > _MOST:
            await _send(writer, Page(b"too many connections\n", status=503), head=False)
            return
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        if method not in ("GET", "HEAD"):
            page = Page(b"only GET and HEAD\n", status=405, headers={"Allow": "GET, HEAD"})
        else:
            page = await self._answer(target.partition("?")[0], headers)
        await _send(writer, page, head=method == "HEAD", reader=reader)


async def _send(
    writer: asyncio.StreamWriter, page: Page, *, head: bool, reader: asyncio.StreamReader | None = None
) -> None:
    fields = {"Content-Type": page.content_type, **page.headers, "Connection": "close"}
    if isinstance(page.body, bytes):
        fields["Content-Length"] = str(len(page.body))
    text = f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\n"
    text += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(text.encode("latin-1") + b"\r\n")
    if head:
        pass
    elif isinstance(page.body, bytes):
        writer.write(page.body)
    else:
        assert reader is not None
        await _pour(writer, page.body, reader)
    await asyncio.wait_for(writer.drain(), _WRITE_SECONDS)


async def _pour(
    writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes], reader: asyncio.StreamReader
) -> None:
    """Write until there is no more, or the client has gone."""
    gone = asyncio.ensure_future(reader.read())

    async def write() -> None:
        async with contextlib.aclosing(pieces) as open_pieces:  # type: ignore[type-var]
            async for piece in open_pieces:
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), _WRITE_SECONDS)

    writing = asyncio.ensure_future(write())
    try:
        await asyncio.wait({gone, writing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, writing):
            task.cancel()
        results = await asyncio.gather(gone, writing, return_exceptions=True)
        log.debug("a stream has ended: %s", results[1])

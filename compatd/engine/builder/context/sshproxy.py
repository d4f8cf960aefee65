"""The client's ssh agent as a socket of this machine, for git."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_AGENT = "default"
_PIECE = 1 << 16
NOBODY = 65534


@asynccontextmanager
async def agent(ssh: Any, folder: Path) -> AsyncIterator[str]:
    """The path of a socket in `folder` that leads to `ssh` (`request.Ssh`); "" without one."""
    if ssh is None:
        yield ""
        return
    path = folder / "agent"
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await _joined(ssh, reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    os.chown(path, NOBODY, NOBODY)
    try:
        yield str(path)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        path.unlink(missing_ok=True)


async def _joined(ssh: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(Exception):
        other: socket.socket = await ssh.connect(_AGENT)
        there_reader, there_writer = await asyncio.open_connection(sock=other)
        try:
            ways = [
                asyncio.ensure_future(_pump(reader, there_writer)),
                asyncio.ensure_future(_pump(there_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            there_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()

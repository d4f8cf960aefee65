"""Bytes between a client's taken-over connection and a container's stream socket."""

import asyncio
import contextlib
import socket
from typing import Protocol

from compatd.engine.containers.attach import InputWatch

_OUTPUT = 256 * 1024
_INPUT = 64 * 1024
_HEAD = 8


class Connection(Protocol):
    """What is needed of `compatd.http.Hijacked`."""

    async def read(self, n: int = ...) -> bytes: ...
    async def write(self, data: bytes) -> None: ...


async def relay(
    client: Connection, sock: socket.socket, *, stdin: bool, watch: InputWatch | None = None
) -> None:
    """Until the socket's output ends. The client's end of input is passed on; its output goes on then.

    `watch` is shown the input. `sock` is non-blocking and stays the caller's. Raises what writing to a client
    raises that is gone.
    """
    loop = asyncio.get_running_loop()
    feeding = asyncio.ensure_future(_feed(client, sock, watch or InputWatch())) if stdin else None
    try:
        while data := await loop.sock_recv(sock, _OUTPUT):
            await client.write(data)
    except (ConnectionResetError, BrokenPipeError):
        return
    finally:
        if feeding:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await feeding


async def _feed(client: Connection, sock: socket.socket, watch: InputWatch) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await client.read(_INPUT):
            watch.saw(data)
            await loop.sock_sendall(sock, data)
        watch.saw(b"")
    except (ConnectionResetError, BrokenPipeError):
        # The process reads no more. What the client still sends is taken and dropped, as a pipe's would be.
        while await client.read(_INPUT):
            pass
        return
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


class Unframed:
    """A connection that takes stdcopy frames and passes on only what is in them, as a websocket wants it."""

    def __init__(self, client: Connection) -> None:
        self._client = client
        self._buffer = bytearray()

    async def read(self, n: int = _INPUT) -> bytes:
        """From the client."""
        return await self._client.read(n)

    async def write(self, data: bytes) -> None:
        """To the client, without heads of frames; an incomplete frame waits for its rest."""
        buffer = self._buffer
        buffer += data
        position = 0
        parts = []
        while len(buffer) - position >= _HEAD:
            length = int.from_bytes(buffer[position + 4 : position + _HEAD], "big")
            if len(buffer) - position - _HEAD < length:
                break
            parts.append(bytes(buffer[position + _HEAD : position + _HEAD + length]))
            position += _HEAD + length
        del buffer[:position]
        if parts:
            await self._client.write(b"".join(parts))

"""The output of a command, out of a shim's frames."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator

Output = Callable[[int, bytes], Awaitable[None]]

_HEADER = struct.Struct(">BxxxL")
_PIECE = 64 << 10


class Frames:
    """Takes stdcopy frames apart (1 byte stream, 3 zeros, length): what has come of one is given at once."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(stream, piece) for all that is in `data`."""
        view = memoryview(data)
        while view:
            if not self._left:
                missing = _HEADER.size - len(self._head)
                self._head += view[:missing]
                view = view[missing:]
                if len(self._head) < _HEADER.size:
                    return
                self._stream, self._left = _HEADER.unpack(self._head)
                self._head.clear()
                continue
            piece, view = bytes(view[: self._left]), view[self._left :]
            self._left -= len(piece)
            yield self._stream, piece


async def pump(sock: socket.socket, output: Output) -> None:
    """Hand on all that comes, piece by piece, until the other side closes.

    While `output` waits nothing is read: the shim then holds the command back. Raises what `output` raises.
    """
    loop, frames = asyncio.get_running_loop(), Frames()
    while True:
        try:
            data = await loop.sock_recv(sock, _PIECE)
        except ConnectionError:
            return
        if not data:
            return
        for stream, piece in frames.feed(data):
            await output(stream, piece)

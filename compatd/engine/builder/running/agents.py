"""`RUN --mount=type=ssh`: a socket in the container, whose connections go to an agent of the client's."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compatd.engine.builder.request import Ssh

_MAX_CONNECTIONS = 64
_PIECE = 64 << 10


class Agent:
    """Listens on `path`, owner and mode as given, until `close`."""

    def __init__(self, ssh: "Ssh", agent_id: str, path: Path) -> None:
        self._ssh, self._id, self.path = ssh, agent_id, path
        self._tasks: set[asyncio.Task[None]] = set()
        self._sock: socket.socket | None = None

    def open(self, uid: int, gid: int, mode: int) -> None:
        """Raises OSError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sock.bind(f"/proc/self/fd/{folder}/{self.path.name}")  # an address holds 107 bytes only
            finally:
                os.close(folder)
            os.chown(self.path, uid, gid)
            self.path.chmod(mode)
            sock.listen(_MAX_CONNECTIONS)
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        self._spawn(self._accept(sock))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(sock)
            if len(self._tasks) > _MAX_CONNECTIONS:
                client.close()
                continue
            self._spawn(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        client.setblocking(False)
        with client:
            try:
                agent = await self._ssh.connect(self._id)
            except Exception:
                return  # the client of the build is gone, or will have no more: the command sees a hang-up
            with agent:
                agent.setblocking(False)
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(client, agent))
                    group.create_task(_copy(agent, client))

    async def close(self) -> None:
        """Close all; the socket's file goes with its folder."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sock is not None:
            self._sock.close()


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the end, which is passed on."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, _PIECE):
            await loop.sock_sendall(target, data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)

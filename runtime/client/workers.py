"""Functions of `runtime.storage` run in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from runtime.client.connection import Connection, Message
from runtime.client.types import WorkerError
from runtime.client.zygote import Zygote
from runtime.shim import wire


class _Job:
    def __init__(self, sock: socket.socket) -> None:
        self.pidfd = -1
        self._sock = sock
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.connection = Connection(sock, self._event, self._closed)

    def _event(self, message: Message, fds: list[int]) -> None:
        if "started" in message and fds:
            self.pidfd = fds.pop(0)
        elif not self.answer.done():
            self.answer.set_result(message)
        wire.close_all(fds)

    def _closed(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(WorkerError("Died", "the worker process died"))

    async def kill(self) -> None:
        """Kill the process, wherever it is on its way, and wait for its end."""
        if self.connection.closed:
            return
        # From here on it cannot say "started" any more; if it has, its pidfd is in the socket.
        self._sock.shutdown(socket.SHUT_RD)
        try:
            while self.pidfd < 0:
                message, fds = wire.receive(self._sock)
                self._event(message, fds)
        except (OSError, EOFError):
            pass
        self.connection.close()
        if self.pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self.pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self.pidfd)

    def close(self) -> None:
        self.connection.close()
        if self.answer.done() and not self.answer.cancelled():
            self.answer.exception()  # looked at, so that asyncio does not complain
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


async def run(zygote: Zygote, function: str, arguments: dict[str, Any], fds: Sequence[int]) -> Any:
    """Run `module:function(arguments, fds)`, a function of `runtime.storage`, and return its JSON result.

    The descriptors stay the caller's. Raises WorkerError. When cancelled, the worker is killed first.
    """
    for attempts_left in (2, 1, 0):
        job = _Job(await zygote.launch("worker"))
        try:
            job.connection.send({"function": function, "arguments": arguments}, fds)
            answer = await job.answer
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(job.kill()))
            raise
        except WorkerError:
            if job.pidfd < 0 and attempts_left:
                continue  # it never began: the zygote died before it could fork
            raise
        finally:
            job.close()
        break
    if "error" in answer:
        raise WorkerError(answer.get("kind", "Exception"), answer["error"], answer.get("errno"))
    return answer["result"]

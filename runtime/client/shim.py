"""One connected shim, from the daemon's side."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from runtime.client.connection import Connection, Message
from runtime.client.types import RuntimeError_
from runtime.shim import wire

if TYPE_CHECKING:
    from runtime.client.runtime import Runtime


class Shim:
    """Its connection, and its events until somebody can take them."""

    def __init__(self, runtime: Runtime, container_id: str, sock: socket.socket) -> None:
        self._runtime = runtime
        self._id = container_id
        self._held: list[Message] | None = []
        self.exited = False
        self.deleted = False
        self.answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.connection = Connection(sock, self._event, self._closed)

    def _event(self, message: Message, fds: list[int]) -> None:
        wire.close_all(fds)
        if "event" in message:
            self.exited = self.exited or message["event"] == "exit"
            if self._held is not None:
                self._held.append(message)
            else:
                # Later, for who waits for an answer that came before is only woken up now.
                loop = asyncio.get_running_loop()
                loop.call_soon(self._runtime.emit, self._id, message)
        elif not self.answered.done():
            self.answered.set_result(message)

    def release(self) -> None:
        """Let events through: who started or adopted the container knows of it by now."""
        held, self._held = self._held, None
        for message in held or ():
            self._runtime.emit(self._id, message)

    def _closed(self) -> None:
        if not self.answered.done():
            self.answered.set_exception(RuntimeError_("the container's monitor died while starting", "Gone"))
            return
        self._runtime.shim_closed(self._id, self)

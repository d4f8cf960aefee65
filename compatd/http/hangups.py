"""Notices clients of upgraded connections that close for good, even while nothing is read from them.

A half-closed client looks the same to ``read``; only EPOLLHUP tells that both directions are shut. On TCP
that comes with the reset which the next write provokes.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compatd.http.protocol import Protocol


class Hangups:
    """One epoll instance for all upgraded connections of a server, itself watched by the event loop."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._watched: dict[int, Protocol] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, protocol: Protocol) -> None:
        """Calls ``protocol.client_gone()`` once its client has closed."""
        sock = protocol.transport.get_extra_info("socket") if protocol.transport else None
        if sock is None:
            return
        if self._epoll is None:
            self._loop = asyncio.get_running_loop()
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._ready)
        fd: int = sock.fileno()
        try:
            self._epoll.register(fd, 0)  # EPOLLHUP and EPOLLERR are always reported
        except FileExistsError:
            self._epoll.modify(fd, 0)
        except OSError:
            return
        self._watched[fd] = protocol
        protocol.watched_fd = fd

    def forget(self, protocol: Protocol) -> None:
        """No more news of this connection."""
        fd, protocol.watched_fd = protocol.watched_fd, -1
        if fd < 0 or self._watched.get(fd) is not protocol:
            return
        del self._watched[fd]
        if self._epoll is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # closed already

    def _ready(self) -> None:
        assert self._epoll is not None
        for fd, _ in self._epoll.poll(0):
            protocol = self._watched.get(fd)
            if protocol is None:
                try:
                    self._epoll.unregister(fd)
                except OSError:
                    pass
                continue
            self.forget(protocol)
            protocol.client_gone()

    def close(self) -> None:
        """Ends the watch over all."""
        if self._epoll is not None and self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        self._watched.clear()

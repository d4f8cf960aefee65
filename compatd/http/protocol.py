"""A connection: Sanic's HTTP protocol, taught hijacking, half-closed clients and Go's manners.

Differences from Sanic's own: no timeouts at all (``events`` and ``logs -f`` idle for days); what is still
unsent when a connection ends goes out however slowly the client reads; a client that has closed its sending
side gets the answer to what it sent; and a connection that was upgraded belongs to the handler.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from compatd.http.exchange import ClientGone, Exchange

if TYPE_CHECKING:
    from compatd.http.call import Call
    from compatd.http.server import Server

log = logging.getLogger(__name__)

READ_AHEAD = 256 * 1024  # bytes received and not yet taken before reading pauses
WRITE_HIGH = 512 * 1024  # bytes unsent before writers wait, and where they go on
WRITE_LOW = 128 * 1024


class Protocol(HttpProtocol):
    """One connection. ``call`` is what is being answered, ``caller`` for whom (as the gate
    sees it), ``at_eof`` that the client sends no more."""

    __slots__ = (
        "_paused",
        "at_eof",
        "call",
        "caller",
        "detached",
        "hijacked",
        "lost",
        "server",
        "watched_fd",
    )

    HTTP_CLASS = Exchange
    transport: asyncio.Transport | None

    def __init__(self, *, server: Server, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.server = server
        self.call: Call | None = None
        self.caller: Any = None
        self.at_eof = False
        self.hijacked = False
        self.detached = False
        self.lost = False
        self._paused = False
        self.watched_fd = -1

    # what asyncio calls

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[no-untyped-call]
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)

    def data_received(self, data: bytes) -> None:
        self.recv_buffer += data
        if len(self.recv_buffer) >= READ_AHEAD and not self._paused and self.transport:
            self._paused = True
            self.transport.pause_reading()
        self._data_received.set()

    def eof_received(self) -> bool:
        """True keeps the sending side open."""
        self.at_eof = True
        self._data_received.set()
        if self.hijacked:
            return True
        if self.call is None and not self.recv_buffer:
            return False
        self.client_gone()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.server.hangups.forget(self)
        self.connections.discard(self)
        self.lost = self.at_eof = True
        if self.conn_info:
            self.conn_info.lost = True
        self._can_write.set()
        self._data_received.set()
        self.client_gone()

    def client_gone(self) -> None:
        """Tells the handler; ends it if what it does is of no use without a client."""
        call = self.call
        if call is not None:
            call.gone.set()
            if call.abandonable and self._task:
                self._task.cancel()

    # what the exchange calls

    async def connection_task(self) -> None:
        try:
            self._setup_connection()  # type: ignore[no-untyped-call]
            await self._http.http1()
        except (CancelledError, ClientGone):
            pass
        except Exception:
            log.exception("connection ended by an error")
        finally:
            self.call = None
            self._http = None
            self._task = None
            self.close()

    def check_timeouts(self) -> None:
        """None of Sanic's timeouts apply."""

    async def send(self, data: bytes) -> None:
        """Writes, after waiting for room. Raises ClientGone."""
        if not self._can_write.is_set():
            await self._can_write.wait()
        if self.lost or self.transport is None or self.transport.is_closing():
            raise ClientGone
        self.transport.write(data)

    async def receive_more(self) -> None:
        """Waits for more bytes in ``recv_buffer``. Raises ClientGone when none will come."""
        if self.at_eof:
            raise ClientGone
        self._data_received.clear()
        if self._paused and self.transport:
            self._paused = False
            self.transport.resume_reading()
        await self._data_received.wait()
        if self.at_eof and not self.recv_buffer:
            raise ClientGone

    async def drained(self) -> None:
        """Waits until all that was written is with the kernel. Raises ClientGone."""
        while self.transport is not None and not self.lost and self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)
            self._can_write.clear()
            await self._can_write.wait()
        if self.lost or self.transport is None:
            raise ClientGone
        self.transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)

    def write_eof(self) -> None:
        """Closes the sending side, after what is unsent."""
        if self.transport and not self.lost and not self.transport.is_closing():
            try:
                self.transport.write_eof()
            except (OSError, RuntimeError):
                pass  # the connection is going down at this moment

    async def linger(self, timeout: float) -> None:
        """Closes the sending side and swallows what the client still sends until it closes too.

        A socket closed with bytes unread resets the connection, and the client may lose the answer's end.
        """
        self.write_eof()
        try:
            async with asyncio.timeout(timeout):
                while not self.at_eof:
                    self.recv_buffer.clear()
                    await self.receive_more()
        except (TimeoutError, ClientGone):
            pass

    def close(self, timeout: float | None = None) -> None:
        """Closes after what is unsent has been sent, however long that takes."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    @property
    def busy(self) -> bool:
        """A request is being received or answered."""
        return self._http is not None and self._http.stage is not Stage.IDLE

"""A request's body read by somebody else: the client's socket is lent for as long as the body lasts.

Gigabytes that a worker unpacks then do not pass through the daemon.
"""

from __future__ import annotations

import base64
import socket
from typing import Any

from compatd.http.call import Call
from compatd.http.exchange import ClientGone


class Lent:
    """`fd`: the socket (non-blocking, closed by `give_back`); `told`: what the reader must know of the body.

    `told` and what `give_back` takes are those of `runtime.storage.bodystream`.
    """

    def __init__(self, call: Call) -> None:
        protocol, exchange = call._protocol, call._exchange
        assert protocol.transport is not None
        self._protocol, self._exchange = protocol, exchange
        self.fd = socket.dup(protocol.transport.get_extra_info("socket").fileno())
        protocol.transport.pause_reading()
        protocol._paused = True
        self.told: dict[str, Any] = {
            "early": base64.b64encode(protocol.recv_buffer).decode(),
            "chunked": exchange.request_body == "chunked",
            "left": exchange.request_bytes_left or 0,
            "after_chunk": exchange.after_chunk,
        }
        protocol.recv_buffer.clear()

    def give_back(self, state: dict[str, Any] | None) -> None:
        """The reader is done, at the body's end or before: then the connection ends with the answer."""
        socket.close(self.fd)
        exchange = self._exchange
        exchange.request_body = None
        exchange.request_bytes_left = 0
        if state and state["whole"]:
            self._protocol.recv_buffer += base64.b64decode(state["rest"])
        else:
            exchange.keep_alive = False
        if self._protocol.transport is not None and self._protocol._paused:
            self._protocol._paused = False
            self._protocol.transport.resume_reading()  # or nobody would see that the client goes away


async def lend(call: Call) -> Lent | None:
    """The body's socket; None when it cannot be lent: TLS, no body, or a client that has gone.

    Between this and `give_back` nothing may be read of the call. Raises ClientGone.
    """
    protocol, exchange = call._protocol, call._exchange
    transport = protocol.transport
    if transport is None or protocol.lost:
        raise ClientGone
    if not exchange.request_body or protocol.at_eof or transport.get_extra_info("ssl_object") is not None:
        return None
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return None
    if exchange.expecting_continue:
        exchange.expecting_continue = False
        await protocol.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Lent(call)

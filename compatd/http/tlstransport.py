"""TLS between a socket's transport and a protocol, with half-closed connections.

What asyncio and uvloop offer drops everything at the client's close_notify; but `echo x | docker exec -i c
cat` wants its answer after that. Here either side may end while the other goes on (RFC 8446, 6.1).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import OrderedDict
from typing import Any

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 20.0
HANDSHAKES = 512  # under way at once; beyond, the oldest one is given up
_RECORD = 64 * 1024
_PLAIN = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"DELET", b"OPTIO")
_NOT_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class Handshakes:
    """Those under way at a server, oldest first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Layer, asyncio.TimerHandle] = OrderedDict()

    def begin(self, layer: Layer) -> None:
        """Bounds the time of a handshake and how many there are."""
        if len(self._waiting) >= HANDSHAKES:
            oldest = next(iter(self._waiting))
            oldest.give_up("too many handshakes at once")
        loop = asyncio.get_running_loop()
        self._waiting[layer] = loop.call_later(HANDSHAKE_SECONDS, layer.give_up, "handshake timed out")

    def end(self, layer: Layer) -> None:
        """It is done, or its connection is gone."""
        timer = self._waiting.pop(layer, None)
        if timer is not None:
            timer.cancel()

    def __len__(self) -> int:
        return len(self._waiting)


class Layer(asyncio.Protocol):
    """The protocol of the socket's transport, and by `Transport` what `inner` takes for its own."""

    def __init__(self, context: ssl.SSLContext, inner: asyncio.Protocol, handshakes: Handshakes) -> None:
        self.inner = inner
        self.raw: asyncio.Transport | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._handshakes = handshakes
        self._first = b""
        self.ready = False
        self.eof_in = False  # the client sends no more
        self.eof_out = False  # we send no more
        self.paused = False
        self.transport = Transport(self)

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = transport  # type: ignore[assignment]
        self._handshakes.begin(self)

    def data_received(self, data: bytes) -> None:
        if not self.ready and len(self._first) < len(_PLAIN[0]):
            self._first += data[: len(_PLAIN[0])]
        self._incoming.write(data)
        if not self.ready:
            self._shake_hands()
        if self.ready:
            self.pump()

    def eof_received(self) -> bool:
        if not self.ready:
            return False
        self.pump()
        return self._end_of_input()

    def pause_writing(self) -> None:
        if self.ready:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self.ready:
            self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handshakes.end(self)
        if self.ready:
            self.inner.connection_lost(exc)

    # the handshake

    def _shake_hands(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return
        except ssl.SSLError as error:
            self.flush()  # the alert tells the client why
            if self._first.startswith(_PLAIN) and self.raw is not None:
                self.raw.write(_NOT_TLS)
            self._failed(error.reason or str(error))
            return
        self.flush()
        self._handshakes.end(self)
        self.ready = True
        self.inner.connection_made(self.transport)

    def _failed(self, why: str) -> None:
        self._handshakes.end(self)
        if self.raw is not None and not self.raw.is_closing():
            log.debug("http: TLS handshake error from %s: %s", self.raw.get_extra_info("peername"), why)
            self.raw.close()

    def give_up(self, why: str) -> None:
        """Ends a connection that has not come to its handshake's end."""
        self._failed(why)
        if self.raw is not None:
            self.raw.abort()

    # bytes

    def pump(self, *, even_paused: bool = False) -> None:
        """Decrypts what has come and hands it on."""
        while not self.eof_in and (even_paused or not self.paused):
            try:
                data = self.tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                log.debug("TLS connection broken: %s", error)
                self.flush()
                self.abort()
                return
            if not data:
                if not self._end_of_input():
                    return
                break
            self.inner.data_received(data)
        self.flush()

    def _end_of_input(self) -> bool:
        """The client has closed its side; closes ours, too, unless the protocol wants to go on."""
        if self.eof_in:
            return True
        self.eof_in = True
        if self.inner.eof_received():
            return True
        self.close()
        return False

    def flush(self) -> None:
        """Gives the socket what there is to send."""
        if self._outgoing.pending and self.raw is not None and not self.raw.is_closing():
            self.raw.write(self._outgoing.read())

    def write(self, data: bytes) -> None:
        """Encrypts and sends; nothing after the end of output."""
        if not data or self.eof_out or self.raw is None or self.raw.is_closing():
            return
        try:
            self.tls.write(data)
        except ssl.SSLError as error:
            log.debug("TLS connection broken: %s", error)
            self.abort()
            return
        self.flush()

    def write_eof(self) -> None:
        """Sends close_notify; what the client still sends goes on being read."""
        if self.eof_out or self.raw is None or self.raw.is_closing():
            return
        self.pump(even_paused=True)  # OpenSSL refuses data in its way when it looks for the answer
        self.eof_out = True
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # the client has not closed yet
        self.flush()

    def close(self) -> None:
        """Says goodbye; the socket closes when all is sent."""
        self.write_eof()
        if self.raw is not None:
            self.raw.close()

    def abort(self) -> None:
        """Ends at once."""
        if self.raw is not None:
            self.raw.abort()


class Transport(asyncio.Transport):
    """What a protocol sees of a Layer."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = layer

    @property
    def _raw(self) -> asyncio.Transport:
        assert self._layer.raw is not None
        return self._layer.raw

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` and `peercert` beside the socket's own."""
        if name == "ssl_object":
            return self._layer.tls
        if name == "peercert":
            return self._layer.tls.getpeercert()
        return self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """The socket closes, or has."""
        return self._raw.is_closing()

    def is_reading(self) -> bool:
        """Reading is not paused."""
        return not self._layer.paused

    def pause_reading(self) -> None:
        """No more data until `resume_reading`."""
        self._layer.paused = True
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Data again, what was held back first."""
        self._layer.paused = False
        if not self._raw.is_closing():
            self._raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._layer.pump)

    def write(self, data: Any) -> None:
        """Sends."""
        self._layer.write(data)

    def writelines(self, list_of_data: Any) -> None:
        """Sends them as one."""
        self._layer.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Closes the sending side."""
        self._layer.write_eof()

    def can_write_eof(self) -> bool:
        """Either side ends by itself."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Those of the socket."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._raw.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over."""
        self._layer.inner = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who gets the data."""
        return self._layer.inner

    def close(self) -> None:
        """As soon as all is sent."""
        self._layer.close()

    def abort(self) -> None:
        """At once."""
        self._layer.abort()

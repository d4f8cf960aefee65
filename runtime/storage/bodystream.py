"""The body of an HTTP request, read by a worker from the client's own socket.

The bytes then go from client to worker, and the daemon touches none of them. What has been received before
comes as `early`. Framing: RFC 9112, 6 and 7.1 (chunked; extensions and trailers are passed over).
"""

from __future__ import annotations

import base64
import os
import select
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_PIECE = 1 << 20
_LINE_MAX = 4096
_DIGITS = b"0123456789abcdefABCDEF"


class Cut(Exception):
    """The client went away before the body's end."""


class Malformed(Exception):
    """The chunks' framing is broken."""


class Body:
    """Iterate `pieces()`; `state()` says what is left over, for whoever reads the connection on.

    `told`: {"early": base64 of bytes received already, "chunked", "left": bytes left of the chunk (or of a
    body that is not chunked), "after_chunk": a chunk's data has ended, its line end has not been read}.
    """

    def __init__(self, sock: int, told: Json) -> None:
        self._sock = sock
        self._poll = select.poll()  # the socket is the daemon's, too: it does not block
        self._poll.register(sock, select.POLLIN)
        self._buffer = bytearray(base64.b64decode(told["early"]))
        self._chunked = told["chunked"]
        self._left = told["left"]
        self._after_chunk = told["after_chunk"]
        self.whole = not self._chunked and not self._left

    def _receive(self) -> bytes:
        while True:
            try:
                data = os.read(self._sock, _PIECE)
            except BlockingIOError:
                self._poll.poll()
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise Cut
            return data

    def _line(self) -> bytes:
        buffer = self._buffer
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > _LINE_MAX:
                raise Malformed
            buffer += self._receive()
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line[:-1] if line.endswith(b"\r") else line

    def _next_chunk(self) -> None:
        if self._after_chunk and self._line():
            raise Malformed
        self._after_chunk = False
        digits = self._line().partition(b";")[0].strip()
        if not digits or len(digits) > 16 or digits.strip(_DIGITS):
            raise Malformed
        self._left = int(digits, 16)
        if self._left:
            return
        taken = 0
        while trailer := self._line():
            taken += len(trailer)
            if taken > _LINE_MAX:
                raise Malformed
        self.whole = True

    def pieces(self) -> Iterator[bytes]:
        """The body's bytes. Raises Cut, Malformed, OSError."""
        buffer = self._buffer
        while not self.whole:
            if not self._left:
                self._next_chunk()
                continue
            if buffer:
                data = bytes(buffer[: self._left])
                del buffer[: self._left]
            else:
                data = self._receive()
                if len(data) > self._left:
                    buffer += data[self._left :]
                    data = data[: self._left]
            self._left -= len(data)
            if not self._left:
                self._after_chunk = self._chunked
                self.whole = not self._chunked
            yield data

    def state(self) -> Json:
        """{"whole": whether the body was read to its end, "rest": base64 of what came after it}."""
        return {"whole": self.whole, "rest": base64.b64encode(self._buffer if self.whole else b"").decode()}

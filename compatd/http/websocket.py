"""``attach/ws``: a WebSocket that looks like any other connection taken over. Framing is websockets'."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as Framing

from compatd.http.exchange import ClientGone
from compatd.http.streams import Hijacked

if TYPE_CHECKING:
    from compatd.http.call import Call
    from compatd.http.head import Head
    from compatd.http.protocol import Protocol

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_MAX_FRAME = 32 << 20


def handshake(head: Head) -> tuple[bool, str]:
    """Whether the client's opening is right, and what answers it, as Go's x/net/websocket has it."""
    headers = head.headers
    key = headers.get("sec-websocket-key", "")
    upgrade = headers.get("upgrade", "").lower() == "websocket"
    if not upgrade or "upgrade" not in headers.get("connection", "").lower():
        return False, "HTTP/1.1 400 Bad Request\r\n\r\nnot websocket protocol"
    if not key:
        return False, "HTTP/1.1 400 Bad Request\r\n\r\nmismatch challenge/response"
    if headers.get("sec-websocket-version") != "13":
        return False, (
            "HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n\r\nmissing or bad WebSocket Version"
        )
    accept = b64encode(sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
    lines = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    wanted = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    if len(wanted) == 1 and wanted[0]:
        lines += f"Sec-WebSocket-Protocol: {wanted[0]}\r\n"
    return True, f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n"


class WebSocket(Hijacked):
    """Reads messages' bytes, of either kind, one after another; writes each piece as a message."""

    def __init__(self, call: Call, protocol: Protocol, *, binary: bool) -> None:
        super().__init__(call, protocol)
        self._framing = Framing(SERVER, state=State.OPEN, max_size=_MAX_FRAME)
        self._binary = binary
        self._received = bytearray()
        self._over = False

    async def read(self, n: int = 65536) -> bytes:
        """Up to ``n`` bytes that the client sent, b"" once it has closed."""
        while not self._received and not self._over:
            data = await super().read(65536)
            if data:
                self._framing.receive_data(data)
            else:
                self._framing.receive_eof()
                self._over = True
            for frame in self._framing.events_received():
                if not isinstance(frame, Frame):
                    continue
                if frame.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                    self._received += frame.data
                elif frame.opcode == Opcode.CLOSE:
                    self._over = True
            if self._framing.parser_exc is not None:
                self._over = True
            try:
                await self._flush()
            except ClientGone:
                self._over = True
        data = bytes(self._received[:n])
        del self._received[:n]
        return data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends ``data`` as one message. Raises ClientGone."""
        if self._framing.state is not State.OPEN:
            raise ClientGone
        if self._binary:
            self._framing.send_binary(bytes(data))
        else:
            self._framing.send_text(bytes(data).decode("utf-8", "replace").encode())
        await self._flush()

    async def write_eof(self) -> None:
        """A WebSocket has no half-close: it is closed."""
        if self._framing.state is State.OPEN:
            self._framing.send_close(CloseCode.NORMAL_CLOSURE)
            await self._flush()
        await super().write_eof()

    async def _flush(self) -> None:
        for piece in self._framing.data_to_send():
            if piece:
                await self._protocol.send(piece)
            else:
                await super().write_eof()

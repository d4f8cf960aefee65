"""Graylog Extended Log Format 1.1: JSON in packed, chunked datagrams, or ended by a zero byte over TCP."""

from __future__ import annotations

import os

from runtime.logs.jsonfile import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.logs.messages import Message

#: The largest datagram, its head with magic, ID, number and count included.
CHUNK = 1420
_HEAD = 12
_MOST = 128
_WINDOWS = {"gzip": 31, "zlib": 15}  # zlib's wbits
_LEVELS = {1: 6, 2: 3}  # informational, error


def chunks(data: bytes) -> list[bytes]:
    """The datagrams of one message; none when it would need more than 128."""
    if len(data) <= CHUNK:
        return [data]
    size = CHUNK - _HEAD
    count = (len(data) + size - 1) // size
    if count > _MOST:
        return []
    head = b"\x1e\x0f" + os.urandom(8)
    return [head + bytes((n, count)) + data[n * size : (n + 1) * size] for n in range(count)]


class Gelf:
    """Encodes messages; `server` is where they go (see Channel)."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options`: server, compression (gzip, zlib, none), level (-1 to 9), extra (fields for all)."""
        from runtime.shim.log import go_json

        self.server: dict[str, Any] = options["server"]
        self._datagrams = self.server["network"] == "udp"
        self._window = _WINDOWS.get(options.get("compression", "gzip"), 0)
        self._level: int = options.get("level", 1)
        host = escape(os.uname().nodename.encode())
        self._head = b'{"version":"1.1","host":"' + host + b'","short_message":"'
        extra = go_json(options["extra"])[1:-1]
        self._tail = b"," + extra + b"}" if extra else b"}"

    def encode(self, message: Message) -> list[bytes]:
        """The datagrams, or pieces of a stream, for a message; an empty line is none."""
        if not message.line:
            return []
        moment = f"{message.at // 1_000_000 / 1000}".removesuffix(".0")
        middle = f'","timestamp":{moment},"level":{_LEVELS[message.stream]}'.encode()
        text = self._head + escape(message.line) + middle + self._tail
        if not self._datagrams:
            return [text + b"\0"]
        if self._window:
            import zlib

            packer = zlib.compressobj(self._level, zlib.DEFLATED, self._window)
            text = packer.compress(text) + packer.flush()
        return chunks(text)

"""What a handler gives back, and how it becomes bytes as an engine written in Go would write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

NO_HEADERS: Mapping[str, str] = {}

_HTML = ((b"<", rb"\u003c"), (b">", rb"\u003e"), (b"&", rb"\u0026"))
_SEPARATORS = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


class Json:
    """A JSON answer. ``value`` is in the newest API shape; with ``gated`` False it goes as it is to all."""

    __slots__ = ("gated", "headers", "status", "value")

    def __init__(
        self, value: Any, status: int = 200, *, headers: Mapping[str, str] = NO_HEADERS, gated: bool = True
    ) -> None:
        self.value = value
        self.status = status
        self.headers = headers
        self.gated = gated


class Empty:
    """An answer without a body."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int = 204, *, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.status = status
        self.headers = headers


class Raw:
    """An answer whose bytes are given."""

    __slots__ = ("content_type", "data", "headers", "status")

    def __init__(
        self,
        data: bytes,
        content_type: str = "application/octet-stream",
        status: int = 200,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.data = data
        self.content_type = content_type
        self.status = status
        self.headers = headers


class Text(Raw):
    """A plain text answer."""

    __slots__ = ()

    def __init__(self, text: str, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(text.encode(errors="replace"), "text/plain; charset=utf-8", status, headers)


Answer = Json | Empty | Raw


def encode(value: Any, *, html: bool = False) -> bytes:
    """Compact JSON of ``value``, without a line end; ``html`` also escapes ``<``, ``>`` and ``&``.

    An engine escapes these three in what it streams (progress, events, stats) but not in its plain answers.
    U+2028 and U+2029 are escaped in both. Text that is no valid UTF-8 becomes U+FFFD.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:
        data = orjson.dumps(_sendable(value), option=orjson.OPT_NON_STR_KEYS)
    if b"\xe2\x80" in data:
        for plain, escaped in _SEPARATORS:
            data = data.replace(plain, escaped)
    if html:
        for plain, escaped in _HTML:
            if plain in data:
                data = data.replace(plain, escaped)
    return data


def _sendable(value: Any) -> Any:
    """``value`` with lone surrogates replaced (names of files that are not UTF-8)."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_sendable(key): _sendable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(item) for item in value]
    return value

"""The head of a request: what Go's HTTP server takes, and how it refuses what it does not.

A refusal is a short text answer with its text in the status line too, after which the connection ends.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

LIMIT = (1 << 20) + 4096  # bytes of a head, the default of Go's server and its slack

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])\Z")


class Refused(Exception):
    """The head can't be served. ``status`` is a status line's rest, such as ``400 Bad Request``; the body's
    text is the same unless given.
    """

    def __init__(self, status: str = "400 Bad Request", text: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.text = text or status


class Head:
    """A parsed head.

    path: decoded, not cleaned. query: as it came. headers: lower-case names, several joined by ", ".
    prior_knowledge: the client speaks HTTP/2 without having asked.
    minor: of the HTTP version (0 or 1). length: of the body in bytes, 0 without one; chunked excludes it.
    """

    __slots__ = (
        "chunked",
        "expects_continue",
        "headers",
        "keep_alive",
        "length",
        "method",
        "minor",
        "path",
        "prior_knowledge",
        "query",
    )

    def __init__(self, method: str, path: str, query: str, minor: int, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.minor = minor
        self.headers = headers
        self.prior_knowledge = False
        connection = headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection if minor else "keep-alive" in connection
        self.chunked = False
        self.length = 0
        self.expects_continue = minor == 1 and "100-continue" in headers.get("expect", "").lower()
        if "transfer-encoding" in headers and minor:
            if headers["transfer-encoding"].lower() != "chunked":
                raise Refused("501 Not Implemented", "Unsupported transfer encoding")
            self.chunked = True
        elif "content-length" in headers:
            self.length = _length(headers["content-length"])


HTTP2 = b"PRI * HTTP/2.0"
"""The head that a client's HTTP/2 begins with (RFC 9113, 3.4)."""


def http2() -> Head:
    """HTTP/2 with prior knowledge, as the request that the same client would have upgraded with."""
    head = Head("POST", "/grpc", "", 1, {"connection": "Upgrade", "upgrade": "h2c", "host": ""})
    head.prior_knowledge = True
    return head


def end_of_head(buffer: bytearray, start: int) -> tuple[int, int]:
    """Where the head ends and where what follows begins, looking from ``start``; (-1, -1) when not yet there.

    Lines may end in LF alone.
    """
    end = buffer.find(b"\r\n\r\n", start)
    bare = buffer.find(b"\n\n", start, end + 1 if end >= 0 else len(buffer))
    if bare >= 0:
        return bare, bare + 2
    return (end, end + 4) if end >= 0 else (-1, -1)


def parse(data: bytes) -> Head:
    """The head of the given bytes (without the empty line at its end). Raises Refused."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    parts = lines[0].rstrip("\r").split(" ", 2)
    if len(parts) != 3:
        raise Refused
    method, target, protocol = parts
    if protocol == "HTTP/1.1":
        minor = 1
    else:
        version = _VERSION.match(protocol)
        if not version:
            raise Refused
        if version[1] != "1":
            raise Refused("505 HTTP Version Not Supported: unsupported protocol version")
        minor = min(int(version[2]), 1)
    if not _TOKEN.match(method):
        raise Refused
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.match(name):
            raise Refused
        name = name.lower()
        value = value.strip(" \t\r")
        if name not in headers:
            headers[name] = value
        elif name == "host":
            raise Refused("400 Bad Request: too many Host headers")
        elif name != "content-length" or headers[name] != value:
            headers[name] += f", {value}"
    if minor and "host" not in headers:
        raise Refused("400 Bad Request: missing required Host header")
    path, query = _target(target)
    return Head(method, path, query, minor, headers)


def _target(target: str) -> tuple[str, str]:
    if _CONTROL.search(target) or not target:
        raise Refused
    if target[0] != "/":
        scheme, slashes, rest = target.partition("://")
        if slashes and scheme.lower() in ("http", "https"):
            target = "/" + rest.partition("/")[2]
        elif target != "*":
            raise Refused
    path, _, query = target.partition("?")
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise Refused
        path = unquote_to_bytes(path).decode("utf-8", "surrogateescape")
    return path, query


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Refused
    return int(text)

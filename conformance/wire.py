"""A Docker API client that hides nothing: HTTP/1.1 on the engine's socket, byte by byte where needed."""

import contextlib
import http.client
import json
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

TIMEOUT = 60.0


@dataclass
class Answer:
    """A whole answer. `headers` are keyed in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The text of an error answer."""
        return str(json.loads(self.body)["message"])


def demux(data: bytes) -> tuple[bytes, bytes]:
    """Split Docker's multiplexed stream (8-byte header: stream, three zeros, size) into stdout and stderr."""
    out = {1: bytearray(), 2: bytearray()}
    for kind, payload in frames(data):
        out[kind] += payload
    return bytes(out[1]), bytes(out[2])


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a multiplexed stream. Raises AssertionError when it is not one, or is cut."""
    found = []
    position = 0
    while position < len(data):
        header = data[position : position + 8]
        assert len(header) == 8, f"cut header {header!r}"
        kind, size = struct.unpack(">B3xI", header)
        assert header[1:4] == b"\0\0\0" and kind in {0, 1, 2}, f"no frame header: {header!r}"
        payload = data[position + 8 : position + 8 + size]
        assert len(payload) == size, f"cut frame: {len(payload)} of {size} bytes"
        found.append((kind, payload))
        position += 8 + size
    return found


@dataclass
class Hijacked:
    """A connection after the switch to raw bytes."""

    sock: socket.socket
    status: int
    headers: dict[str, str]
    pending: bytearray = field(default_factory=bytearray)

    def read(self, n: int = 65536) -> bytes:
        """Up to n bytes; b"" at the end."""
        if self.pending:
            data = bytes(self.pending[:n])
            del self.pending[:n]
            return data
        return self.sock.recv(n)

    def read_all(self) -> bytes:
        return b"".join(iter(self.read, b""))

    def read_until(self, end: bytes) -> bytes:
        """Bytes up to and with `end`. Raises AssertionError when the stream ends before."""
        data = bytearray()
        while end not in data:
            more = self.read()
            assert more, f"ended before {end!r}: {bytes(data)!r}"
            data += more
        return bytes(data)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def end_input(self) -> None:
        """Half-close: no more from us, but we go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> "Hijacked":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, wire: "Wire") -> None:
        super().__init__("d")
        self.wire = wire

    def connect(self) -> None:
        self.sock = self.wire.connect()


class Wire:
    """Requests to one engine, `host` as in DOCKER_HOST (unix:// or tcp://)."""

    def __init__(self, host: str, timeout: float = TIMEOUT) -> None:
        self.host = host
        self.timeout = timeout

    def connect(self) -> socket.socket:
        parts = urlsplit(self.host)
        if parts.scheme == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(self.timeout)
            sock.connect(parts.path)
            return sock
        assert parts.scheme == "tcp", f"this suite speaks unix:// and tcp://, not {self.host}"
        return socket.create_connection((parts.hostname, parts.port), self.timeout)

    @staticmethod
    def path(path: str, version: str = "", /, **query: Any) -> str:
        """`/v1.41/x?…`; dict and list values go as JSON, booleans as 1 and 0, tuples are repeated."""
        texts: dict[str, Any] = {}
        for key, value in query.items():
            if isinstance(value, bool):
                value = int(value)
            texts[key] = json.dumps(value) if isinstance(value, dict | list) else str(value)
            if isinstance(value, tuple):
                texts[key] = [str(item) for item in value]
        prefix = f"/v{version}" if version else ""
        return prefix + quote(path, safe="/:@%") + ("?" + urlencode(texts, doseq=True) if texts else "")

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        /,
        *,
        version: str = "",
        headers: dict[str, str] | None = None,
        parameters: Any = None,
        **query: Any,
    ) -> Answer:
        """One request, the whole answer. A body that is not bytes goes as JSON.

        `parameters` is for those of the query whose names are taken here.
        """
        query.update(parameters or {})
        response = self._send(method, path, body, version, headers, query)
        with response:
            return Answer(
                response.status, {k.lower(): v for k, v in response.headers.items()}, response.read()
            )

    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        /,
        *,
        version: str = "",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> http.client.HTTPResponse:
        """One request, the answer after its headers; the caller closes it."""
        return self._send(method, path, body, version, headers, query)

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        version: str,
        headers: dict[str, str] | None,
        query: dict[str, Any],
    ) -> http.client.HTTPResponse:
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "read"):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        sent.setdefault("Connection", "close")
        connection = _Connection(self)
        # An engine may refuse a request, and close, before it has read the body
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self.path(path, version, **query), body, sent)
        return connection.getresponse()

    def get(self, path: str, *, version: str = "", **query: Any) -> Any:
        """The JSON of a GET that must be answered 200."""
        answer = self.request("GET", path, version=version, **query)
        assert answer.status == 200, (path, answer)
        return answer.json()

    def post(self, path: str, body: Any = None, *, status: int, version: str = "", **query: Any) -> Answer:
        """A POST that must be answered with `status`."""
        answer = self.request("POST", path, body, version=version, **query)
        assert answer.status == status, (path, answer)
        return answer

    def lines(self, path: str, *, version: str = "", **query: Any) -> Iterator[Any]:
        """The JSON objects of a streaming GET, as they come."""
        with self.open("GET", path, version=version, **query) as response:
            assert response.status == 200, response.read()
            for line in response:
                if line.strip():
                    yield json.loads(line)

    def hijack(
        self, path: str, body: Any = None, *, upgrade: bool = True, version: str = "", **query: Any
    ) -> Hijacked:
        """POST and switch to raw bytes, with 101 (`upgrade`) or as clients older than that did."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"POST {self.path(path, version, **query)} HTTP/1.1\r\nHost: d\r\n"
        if body is not None:
            head += "Content-Type: application/json\r\n"
        head += f"Content-Length: {len(data)}\r\n"
        if upgrade:
            head += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        sock = self.connect()
        sock.sendall(head.encode() + b"\r\n" + data)
        status, headers, rest = read_head(sock)
        return Hijacked(sock, status, headers, bytearray(rest))

    def raw(self, data: bytes) -> Answer:
        """Send these bytes, end the sending side, and read one answer."""
        with self.connect() as sock:
            sock.sendall(data)
            status, headers, rest = read_head(sock)
            body = bytearray(rest)
            wanted = headers.get("content-length")
            while wanted is None or len(body) < int(wanted):
                more = sock.recv(65536)
                if not more:
                    break
                body += more
            return Answer(status, headers, bytes(body))


def read_head(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and what came after them."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, f"connection ended within the headers: {bytes(data)!r}"
        data += more
    head, _, rest = bytes(data).partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    match = re.match(r"HTTP/1\.[01] (\d+)", first)
    assert match, first
    pairs = (line.partition(":") for line in others)
    return int(match[1]), {key.lower(): value.strip() for key, _, value in pairs}, rest

"""attach/ws: the attach of browsers."""

import base64
import os
import struct

import pytest

from conformance.engine import Engine
from conformance.wire import Hijacked, Wire, read_head


def websocket(wire: Wire, container: str, version: str = "", **query: bool) -> Hijacked:
    """Attach by a WebSocket."""
    path = wire.path(f"/containers/{container}/attach/ws", version, **query)
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://d\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    sock = wire.connect()
    sock.sendall(head.encode())
    status, headers, rest = read_head(sock)
    return Hijacked(sock, status, headers, bytearray(rest))


def exactly(stream: Hijacked, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            break
        data += more
    return data


def messages(stream: Hijacked) -> bytes:
    """All payloads until the close frame or the end of the connection."""
    data = b""
    while True:
        head = exactly(stream, 2)
        if len(head) < 2 or head[0] & 15 == 8:
            return data
        size = head[1] & 127
        if size == 126:
            (size,) = struct.unpack(">H", exactly(stream, 2))
        elif size == 127:
            (size,) = struct.unpack(">Q", exactly(stream, 8))
        data += exactly(stream, size)


def send(stream: Hijacked, data: bytes) -> None:
    """One masked binary message of less than 126 bytes."""
    mask = os.urandom(4)
    stream.send(bytes([0x82, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))


@pytest.mark.operation("ContainerAttachWebsocket")
def test_websocket(engine: Engine) -> None:
    container = engine.create("sh", "-c", "read x; echo got $x", OpenStdin=True, StdinOnce=True)
    with websocket(engine.wire, container, stream=True, stdin=True, stdout=True) as stream:
        assert stream.status == 101
        assert stream.headers["upgrade"].lower() == "websocket"
        engine.start(container)
        send(stream, b"hello\n")
        assert messages(stream) == b"got hello\n"  # raw, not multiplexed
    assert engine.wait(container) == 0


@pytest.mark.operation("ContainerAttachWebsocket")
def test_websocket_of_the_missing(engine: Engine) -> None:
    with websocket(engine.wire, "no-such", stream=True, stdout=True) as stream:
        assert stream.status == 404
        stream.read_until(b"No such container: no-such")

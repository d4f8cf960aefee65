"""BuildKit's doors as a client sees them: how connections become HTTP/2, and what is spoken first."""

import struct
import uuid
from collections.abc import Iterator

import pytest
from hpack import Decoder, Encoder

from conformance.engine import Engine
from conformance.until import until
from conformance.wire import Hijacked, Wire, read_head

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING = 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ID = "X-Docker-Expose-Session-Uuid"


def upgraded(wire: Wire, path: str, *headers: str) -> Hijacked:
    """A connection that is HTTP/2 from here on."""
    lines = ("Host: ", "Content-Length: 0", "Connection: Upgrade", "Upgrade: h2c", *headers)
    sock = wire.connect()
    sock.sendall("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode())
    status, found, rest = read_head(sock)
    return Hijacked(sock, status, found, bytearray(rest))


def frame(kind: int, content: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(content).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + content


def exactly(connection: Hijacked, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.read(size - len(data))
        assert more, f"ended after {data!r}"
        data += more
    return data


def frames(connection: Hijacked) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and content of what comes."""
    while True:
        head = exactly(connection, 9)
        content = exactly(connection, int.from_bytes(head[:3], "big"))
        yield head[3], head[4], int.from_bytes(head[5:], "big"), content


@pytest.mark.operation("Grpc")
@pytest.mark.parametrize("version", ["", "/v1.24", "/v1.41"])
def test_grpc_is_http2(engine: Engine, version: str) -> None:
    with upgraded(engine.wire, f"{version}/grpc") as connection:
        assert connection.status == 101
        assert connection.headers == {"connection": "Upgrade", "upgrade": "h2c"}
        received = frames(connection)
        kind, flags, _, _ = next(received)  # before the client has said anything
        assert (kind, flags) == (SETTINGS, 0)
        connection.send(PREFACE + frame(SETTINGS) + frame(PING, b"12345678"))
        assert (PING, ACK, 0, b"12345678") in received


def called(connection: Hijacked, path: str) -> dict[str, str]:
    """Head and trailers of the answer to a call that fails at once."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    fields += [("content-type", "application/grpc"), ("te", "trailers")]
    connection.send(PREFACE + frame(SETTINGS))
    connection.send(frame(HEADERS, Encoder().encode(fields), flags=END_STREAM | END_HEADERS, stream=1))
    answer: dict[str, str] = {}
    decoder = Decoder()
    for kind, flags, _, content in frames(connection):
        if kind == HEADERS:
            answer.update({str(name): str(value) for name, value in decoder.decode(content)})
            if flags & END_STREAM:
                return answer
    raise AssertionError


@pytest.mark.operation("Grpc")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no.such.Service/Call", "unknown service no.such.Service"),
        ("/moby.buildkit.v1.Control/Nothing", "unknown method Nothing for service moby.buildkit.v1.Control"),
    ],
)
def test_grpc_knows_what_it_has_not(engine: Engine, path: str, message: str) -> None:
    with upgraded(engine.wire, "/grpc") as connection:
        answer = called(connection, path)
    assert (answer[":status"], answer["content-type"]) == ("200", "application/grpc")
    assert (answer["grpc-status"], answer["grpc-message"]) == ("12", message)


@pytest.mark.operation("Grpc", "Session")
@pytest.mark.parametrize(("path", "status"), [("/grpc", 500), ("/session", 400)])
def test_other_protocols_are_refused(engine: Engine, path: str, status: int) -> None:
    answer = engine.wire.request("POST", path)
    assert (answer.status, answer.message) == (status, "no upgrade proto in request")
    answer = engine.wire.request("POST", path, headers={"Connection": "Upgrade", "Upgrade": "tcp"})
    assert (answer.status, answer.message) == (status, "protocol tcp not supported")
    assert engine.wire.request("GET", path).status == 404


@pytest.mark.operation("Session")
def test_in_a_session_the_engine_is_the_client(engine: Engine) -> None:
    id = uuid.uuid4().hex
    with upgraded(engine.wire, "/session", f"{ID}: {id}") as connection:
        assert connection.status == 101
        assert connection.headers == {"connection": "Upgrade", "upgrade": "h2c"}
        assert exactly(connection, len(PREFACE)) == PREFACE
        received = frames(connection)
        assert next(received)[:2] == (SETTINGS, 0)
        connection.send(frame(SETTINGS) + frame(PING, b"abcdefgh"))
        assert (PING, ACK, 0, b"abcdefgh") in received
        with upgraded(engine.wire, "/session", f"{ID}: {id}") as second:
            assert second.status == 400
            assert second.read_until(b"\n") == f'{{"message":"session {id} already exists"}}\n'.encode()

    def free() -> bool:
        with upgraded(engine.wire, "/session", f"{ID}: {id}") as third:
            return third.status == 101

    until(free, "the ID of a session that has ended")

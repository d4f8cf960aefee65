"""Answers that go on, connections taken over, bodies in pieces, and clients that vanish."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compatd.http import MULTIPLEXED_STREAM, RAW_STREAM, Answer, Call, Json
from tests.unit.http.harness import Running, parse, receive_all, receive_until

ENDED: dict[str, threading.Event] = {}


class Broken(Exception):
    status = 409
    message = "it broke <here>"


async def events(engine: Any, call: Call) -> Answer | None:
    """Streams at once, then waits for ever; tells how it ended."""
    ended = ENDED[call.header("X-Name")]
    stream = await call.stream("application/json")
    try:
        await stream.json({"n": 1, "text": "<&>"})
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if stream.gone.is_set():
            ended.set()
        raise
    return None


async def stats(engine: Any, call: Call) -> Answer | None:
    stream = await call.stream("application/json", headers={"X-Extra": "1"})
    for number in range(3):
        await stream.json({"read": str(number)})
    return None


async def logs(engine: Any, call: Call) -> Answer | None:
    """Writes until the client goes, and counts."""
    stream = await call.stream(RAW_STREAM)
    written = 0
    try:
        while True:
            await stream.write(b"x" * 65536)
            written += 65536
            engine_written[0] = written
    finally:
        ENDED[call.header("X-Name")].set()


engine_written = [0]


async def pull(engine: Any, call: Call) -> Answer | None:
    if call.query["fromImage"] == "early":
        raise Broken
    stream = await call.stream("application/json")
    await stream.json({"status": "Pulling", "progress": "[=>  ]"})
    raise Broken


async def cut(engine: Any, call: Call) -> Answer | None:
    stream = await call.stream("application/x-tar")
    await stream.write(b"half")
    raise RuntimeError("disk on fire")


async def stop(engine: Any, call: Call) -> Answer | None:
    """A change that must not stay half done when the client goes."""
    await call.gone.wait()
    await asyncio.sleep(0.01)
    ENDED[call.path["id"]].set()
    return None


async def attach(engine: Any, call: Call) -> Answer | None:
    """Echoes in capitals; counts after the client's end of input."""
    if call.path["id"] == "nope":
        raise Broken
    if call.path["id"] == "silent":
        await silent(call)
        return None
    connection = await call.hijack(MULTIPLEXED_STREAM)
    total = 0
    while data := await connection.read():
        total += len(data)
        await connection.write(data.upper())
    await connection.write(b"total %d" % total)
    return None


async def silent(call: Call) -> None:
    connection = await call.hijack()
    try:
        await asyncio.Event().wait()
    finally:
        if connection.gone.is_set():
            ENDED.get(call.header("X-Name"), threading.Event()).set()


async def exec_start(engine: Any, call: Call) -> Answer | None:
    assert call.body is not None
    connection = await call.hijack(MULTIPLEXED_STREAM)
    sock, early = await connection.detach()
    threading.Thread(target=answer_outside, args=(sock, early)).start()
    return None


def answer_outside(sock: socket.socket, early: bytes) -> None:
    with sock:
        sock.setblocking(True)
        sock.sendall(b"got " + early + receive_all(sock))


async def attach_ws(engine: Any, call: Call) -> Answer | None:
    connection = await call.websocket()
    while data := await connection.read():
        await connection.write(data.upper())
    return None


async def load(engine: Any, call: Call) -> Answer:
    total, digest = 0, hashlib.sha256()
    async for data in call.chunks():
        total += len(data)
        digest.update(data)
    return Json({"total": total, "sha256": digest.hexdigest()}, gated=False)


async def put_archive(engine: Any, call: Call) -> Answer:
    raise Broken  # without reading the body


HANDLERS = {
    "SystemEvents": events,
    "ContainerStats": stats,
    "ContainerLogs": logs,
    "ImageCreate": pull,
    "ContainerExport": cut,
    "ContainerStop": stop,
    "ContainerAttach": attach,
    "ContainerAttachWebsocket": attach_ws,
    "ExecStart": exec_start,
    "ImageLoad": load,
    "PutContainerArchive": put_archive,
}


def named(name: str) -> threading.Event:
    ENDED[name] = threading.Event()
    return ENDED[name]


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def request(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


UPGRADE = ("Connection: Upgrade", "Upgrade: tcp")


def test_each_object_is_a_chunk(running: Running) -> None:
    first, headers, body = running.request("GET", "/containers/x/stats")
    assert first == "HTTP/1.1 200 OK"
    assert headers["X-Extra"] == "1"
    assert headers["Transfer-Encoding"] == "chunked"
    sizes = body.split(b"\r\n")[::2]
    assert len(sizes) == 5  # three objects, the last chunk, the end
    assert body.count(b"}\n\r\n") == 3
    assert body.endswith(b"\r\n0\r\n\r\n")


def test_streams_of_http_1_0_end_with_the_connection(running: Running) -> None:
    first, headers, body = parse(running.exchange(b"GET /containers/x/stats HTTP/1.0\r\n\r\n"))
    assert first == "HTTP/1.0 200 OK"
    assert "Transfer-Encoding" not in headers
    assert body.count(b"}\n") == 3
    assert body.startswith(b"{")


@pytest.mark.parametrize("half", [False, True], ids=["close", "half-close"])
def test_a_stream_ends_when_its_client_goes(running: Running, half: bool) -> None:
    ended = named(f"events-{half}")
    with running.connect() as sock:
        sock.sendall(request("GET", "/events", f"X-Name: events-{half}"))
        got = receive_until(sock, b"}\n\r\n")
        assert got.endswith(b'{"n":1,"text":"\\u003c\\u0026\\u003e"}\n\r\n')
        if half:
            sock.shutdown(socket.SHUT_WR)
            assert ended.wait(30)
    assert ended.wait(30)


def test_writers_wait_for_slow_clients_and_end_with_them(running: Running) -> None:
    ended = named("slow")
    engine_written[0] = 0
    with running.connect() as sock:
        sock.sendall(request("GET", "/containers/x/logs?stdout=1", "X-Name: slow"))
        receive_until(sock, b"\r\n\r\n")
        eventually(lambda: engine_written[0] > 0)
        seen = -1
        while seen != engine_written[0]:  # until nothing more fits in the buffers between
            seen = engine_written[0]
            time.sleep(0.2)
        assert 0 < seen < 8 << 20
        for _ in range(200):
            assert sock.recv(65536)
        eventually(lambda: engine_written[0] > seen)
    assert ended.wait(30)


def test_progress_tells_of_a_late_error_in_the_stream(running: Running) -> None:
    first, _, body = running.request("POST", "/images/create?fromImage=late")
    assert first == "HTTP/1.1 200 OK"
    assert b'{"status":"Pulling","progress":"[=\\u003e  ]"}\r\n\r\n' in body
    assert (
        b'{"errorDetail":{"message":"it broke \\u003chere\\u003e"},"error":"it broke \\u003chere\\u003e"}\r\n'
        in body
    )
    assert body.endswith(b"\r\n0\r\n\r\n")


def test_an_early_error_is_an_ordinary_one(running: Running) -> None:
    first, _, body = running.request("POST", "/images/create?fromImage=early")
    assert first == "HTTP/1.1 409 Conflict"
    assert body == b'{"message":"it broke <here>"}\n'


def test_a_late_error_of_another_stream_cuts_it_off(running: Running) -> None:
    body = running.request("GET", "/containers/x/export")[2]
    assert body == b"4\r\nhalf\r\n"


def test_a_change_goes_on_without_its_client(running: Running) -> None:
    ended = named("going")
    with running.connect() as sock:
        sock.sendall(request("POST", "/containers/going/stop"))
    assert ended.wait(30)


@pytest.mark.parametrize(
    ("version", "headers", "first", "kind"),
    [
        ("", UPGRADE, "HTTP/1.1 101 UPGRADED", MULTIPLEXED_STREAM),
        ("/v1.41", UPGRADE, "HTTP/1.1 101 UPGRADED", RAW_STREAM),
        ("", (), "HTTP/1.1 200 OK", RAW_STREAM),
    ],
)
def test_hijack(running: Running, version: str, headers: tuple[str, ...], first: str, kind: str) -> None:
    with running.connect() as sock:
        sock.sendall(request("POST", f"{version}/containers/x/attach", *headers) + b"early ")
        expected = {"Content-Type": kind}
        if headers:
            expected |= {"Connection": "Upgrade", "Upgrade": "tcp"}
        assert parse(receive_until(sock, b"\r\n\r\n"))[:2] == (first, expected)
        assert receive_until(sock, b"EARLY ") == b"EARLY "
        sock.sendall(b"late")
        assert receive_until(sock, b"LATE") == b"LATE"
        sock.shutdown(socket.SHUT_WR)  # output goes on after the end of input
        assert receive_all(sock) == b"total 10"


def test_hijacked_data_flows_both_ways(running: Running) -> None:
    data = os.urandom(1 << 20).hex().encode()
    with running.connect() as sock:
        sock.sendall(request("POST", "/containers/x/attach", *UPGRADE))
        receive_until(sock, b"\r\n\r\n")

        def feed() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=feed)
        thread.start()
        assert receive_all(sock) == data.upper() + b"total %d" % len(data)
        thread.join()


def test_attach_errors_are_bare(running: Running) -> None:
    answer = running.exchange(request("POST", "/containers/nope/attach?stream=1", *UPGRADE))
    assert answer == (
        b"HTTP/1.1 409 Conflict\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nit broke <here>\r\n"
    )


def test_a_connection_can_be_given_away(running: Running) -> None:
    with running.connect() as sock:
        head = request(
            "POST", "/exec/x/start", *UPGRADE, "Content-Type: application/json", "Content-Length: 2"
        )
        sock.sendall(head + b"{}early")
        first, headers, _ = parse(receive_until(sock, b"\r\n\r\n"))
        assert first == "HTTP/1.1 101 UPGRADED"
        assert list(headers) == [
            "Content-Type",
            "Connection",
            "Upgrade",
            "Api-Version",
            "Docker-Experimental",
            "Ostype",
            "Server",
        ]
        sock.sendall(b" and late")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"got early and late"


def test_aborted_attaches_leave_nothing(running: Running) -> None:
    def open_things() -> tuple[int, int, int]:
        async def count() -> tuple[int, int, int]:
            gc.collect()
            watched = len(running.server.hangups._watched)
            return len(asyncio.all_tasks()), len(running.server._connections), watched

        found: tuple[int, int, int] = running.do(count())
        return found

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def one() -> None:
        ended = named("silent")
        with running.connect() as sock:
            sock.sendall(request("POST", "/containers/silent/attach", *UPGRADE, "X-Name: silent"))
            receive_until(sock, b"\r\n\r\n")
        assert ended.wait(30)

    one()
    eventually(lambda: open_things()[1:] == (0, 0))
    before, fds = open_things(), descriptors()
    for _ in range(100):
        one()
    eventually(lambda: open_things() == before)
    eventually(lambda: descriptors() <= fds)


def test_a_client_that_vanishes_behind_unread_input_is_noticed(running: Running) -> None:
    ended = named("full")
    with running.connect() as sock:
        sock.sendall(request("POST", "/containers/silent/attach", *UPGRADE, "X-Name: full"))
        receive_until(sock, b"\r\n\r\n")
        sock.setblocking(False)
        try:
            while True:
                sock.send(b"x" * 65536)
        except BlockingIOError:
            pass
    assert ended.wait(30)


def frame(opcode: int, data: bytes) -> bytes:
    """A masked frame of less than 126 bytes, as clients send them (RFC 6455, 5.2)."""
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return bytes((0x80 | opcode, 0x80 | len(data))) + mask + masked


@pytest.mark.parametrize(("version", "opcode"), [("/v1.27", 1), ("/v1.28", 2)])
def test_websocket(running: Running, version: str, opcode: int) -> None:
    key = base64.b64encode(b"0123456789abcdef").decode()
    with running.connect() as sock:
        sock.sendall(
            request(
                "GET",
                f"{version}/containers/x/attach/ws",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {key}",
            )
            + frame(1, b"hello")
        )
        first, headers, _ = parse(receive_until(sock, b"\r\n\r\n"))
        assert first == "HTTP/1.1 101 Switching Protocols"
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # noqa: S324
        assert headers["Sec-WebSocket-Accept"] == base64.b64encode(digest).decode()
        assert sock.recv(2, socket.MSG_WAITALL) == bytes((0x80 | opcode, 5))
        assert sock.recv(5, socket.MSG_WAITALL) == b"HELLO"
        sock.sendall(frame(9, b"are you there"))  # ping
        assert sock.recv(15, socket.MSG_WAITALL) == b"\x8a\x0dare you there"
        sock.sendall(frame(8, b"\x03\xe8"))  # close, 1000
        assert receive_all(sock) == b"\x88\x02\x03\xe8"


def test_what_is_no_websocket(running: Running) -> None:
    answer = running.exchange(request("GET", "/containers/x/attach/ws"))
    assert answer == b"HTTP/1.1 400 Bad Request\r\n\r\nnot websocket protocol"


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_take_little_memory(running: Running, chunked: bool) -> None:
    piece, count = bytes(range(256)) * 4096, 64
    with running.connect() as sock:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(piece) * count}"
        sock.sendall(request("POST", "/images/load", "Connection: close", "Expect: 100-continue", length))
        assert receive_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        before = resident()
        for _ in range(count):
            if chunked:
                sock.sendall(b"%x\r\n" % len(piece))
            sock.sendall(piece)
            if chunked:
                sock.sendall(b"\r\n")
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        answer = receive_all(sock)
        assert resident() - before < 24 << 20
    assert (
        b'{"total":%d,"sha256":"%b"}'
        % (
            len(piece) * count,
            hashlib.sha256(piece * count).hexdigest().encode(),
        )
        in answer
    )


def test_a_body_cut_short_ends_the_connection(running: Running) -> None:
    assert (
        running.exchange(request("POST", "/images/load", "Content-Length: 100") + b"x", half_close=True)
        == b""
    )


def test_an_unread_body_does_not_spoil_the_next_request(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(request("PUT", "/containers/x/archive?path=/", "Content-Length: 70000") + b"x" * 70000)
        assert b"409 Conflict" in receive_until(sock, b"}\n")
        sock.sendall(request("GET", "/_ping", "Connection: close"))
        assert receive_all(sock).endswith(b"OK")


def test_a_long_unread_body_ends_the_connection_after_the_answer(running: Running) -> None:
    with running.connect() as sock:
        sock.sendall(request("PUT", "/containers/x/archive?path=/", "Content-Length: 70000000"))
        first, headers, body = parse(receive_all(sock))
    assert (first, headers["Connection"]) == ("HTTP/1.1 409 Conflict", "close")
    assert body == b'{"message":"it broke <here>"}\n'

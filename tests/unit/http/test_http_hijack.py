"""Connections taken over, with and without frames, and clients that vanish."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from compatd.http import MULTIPLEXED_STREAM, RAW_STREAM
from tests.unit.http.harness import Running, parse, receive_all, receive_until
from tests.unit.http.streaming import UPGRADE, eventually, named, request


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

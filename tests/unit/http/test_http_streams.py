"""Answers that go on, and clients that vanish."""

from __future__ import annotations

import socket
import time

import pytest

from tests.unit.http.harness import Running, parse, receive_until
from tests.unit.http.streaming import engine_written, eventually, named, request


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

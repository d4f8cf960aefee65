"""Request bodies in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.http.harness import Running, parse, receive_all, receive_until
from tests.unit.http.streaming import request


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

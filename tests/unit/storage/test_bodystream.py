"""A request's body, read from the client's socket."""

import base64
import socket
import threading
from typing import Any

import pytest

from runtime.storage.bodystream import Body, Cut, Malformed


def read(
    sent: bytes, early: bytes = b"", *, chunked: bool = True, left: int = 0, after_chunk: bool = False
) -> tuple[bytes, dict[str, Any]]:
    """The body, and the state afterwards."""
    ours, client = socket.socketpair()
    with ours, client:
        ours.setblocking(False)

        def feed() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        feeding = threading.Thread(target=feed)
        feeding.start()
        told = {
            "early": base64.b64encode(early).decode(),
            "chunked": chunked,
            "left": left,
            "after_chunk": after_chunk,
        }
        body = Body(ours.fileno(), told)
        try:
            data = b"".join(body.pieces())
        finally:
            feeding.join()
        return data, body.state()


def rest(state: dict[str, Any]) -> bytes:
    assert state["whole"]
    return base64.b64decode(state["rest"])


CHUNKS = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("cut", range(0, len(CHUNKS) + 1, 3))
def test_chunks_wherever_they_were_cut(cut: int) -> None:
    data, state = read(CHUNKS[cut:] + b"GET /next", CHUNKS[:cut])
    assert data == b"hello world"
    assert b"GET /next".startswith(rest(state))


def test_in_the_middle_of_a_chunk_and_after_one() -> None:
    assert read(b"lo\r\n0\r\n\r\n", b"l", left=3)[0] == b"llo"
    assert read(b"\n0\r\n\r\n", b"\r", after_chunk=True)[0] == b""


def test_a_body_of_known_length() -> None:
    data, state = read(b"world, and more", b"hello ", chunked=False, left=11)
    assert (data, rest(state)) == (b"hello world", b", and more")
    data, state = read(b"", b"hello, next", chunked=False, left=5)
    assert (data, rest(state)) == (b"hello", b", next")
    assert read(b"", chunked=False)[0] == b""


def test_many_pieces() -> None:
    block = bytes(range(256)) * 128
    sent = (b"%x\r\n" % len(block) + block + b"\r\n") * 100 + b"0\r\n\r\n"
    assert read(sent)[0] == block * 100


@pytest.mark.parametrize("sent", [b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"", b"0\r\n"])
def test_a_client_that_goes_away(sent: bytes) -> None:
    with pytest.raises(Cut):
        read(sent)
    with pytest.raises(Cut):
        read(b"x", chunked=False, left=2)


@pytest.mark.parametrize(
    "sent", [b"x\r\n", b"-1\r\n", b"\r\n", b"1\r\nab\r\n", b"1" * 5000, b"0\r\n" + b"tt\n" * 4000]
)
def test_broken_framing(sent: bytes) -> None:
    with pytest.raises(Malformed):
        read(sent)

"""Messages and descriptors over SOCK_SEQPACKET."""

import gc
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from runtime.shim import wire

Pair = tuple[socket.socket, socket.socket]


def descriptors() -> int:
    gc.collect()  # what other tests have left must not go away in between
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield left, right
    left.close()
    right.close()


def test_a_message_and_its_descriptors(pair: Pair) -> None:
    left, right = pair
    reader, writer = os.pipe()
    wire.send(left, {"op": "x", "text": "é"}, [writer])
    message, fds = wire.receive(right)
    assert message == {"op": "x", "text": "é"}
    os.write(fds[0], b"through")
    assert os.read(reader, 100) == b"through"
    assert not os.get_inheritable(fds[0])
    wire.close_all([reader, writer, *fds])


def test_large_messages_go_through_memory(pair: Pair) -> None:
    left, right = pair
    before = descriptors()
    wire.send(left, {"blob": "x" * 1_000_000})
    message, fds = wire.receive(right)
    assert len(message["blob"]) == 1_000_000
    assert fds == []
    assert descriptors() == before


def test_more_descriptors_than_a_packet_takes(pair: Pair) -> None:
    left, right = pair
    null = os.open(os.devnull, os.O_RDONLY)
    sent = threading.Thread(target=wire.send, args=(left, {"n": 1}, [null] * 450))
    sent.start()
    message, fds = wire.receive(right)
    sent.join()
    assert message == {"n": 1}
    assert len(fds) == 450
    wire.close_all([null, *fds])


@pytest.mark.parametrize("junk", [b"{", b"[]", b"M", b"\xff"])
def test_junk_is_refused_and_its_descriptors_closed(pair: Pair, junk: bytes) -> None:
    left, right = pair
    null = os.open(os.devnull, os.O_RDONLY)
    wire.send_packet(left, (junk, [null] if junk != b"M" else []))
    before = descriptors()
    with pytest.raises(wire.Broken):
        wire.receive(right)
    assert descriptors() == before
    os.close(null)


def test_the_end(pair: Pair) -> None:
    left, right = pair
    left.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EOFError):
        wire.receive(right)

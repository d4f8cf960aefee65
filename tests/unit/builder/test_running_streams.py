"""Output of a RUN: frames in any pieces, back-pressure, ends."""

import asyncio
import socket
import struct

import pytest

from compatd.engine.builder.running.streams import Frames, pump


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.mark.parametrize("size", [1, 3, 8, 9, 64, 4096])
def test_frames_come_in_any_pieces(size: int) -> None:
    sent = [(1, b"one"), (2, b"err" * 40), (1, b""), (1, bytes(range(256)))]
    data = b"".join(frame(stream, content) for stream, content in sent)
    frames, found = Frames(), {1: b"", 2: b""}
    for at in range(0, len(data), size):
        for stream, piece in frames.feed(data[at : at + size]):
            found[stream] += piece
    assert found == {1: b"one" + bytes(range(256)), 2: b"err" * 40}


def test_who_takes_slowly_holds_the_other_side_back() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        open_, taken = asyncio.Event(), bytearray()

        async def output(stream: int, data: bytes) -> None:
            await open_.wait()
            taken.extend(data)

        pumping = asyncio.create_task(pump(ours, output))
        sent = 0
        try:
            while True:
                sent += theirs.send(frame(1, b"x" * 1000))
                await asyncio.sleep(0)
        except BlockingIOError:
            pass
        assert sent < 8 << 20
        assert not taken
        open_.set()
        theirs.shutdown(socket.SHUT_WR)
        await pumping
        assert len(taken) > 1000
        ours.close()
        theirs.close()

    asyncio.run(scenario())


def test_what_the_taker_raises_ends_it() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.send(frame(2, b"x"))

        async def output(stream: int, data: bytes) -> None:
            raise ConnectionResetError("the client is gone")

        with pytest.raises(ConnectionResetError, match="the client is gone"):
            await pump(ours, output)
        ours.close()
        theirs.close()

    asyncio.run(scenario())

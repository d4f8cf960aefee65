"""Frames that no good client sends: the connection, or the stream, ends, and nothing grows."""

import asyncio
import struct
from typing import Any

import pytest
from hpack import Decoder, Encoder

from compatd.engine.builder.buildkit.wire import http2, settings
from compatd.engine.builder.buildkit.wire.server import GrpcServer, ServerStream
from compatd.engine.builder.buildkit.wire.streams import UNSENT, WINDOW
from tests.unit.builder.wire.ends import CHECK, COPY, Bytes, Packet, counting, healthy, pair, raw, run, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
PROTOCOL_ERROR, CALM = 1, 11


def frame(kind: int, content: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(content).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + content


HELLO = PREFACE + frame(SETTINGS)


def head(stream: int, path: str = COPY, *, flags: int = 4, more: tuple[tuple[str, str], ...] = ()) -> bytes:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    fields += [("content-type", "application/grpc"), ("te", "trailers"), *more]
    return frame(HEADERS, Encoder().encode(fields, huffman=False), flags=flags, stream=stream)


class Frames:
    """What a server sends, frame by frame."""

    def __init__(self, end: Bytes) -> None:
        self._end = end

    async def until(self, kind: int) -> tuple[int, int, bytes]:
        """(flags, stream, content) of the next frame of a kind. Raises IncompleteReadError at the end."""
        while True:
            start = await self._end.reader.readexactly(9)
            content = await self._end.reader.readexactly(int.from_bytes(start[:3], "big"))
            if start[3] == kind:
                return start[4], int.from_bytes(start[5:], "big"), content


def fields(block: bytes) -> dict[str, str]:
    return {str(name): str(value) for name, value in Decoder().decode(block)}


HANDLERS = {CHECK: healthy, COPY: counting([])}


async def said(data: bytes) -> int:
    """The code of the GOAWAY with which a server ends the connection."""
    async with raw(HANDLERS) as end:
        await end.write(data)
        _, _, content = await Frames(end).until(GOAWAY)
        assert await end.reader.read() is not None  # and it closes
        return int.from_bytes(content[4:8], "big")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE + frame(DATA, b"x", stream=1),
        HELLO + frame(DATA, b"x", stream=1),
        HELLO + frame(DATA, b"x"),
        HELLO + head(1) + frame(DATA, b"x", stream=3),
        HELLO + head(1, flags=0) + frame(DATA, b"x", stream=1),
        HELLO + head(1, flags=0) + frame(WINDOW_UPDATE, b"\0\0\0\1", stream=1),
        HELLO + frame(PING, b"short"),
        HELLO + frame(WINDOW_UPDATE, b"\0\0\0\0"),
        HELLO + frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff"),
        HELLO + frame(WINDOW_UPDATE, b"\0\0\0"),
        HELLO + head(1) + frame(DATA, b"\x05x", flags=8, stream=1),
        HELLO + head(1) + frame(DATA, b"", flags=8, stream=1),
        HELLO + head(2),
        HELLO + head(3) + head(1),
        HELLO + frame(CONTINUATION, b"x", stream=1),
        HELLO + head(1, flags=5) + frame(DATA, b"x", stream=1),
        HELLO + (settings.FRAME + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1",
        HELLO + frame(HEADERS, b"\xff\xff\xff\xff\xff", flags=4, stream=1),
        HELLO + frame(SETTINGS, struct.pack(">HI", 4, 1 << 31)),
    ],
    ids=range(20),
)
def test_what_cannot_be_ends_the_connection(data: bytes) -> None:
    assert run(said(data)) != 0


def test_more_than_the_window() -> None:
    async def stuck(call: ServerStream) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        async with raw({COPY: stuck}) as end:
            whole = frame(DATA, struct.pack(">BI", 0, 59995) + bytes(59995), stream=1)
            end.writer.write(HELLO + head(1) + whole * (2 * WINDOW // 60000 + 20))
            await Frames(end).until(GOAWAY)

    run(scene())


def test_broken_off_again_and_again() -> None:
    """CVE-2023-44487: streams that are opened and broken off cost the server work."""

    async def scene() -> int:
        async with raw({COPY: counting([])}) as end:
            frames = [
                head(n) + frame(RST, struct.pack(">I", 8), stream=n) for n in range(1, 4 * http2.RESETS, 2)
            ]
            end.writer.write(HELLO + b"".join(frames))
            _, _, content = await Frames(end).until(GOAWAY)
            return int.from_bytes(content[4:8], "big")

    assert run(scene()) == CALM


def test_heads_without_end() -> None:
    """CVE-2024-27316: CONTINUATION after CONTINUATION."""
    data = HELLO + head(1, flags=0) + frame(CONTINUATION, b"\0\1a\1b" * 100, stream=1) * 100
    assert run(said(data)) != 0


def test_heads_that_unpack_to_much() -> None:
    block = Encoder().encode([("x", "y" * 4000)])
    data = HELLO + frame(HEADERS, block + b"\xbe" * 15000, flags=4, stream=1)
    assert run(said(data)) != 0


def test_more_streams_than_allowed() -> None:
    async def stuck(call: ServerStream) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        async with raw({COPY: stuck}) as end:
            await end.write(HELLO + b"".join(head(n) for n in range(1, 2 * settings.STREAMS + 3, 2)))
            await Frames(end).until(GOAWAY)

    run(scene())


def test_questions_without_reading_the_answers() -> None:
    async def scene() -> None:
        near, far = await pair()
        made: list[Any] = []
        real = http2.Connection

        class Noted(real):  # type: ignore[valid-type, misc]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                made.append(self)

        http2.Connection = Noted  # type: ignore[misc]
        try:
            server = asyncio.ensure_future(GrpcServer(HANDLERS).serve(far))
            await until(lambda: bool(made))
        finally:
            http2.Connection = real  # type: ignore[misc]
        near.writer.write(HELLO + frame(PING, bytes(8)) * 250_000)
        writing = asyncio.ensure_future(near.writer.drain())
        await until(lambda: made[0]._drained is not None)  # it reads no more
        assert not writing.done() and made[0].unsent < 4 * UNSENT
        near.writer.transport.abort()
        writing.cancel()
        await server

    run(scene())


def test_messages_that_are_none() -> None:
    async def scene(data: bytes) -> str:
        async with raw(HANDLERS) as end:
            await end.write(HELLO + head(1) + frame(DATA, data, flags=1, stream=1))
            return fields((await Frames(end).until(HEADERS))[2])["grpc-message"]

    assert "Decompressor" in run(scene(b"\1\0\0\0\1x"))
    assert "larger than max" in run(scene(b"\0\x7f\0\0\0x"))
    assert "unmarshalling" in run(scene(b"\0\0\0\0\1\x0a"))


def test_other_requests_than_calls() -> None:
    async def scene(method: str) -> str:
        async with raw(HANDLERS) as end:
            block = Encoder().encode([(":method", method), *common], huffman=False)
            await end.write(HELLO + frame(HEADERS, block, flags=5, stream=1))
            return fields((await Frames(end).until(HEADERS))[2])[":status"]

    common = [(":scheme", "http"), (":path", "/info"), (":authority", "x")]
    assert run(scene("POST")) == "415"
    assert run(scene("GET")) == "405"


def test_pieces_of_any_size_and_padding() -> None:
    seen: list[int] = []
    messages = b"".join(
        struct.pack(">BI", 0, len(data)) + data
        for data in (Packet(data=b"x" * n).encode() for n in (1, 0, 300, 5, 70000))
    )

    async def scene() -> bytes:
        async with raw({COPY: counting(seen)}) as end:
            pieces = [messages[at : at + 7] for at in range(0, 350, 7)]
            pieces += [messages[at : at + 9000] for at in range(350, len(messages), 9000)]
            sent = b"".join(
                frame(DATA, bytes((3,)) + piece + bytes(3), flags=8, stream=1)
                if n % 3
                else frame(DATA, piece, stream=1)
                for n, piece in enumerate(pieces)
            )
            data = HELLO + head(1) + sent + frame(DATA, b"", flags=1, stream=1)
            for at in range(0, len(data), 1013):
                await end.write(data[at : at + 1013])
            return (await Frames(end).until(DATA))[2]

    answer = run(scene())
    assert seen == [1, 0, 300, 5, 70000]
    assert sum(seen) == Packet.decode(answer[5:]).ID


def test_a_small_window_of_the_peer_is_kept() -> None:
    async def scene() -> None:
        async def answer(call: ServerStream) -> Any:
            return Packet(data=bytes(50))

        async with raw({COPY: answer}) as end:
            frames = Frames(end)
            await end.write(PREFACE + frame(SETTINGS, struct.pack(">HI", 4, 10)) + head(1, flags=5))
            got = b""
            for _ in range(5):
                content = (await frames.until(DATA))[2]
                assert len(content) <= 10
                got += content
                await end.write(frame(WINDOW_UPDATE, struct.pack(">I", 10), stream=1))
            await end.write(frame(SETTINGS, struct.pack(">HI", 4, 1000)))
            got += (await frames.until(DATA))[2]
            assert len(got) == 5 + len(Packet(data=bytes(50)).encode())

    run(scene())


def test_after_goaway_calls_go_on() -> None:
    async def scene() -> None:
        async with raw({CHECK: healthy}) as end:
            goaway = frame(GOAWAY, struct.pack(">II", 0, 0))
            await end.write(HELLO + head(1, CHECK) + goaway)
            await end.write(frame(DATA, bytes(5), flags=1, stream=1))
            assert (await Frames(end).until(DATA))[2] == b"\0\0\0\0\x02\x08\x01"

    run(scene())


def test_pings_are_answered() -> None:
    async def scene() -> None:
        async with raw(HANDLERS) as end:
            await end.write(HELLO + frame(PING, b"12345678"))
            assert await Frames(end).until(PING) == (1, 0, b"12345678")

    run(scene())

"""Bytes between a client and a container's stream."""

import asyncio
import socket

from compatd.api.relay import Unframed, relay
from compatd.engine.containers.attach import InputWatch


class FakeClient:
    """Sends `data` in pieces, then its end of input; keeps what it gets."""

    def __init__(self, *data: bytes, open_end: bool = False) -> None:
        self.data = list(data)
        self.open_end = open_end
        self.got = bytearray()

    async def read(self, n: int = 65536) -> bytes:
        if not self.data and self.open_end:
            await asyncio.Event().wait()
        return self.data.pop(0) if self.data else b""

    async def write(self, data: bytes) -> None:
        self.got += data


def test_what_a_watch_knows() -> None:
    watch = InputWatch(tty=True)
    watch.saw(b"a\x10")
    assert not watch.detached
    watch.saw(b"\x11")
    assert watch.detached and not watch.ended
    own = InputWatch(tty=True, keys=b"x")
    own.saw(b"\x10\x11")
    assert not own.detached
    own.saw(b"x")
    assert own.detached
    plain = InputWatch(keys=b"x")  # without a terminal there are no keys
    plain.saw(b"x")
    plain.saw(b"")
    assert plain.ended and not plain.detached


def test_relay_shows_the_input() -> None:
    async def scenario() -> None:
        ours, theirs = pair()
        watch = InputWatch(tty=True)
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(
            relay(FakeClient(b"a\x10\x11", open_end=True), ours, stdin=True, watch=watch)
        )
        assert await loop.sock_recv(theirs, 100) == b"a\x10\x11"
        theirs.close()
        await task
        assert watch.detached and not watch.ended
        ours.close()

    asyncio.run(scenario())


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def test_both_directions_and_the_end_of_input() -> None:
    async def scenario() -> None:
        ours, theirs = pair()
        client = FakeClient(b"in", b"put")
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(relay(client, ours, stdin=True))
        read = b""
        while data := await loop.sock_recv(theirs, 100):
            read += data
        assert read == b"input"
        await loop.sock_sendall(theirs, b"output after the end of input")
        theirs.close()
        await task
        assert client.got == b"output after the end of input"
        ours.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_client_that_sends_nothing_does_not_hold_the_end_up() -> None:
    async def scenario() -> None:
        ours, theirs = pair()
        theirs.send(b"x")
        theirs.close()
        client = FakeClient(open_end=True)
        await relay(client, ours, stdin=True)
        assert client.got == b"x"
        ours.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_input_that_nobody_reads_is_dropped() -> None:
    async def scenario() -> None:
        ours, theirs = pair()
        theirs.shutdown(socket.SHUT_RD)
        client = FakeClient(b"a", b"b", b"c")
        task = asyncio.ensure_future(relay(client, ours, stdin=True))
        while client.data:
            await asyncio.sleep(0)
        theirs.send(b"out")
        theirs.close()
        await task
        assert client.got == b"out"
        ours.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_websockets_get_no_frames() -> None:
    async def scenario() -> None:
        client = FakeClient()
        stream = Unframed(client)
        frames = b"".join(
            bytes((kind, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
            for kind, data in ((1, b"out"), (2, b""), (2, b"err" * 1000))
        )
        for start in range(0, len(frames), 7):
            await stream.write(frames[start : start + 7])
        assert client.got == b"out" + b"err" * 1000

    asyncio.run(scenario())

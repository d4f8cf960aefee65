import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from compatd.engine.builder.buildkit.door import Door
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.wire import sessions
from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import GrpcServer, ServerStream
from compatd.engine.builder.buildkit.wire.sessions import Session, Sessions
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from tests.unit.builder.wire.ends import CHECK, COPY, Request, healthy, pair, run

HEADERS = {
    sessions.ID: ["abc"],
    sessions.NAME: ["folder"],
    sessions.SHARED_KEY: ["key"],
    sessions.METHODS: ["/moby.filesync.v1.FileSync/DiffCopy", CHECK],
}


@asynccontextmanager
async def lent(book: Sessions, *, owner: str = "", handlers: Any = None) -> AsyncIterator[Any]:
    """A session in the book, and the task that holds it; its client serves gRPC."""
    near, far = await pair()
    client = asyncio.ensure_future(GrpcServer(handlers or {CHECK: healthy}).serve(near))
    held = asyncio.ensure_future(book.serve(far, HEADERS, owner))
    try:
        yield held
    finally:
        near.writer.close()
        await client
        await held
        far.writer.close()


def test_a_session_that_is_there() -> None:
    async def scene() -> None:
        book = Sessions()
        async with lent(book):
            session = await book.get("abc")
            assert (session.id, session.name, session.shared_key, session.owner) == (
                "abc",
                "folder",
                "key",
                "",
            )
            assert session.has(COPY) and session.has(COPY.lower()) and not session.has("/x/Y")
            assert (await session.client.unary(CHECK, Request())).status == 1
            assert await book.get("buildx:abc") is session
        assert session.ended.is_set() and not book.known("abc")
        with pytest.raises(GrpcError) as caught:
            await session.client.unary(CHECK, Request())
        assert caught.value.code == Code.UNAVAILABLE

    run(scene())


def test_a_session_that_comes_later() -> None:
    async def scene() -> None:
        book = Sessions()
        asked = [asyncio.ensure_future(book.get("abc", 30)) for _ in range(3)]
        other = asyncio.ensure_future(book.get("other", 0.2))
        await asyncio.sleep(0.01)
        async with lent(book):
            found = await asyncio.gather(*asked)
            assert {session.id for session in found} == {"abc"}
            with pytest.raises(GrpcError, match="no active session for other: context deadline exceeded"):
                await other

    run(scene())


def test_others_sessions_are_not_there() -> None:
    async def scene() -> None:
        book = Sessions()
        async with lent(book, owner="uid:1"):
            assert await book.of("uid:1").get("abc")
            assert await book.of(None).get("abc", 0)
            with pytest.raises(GrpcError, match="no active session"):
                await book.of("uid:2").get("abc", 0)

    run(scene())


def test_one_of_each_id() -> None:
    async def scene() -> None:
        book = Sessions()
        near, _ = await pair()
        async with lent(book):
            await book.get("abc")
            with pytest.raises(GrpcError, match="session abc already exists"):
                await book.serve(near, HEADERS)
            assert book.known("abc")
        near.writer.close()

    run(scene())


def test_a_client_that_does_not_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_PAUSE", 0.02)
    monkeypatch.setattr(sessions, "_PATIENCE", 0.05)

    async def silent(call: ServerStream) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        book = Sessions()
        async with lent(book, handlers={CHECK: silent}) as held:
            session = await book.get("abc")
            await held
            assert session.ended.is_set()

    run(scene())


def test_a_client_that_answers_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_PAUSE", 0.001)
    asked = 0

    async def counted(call: ServerStream) -> Any:
        nonlocal asked
        asked += 1
        return await healthy(call)

    async def scene() -> None:
        book = Sessions()
        async with lent(book, handlers={CHECK: counted}) as held:
            while asked < 10:
                await asyncio.sleep(0.005)
            assert not held.done() and book.known("abc")

    run(scene())


def test_all_end_with_the_daemon() -> None:
    async def scene() -> None:
        book = Sessions()
        async with lent(book) as held:
            await book.get("abc")
            book.close()
            await held

    run(scene())


class Tunnel:
    """The client's end of Control/Session as a stream of bytes."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def read(self, n: int, /) -> bytes:
        message = await self.call.receive()
        return message.data if message is not None else b""

    async def write(self, data: bytes, /) -> None:
        await self.call.send(proto("moby.buildkit.v1.BytesMessage")(data=data))

    async def close(self) -> None:
        self.call.end()


def test_a_session_within_a_call() -> None:
    """buildctl's way, which has one connection only."""

    async def scene() -> None:
        door = Door()
        near, far = await pair()
        served = asyncio.ensure_future(door.serve(far, Peer(identity="me")))
        client = GrpcClient(near)
        running = asyncio.ensure_future(client.run())
        async with await client.call("/moby.buildkit.v1.Control/Session", metadata=HEADERS) as call:
            inner = asyncio.ensure_future(GrpcServer({CHECK: healthy}).serve(Tunnel(call)))
            session: Session = await door.sessions.get("abc")
            assert session.owner == "me" and session.has(COPY)
            assert (await session.client.unary(CHECK, Request(service="x" * 100_000))).status == 100_000
            call.end()
            await session.ended.wait()
            inner.cancel()
        client.close()
        await running
        near.writer.close()
        await served
        far.writer.close()

    run(scene())


def test_the_doors_own_services() -> None:
    async def scene() -> None:
        door = Door()
        door.add({COPY: healthy})
        near, far = await pair()
        served = asyncio.ensure_future(door.serve(far, Peer()))
        client = GrpcClient(near)
        running = asyncio.ensure_future(client.run())
        assert (await client.unary(CHECK, Request())).status == 1
        with pytest.raises(GrpcError) as caught:
            await client.unary(CHECK, Request(service="x"))
        assert caught.value.code == Code.NOT_FOUND
        trace = "opentelemetry.proto.collector.trace.v1"
        request = proto(f"{trace}.ExportTraceServiceRequest").decode(b"\x0a\x02\x0a\x00")
        assert await client.unary(f"/{trace}.TraceService/Export", request)
        client.close()
        await running
        near.writer.close()
        await served
        far.writer.close()
        with pytest.raises(KeyError):
            door.add({"/no.such/Call": healthy})
            await door.serve(far, Peer())

    run(scene())


@pytest.mark.parametrize("before", [True, False])
def test_a_session_whose_build_was_refused_is_ended(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_PARTING", 0.01)

    async def scene() -> None:
        book = Sessions()
        if before:
            book.dismiss("abc", "ann")
            await asyncio.sleep(0)
        async with lent(book, owner="ann") as held:
            book.dismiss("abc", "bob")  # others' sessions are not there
            book.dismiss("", "ann")
            await asyncio.sleep(0.05)
            if not before:
                assert book.known("abc")
                book.dismiss("abc", "ann")
            await asyncio.wait_for(held, 5)
        book.close()

    run(scene())

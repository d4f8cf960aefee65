import asyncio
from typing import Any

import pytest

from compatd.engine.builder.buildkit.wire.metadata import first, timeout_seconds, timeout_text
from compatd.engine.builder.buildkit.wire.server import ServerStream
from compatd.engine.builder.buildkit.wire.status import (
    Code,
    Detail,
    GrpcError,
    json_detail,
    percent_decode,
    percent_encode,
)
from compatd.engine.builder.buildkit.wire.streams import MAX_MESSAGE, QUEUE, WINDOW
from compatd.engine.errors import NotFound
from tests.unit.builder.wire.ends import (
    CHECK,
    COPY,
    STATUS,
    Packet,
    Request,
    Response,
    counting,
    healthy,
    run,
    serving,
    until,
)


async def failed(work: Any) -> GrpcError:
    """The status that a call ends with."""
    with pytest.raises(GrpcError) as caught:
        await work
    return caught.value


def test_one_request_one_answer() -> None:
    async def scene() -> None:
        async with serving({CHECK: healthy}) as client:
            assert (await client.unary(CHECK, Request())).status == 1
            answers = await asyncio.gather(
                *(client.unary(CHECK, Request(service="x" * n)) for n in range(1, 300))
            )
            assert [answer.status for answer in answers] == list(range(1, 300))

    run(scene())


def test_an_error_with_all_that_belongs_to_it() -> None:
    detail = json_detail("errdefs.Source", {"info": {"filename": "Döckerfile"}})

    async def handler(call: ServerStream) -> None:
        call.trailers["x-more"] = ["a", "b"]
        raise GrpcError(Code.NOT_FOUND, "keine Döse: 100%\n", [detail])

    async def scene() -> None:
        async with serving({CHECK: handler}) as client:
            error = await failed(client.unary(CHECK, Request()))
            assert (error.code, error.message, error.details) == (5, "keine Döse: 100%\n", (detail,))
            async with await client.call(CHECK) as call:
                await failed(call.receive())
                assert call.trailers["x-more"] == ["a", "b"]

    run(scene())
    assert detail == Detail(
        "github.com/moby/buildkit/errdefs.Source+json", '{"info":{"filename":"Döckerfile"}}'.encode()
    )


def test_errors_of_the_engine_have_codes() -> None:
    async def handler(call: ServerStream) -> None:
        request = await call.request()
        raise NotFound("no such thing") if request.service else RuntimeError("broken")

    async def scene() -> None:
        async with serving({CHECK: handler}) as client:
            error = await failed(client.unary(CHECK, Request(service="x")))
            assert (error.code, error.message) == (Code.NOT_FOUND, "no such thing")
            error = await failed(client.unary(CHECK, Request()))
            assert (error.code, error.message) == (Code.UNKNOWN, "broken")

    run(scene())


def test_unknown_methods() -> None:
    async def scene() -> None:
        async with serving({CHECK: healthy}) as client:
            error = await failed(client.unary("/grpc.health.v1.Health/Watch", Request()))
            assert (error.code, error.message) == (
                Code.UNIMPLEMENTED,
                "unknown method Watch for service grpc.health.v1.Health",
            )
            error = await failed(client.unary(STATUS, Request()))
            assert (error.code, error.message) == (12, "unknown service moby.buildkit.v1.Control")

    run(scene())


def test_metadata_both_ways() -> None:
    seen: dict[str, Any] = {}

    async def handler(call: ServerStream) -> Any:
        seen.update(call.metadata)
        call.begin({"buildkit-current-timestamp": "now", "raw-bin": "\x00\xff"})
        return await healthy(call)

    async def scene() -> None:
        async with serving({CHECK: handler}) as client:
            sent = {"Include-Patterns": ["a", "b"], "one": "1", "x-bin": "\x00\xfe", "name": "ünïcode"}
            async with await client.call(CHECK, metadata=sent) as call:
                await call.send(Request())
                call.end()
                head = await call.headers()
                assert first(head, "buildkit-current-timestamp") == "now"
                assert head["raw-bin"] == ["\x00\xff"]
                assert await call.receive() == Response(status=1)

    run(scene())
    assert seen == {"include-patterns": ["a", "b"], "one": ["1"], "x-bin": ["\x00\xfe"], "name": ["ünïcode"]}
    assert first(seen, "nothing", "default") == "default"


def test_streams_both_ways_at_once() -> None:
    async def echo(call: ServerStream) -> None:
        async for packet in call:
            await call.send(Packet(ID=packet.ID, data=packet.data))

    async def scene() -> None:
        async with serving({COPY: echo}) as client, await client.call(COPY) as call:
            for n in range(50):
                await call.send(Packet(ID=n, data=b"x" * n))
                answer = await call.receive()
                assert answer is not None and (answer.ID, len(answer.data)) == (n, n)
            call.end()
            assert await call.receive() is None

    run(scene())


def test_a_client_that_does_not_read_holds_the_server_back() -> None:
    sent = 0

    async def much(call: ServerStream) -> None:
        nonlocal sent
        await call.request()
        for _ in range(400):
            await call.send(Packet(data=bytes(64 << 10)))
            sent += 64 << 10

    async def scene() -> None:
        async with serving({COPY: much, CHECK: healthy}) as client, await client.call(COPY) as call:
            await call.send(Packet(ID=1))
            await until(lambda: sent > WINDOW // 2)
            for _ in range(20):  # other calls go on meanwhile
                await client.unary(CHECK, Request())
            assert sent <= WINDOW + QUEUE + (1 << 20)
            count = 0
            async for packet in call:
                count += len(packet.data)
            assert count == 400 * (64 << 10)

    run(scene())


def test_a_server_that_does_not_read_holds_the_client_back() -> None:
    go = asyncio.Event()
    seen: list[int] = []

    async def slow(call: ServerStream) -> Any:
        await go.wait()
        return await counting(seen)(call)

    async def scene() -> None:
        async with serving({COPY: slow, CHECK: healthy}) as client, await client.call(COPY) as call:
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(400):
                    await call.send(Packet(data=bytes(64 << 10)))
                    sent += 64 << 10
                call.end()

            sending = asyncio.ensure_future(send())
            await until(lambda: sent > WINDOW // 2)
            for _ in range(20):
                await client.unary(CHECK, Request())
            assert sent <= WINDOW + QUEUE + (1 << 20)
            go.set()
            await sending
            answer = await call.receive()
            assert answer is not None and answer.ID == sum(seen) == 400 * (64 << 10)

    run(scene())


def test_large_messages_and_those_that_are_too_large() -> None:
    async def handler(call: ServerStream) -> Any:
        packet = await call.request()
        return Packet(data=packet.data)

    async def scene() -> None:
        async with serving({COPY: handler}) as client:
            large = bytes(range(256)) * (60 << 10)
            assert (await client.unary(COPY, Packet(data=large))).data == large
            error = await failed(client.unary(COPY, Packet(data=bytes(MAX_MESSAGE + 1))))
            assert error.code == Code.RESOURCE_EXHAUSTED and "larger than max" in error.message
            assert (await client.unary(COPY, Packet(data=b"after"))).data == b"after"

    run(scene())


def test_deadlines() -> None:
    ended = asyncio.Event()

    async def forever(call: ServerStream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def scene() -> None:
        async with serving({CHECK: forever}) as client:
            error = await failed(client.unary(CHECK, Request(), timeout=0.05))
            assert (error.code, error.message) == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            await ended.wait()

    run(scene())


def test_the_server_keeps_the_deadline_by_itself() -> None:
    async def forever(call: ServerStream) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        async with serving({CHECK: forever}) as client:
            async with await client.call(CHECK, metadata={"grpc-timeout": "20m"}) as call:
                assert (await failed(call.receive())).code == Code.DEADLINE_EXCEEDED
            async with await client.call(CHECK, metadata={"grpc-timeout": "soon"}) as call:
                assert "malformed grpc-timeout" in (await failed(call.receive())).message

    run(scene())


def test_a_client_that_breaks_off_ends_the_handler() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def forever(call: ServerStream) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def scene() -> None:
        async with serving({CHECK: forever}) as client:
            async with await client.call(CHECK):
                await begun.wait()
            await ended.wait()

    run(scene())


def test_a_server_may_end_before_its_client() -> None:
    """As grpc-go, it then says RST_STREAM(NO_ERROR); what it has sent before must arrive."""

    async def early(call: ServerStream) -> None:
        await call.receive()
        for n in range(20):
            await call.send(Packet(ID=n + 1))

    async def scene() -> None:
        async with serving({COPY: early}) as client, await client.call(COPY) as call:
            await call.send(Packet(ID=1))
            await until(lambda: call._stream.ended_in)
            with pytest.raises(GrpcError, match=r"ended|reset"):
                await call.send(Packet())
            assert [packet.ID async for packet in call] == list(range(1, 21))

    run(scene())


def test_the_end_of_the_connection_ends_all_calls() -> None:
    ended = []

    async def forever(call: ServerStream) -> None:
        try:
            await call.receive()
        finally:
            ended.append(call.path)

    async def scene() -> None:
        async with serving({COPY: forever}) as client:
            calls = [await client.call(COPY) for _ in range(5)]
            waiting = [asyncio.ensure_future(failed(call.receive())) for call in calls]
            await asyncio.sleep(0)
            client.close()
            assert {error.code for error in await asyncio.gather(*waiting)} == {Code.UNAVAILABLE}
            await client.ended.wait()
            assert (await failed(client.unary(CHECK, Request()))).code == Code.UNAVAILABLE
        assert ended == [COPY] * len(ended)

    run(scene())


def test_more_calls_than_the_peer_takes_wait() -> None:
    go = asyncio.Event()

    async def waiting(call: ServerStream) -> Any:
        await go.wait()
        return await healthy(call)

    async def scene() -> None:
        async with serving({CHECK: waiting}) as client:
            await until(lambda: client._connection._h2.remote_settings.max_concurrent_streams == 250)
            calls = [asyncio.ensure_future(client.unary(CHECK, Request())) for _ in range(300)]
            await until(lambda: len(client._connection.streams) == 250)
            go.set()
            assert len(await asyncio.gather(*calls)) == 300

    run(scene())


def test_the_guard_comes_first_and_sees_each_message() -> None:
    seen: list[Any] = []

    def guard(peer: Any, path: str, message: Any) -> None:
        seen.append((peer, path, message and message.service))
        if message is not None and message.service == "no":
            raise GrpcError(Code.PERMISSION_DENIED, "not you")

    async def scene() -> None:
        async with serving({CHECK: healthy}, peer="me", guard=guard) as client:
            await client.unary(CHECK, Request(service="yes"))
            assert (await failed(client.unary(CHECK, Request(service="no")))).code == 7

    run(scene())
    assert seen == [("me", CHECK, None), ("me", CHECK, "yes"), ("me", CHECK, None), ("me", CHECK, "no")]


def test_timeouts_as_text() -> None:
    assert timeout_seconds("") is None
    assert timeout_seconds("14999977u") == pytest.approx(14.999977)
    assert [timeout_seconds(f"2{unit}") for unit in "HMS"] == [7200, 120, 2]
    for seconds in (0, 0.001, 5, 3600, 1e7):
        assert timeout_seconds(timeout_text(seconds)) == pytest.approx(seconds, rel=1e-6)
    for text in ("5", "S", "-1S", "123456789S", "5x"):
        with pytest.raises(ValueError, match="malformed"):
            timeout_seconds(text)


def test_percent_signs() -> None:
    assert percent_encode("a b%c\nä") == "a b%25c%0A%C3%A4"
    assert percent_decode("a b%25c%0A%C3%A4%zz%") == "a b%c\nä%zz%"

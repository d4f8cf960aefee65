"""Connections that become HTTP/2, on a real server: `/grpc`, `/session`, and HTTP/2 without asking."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.api import grpc
from compatd.engine.builder.buildkit.door import Door
from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import GrpcServer, ServerStream
from compatd.http import Call
from tests.unit.builder.wire.ends import CHECK, COPY, Bytes, Packet, Request, healthy, run
from tests.unit.http.harness import Running, parse
from tests.unit.http.streaming import eventually, request

H2C = ("Connection: Upgrade", "Upgrade: h2c")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
ASK = "/moby.buildkit.secrets.v1.Secrets/GetSecret"

DOOR = Door()
ENGINE: Any = SimpleNamespace(buildkit=DOOR)
PEERS: list[Any] = []
ENDED: list[str] = []


async def packets(call: ServerStream) -> Any:
    PEERS.append(call.peer)
    total = 0
    try:
        async for packet in call:
            total += len(packet.data)
    except BaseException:
        ENDED.append("copy")
        raise
    return Packet(ID=total)


async def secret(call: ServerStream) -> Any:
    """Asks the client's session for a secret of the same name."""
    ask = await call.request()
    session = await DOOR.sessions.of(call.peer.owner).get("of-the-test")
    answer = await session.client.unary(ASK, ask)
    return proto("moby.buildkit.secrets.v1.GetSecretResponse")(data=answer.data + session.name.encode())


DOOR.add({COPY: packets, ASK: secret})


async def _grpc(engine: Any, call: Call) -> None:
    if call.header("x-limits"):
        call.access = (frozenset(call.header("x-limits").split(",")), "uid:7")
    await grpc.grpc(ENGINE, call)


async def _session(engine: Any, call: Call) -> None:
    await grpc.session(ENGINE, call)


HANDLERS = {"Grpc": _grpc, "Session": _session}


async def opened(running: Running, head: bytes) -> Bytes:
    """A connection that is HTTP/2 from here on."""
    end = Bytes(*await asyncio.open_unix_connection(running.path))
    if head:
        await end.write(head)
        assert await end.reader.readuntil(b"\r\n\r\n") == SWITCHED
    return end


@pytest.mark.parametrize("head", [request("POST", "/v1.45/grpc", *H2C), request("POST", "/grpc", *H2C), b""])
def test_grpc(running: Running, head: bytes) -> None:
    async def scene() -> None:
        end = await opened(running, head)
        client = GrpcClient(end)
        task = asyncio.ensure_future(client.run())
        assert (await client.unary(CHECK, Request())).status == 1
        async with await client.call(COPY) as call:
            for _ in range(100):
                await call.send(Packet(data=bytes(64 << 10)))
            call.end()
            assert await call.receive() == Packet(ID=100 * (64 << 10))
        client.close()
        await task
        end.writer.close()

    PEERS.clear()
    run(scene())
    assert PEERS[0].limits == frozenset()


def test_a_host_may_be_empty(running: Running) -> None:
    async def scene() -> None:
        end = await opened(running, b"POST /grpc HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n" + H2C_LINES)
        end.writer.close()

    run(scene())


H2C_LINES = "".join(f"{line}\r\n" for line in (*H2C, "")).encode()


def test_who_is_calling_goes_with_each_call(running: Running) -> None:
    async def scene() -> None:
        end = await opened(running, request("POST", "/grpc", *H2C, "X-Limits: own"))
        client = GrpcClient(end)
        task = asyncio.ensure_future(client.run())
        async with await client.call(COPY) as call:
            call.end()
            await call.receive()
        client.close()
        await task
        end.writer.close()

    PEERS.clear()
    run(scene())
    assert (PEERS[0].limits, PEERS[0].identity, PEERS[0].owner) == (frozenset({"own"}), "uid:7", "uid:7")


def test_a_client_that_vanishes_ends_its_calls(running: Running) -> None:
    async def scene() -> None:
        end = await opened(running, request("POST", "/grpc", *H2C))
        client = GrpcClient(end)
        task = asyncio.ensure_future(client.run())
        call = await client.call(COPY)
        await call.send(Packet(data=b"x"))
        await eventually_async(lambda: bool(PEERS))
        end.writer.transport.abort()
        await task

    PEERS.clear()
    ENDED.clear()
    run(scene())
    eventually(lambda: ENDED == ["copy"])


async def eventually_async(true: Any) -> None:
    while not true():
        await asyncio.sleep(0.005)


def test_a_session_beside_its_build(running: Running) -> None:
    fields = (
        "Uuid: of-the-test",
        "Name: my folder, it is",
        f"Grpc-Method: {CHECK}",
        f"Grpc-Method: {ASK}",
    )
    headers = [f"X-Docker-Expose-Session-{field}" for field in fields]

    async def lend(call: ServerStream) -> Any:
        ask = await call.request()
        return proto("moby.buildkit.secrets.v1.GetSecretResponse")(
            data=b"secret of " + ask.ID.encode() + b" "
        )

    async def scene() -> None:
        control = await opened(running, request("POST", "/grpc", *H2C))
        client = GrpcClient(control)
        task = asyncio.ensure_future(client.run())
        asked = asyncio.ensure_future(
            client.unary(ASK, proto("moby.buildkit.secrets.v1.GetSecretRequest")(ID="me"))
        )
        await asyncio.sleep(0)  # it comes before the session
        session = await opened(running, request("POST", "/session", *H2C, *headers))
        serving = asyncio.ensure_future(GrpcServer({CHECK: healthy, ASK: lend}).serve(session))
        assert (await asked).data == b"secret of me my folder, it is"
        again = await asyncio.to_thread(
            running.request, "POST", "/session", None, ("X-Docker-Expose-Session-Uuid: of-the-test",)
        )
        assert again[0] == "HTTP/1.1 400 Bad Request"
        assert json.loads(again[2]) == {"message": "session of-the-test already exists"}
        session.writer.close()
        await serving
        client.close()
        await task
        control.writer.close()

    run(scene())
    eventually(lambda: not DOOR.sessions.known("of-the-test"))


@pytest.mark.parametrize(
    ("target", "status"), [("/grpc", "500 Internal Server Error"), ("/session", "400 Bad Request")]
)
def test_connections_that_cannot_be_upgraded(running: Running, target: str, status: str) -> None:
    for headers, message in (
        ((), "no upgrade proto in request"),
        (("Upgrade: tcp",), "protocol tcp not supported"),
    ):
        first, _, body = running.request("POST", target, headers=headers)
        assert (first, json.loads(body)) == (f"HTTP/1.1 {status}", {"message": message})
    assert running.request("GET", target)[0] == "HTTP/1.1 404 Not Found"


def test_what_only_looks_like_http2(running: Running) -> None:
    first, _, _ = parse(running.exchange(b"PRI * HTTP/2.0\r\nHost: x\r\n\r\n"))
    assert first.startswith("HTTP/1.1 505")
    assert running.exchange(b"PRI * HTTP/2.0\r\n\r\nno", half_close=True)[9:].count(b"HTTP/1.1") == 0


@pytest.mark.parametrize(
    ("query", "ended"), [({"session": "s"}, [("s", "uid:7")]), ({"session": ""}, []), ({}, [])]
)
def test_a_refused_build_s_session(query: dict[str, str], ended: list[tuple[str, str]]) -> None:
    told: list[tuple[str, str]] = []
    engine: Any = SimpleNamespace(
        buildkit=SimpleNamespace(sessions=SimpleNamespace(dismiss=lambda *a: told.append(a)))
    )
    call: Any = SimpleNamespace(query=query, access=(frozenset(), "uid:7"))
    grpc.REFUSED["ImageBuild"](engine, call)
    assert told == ended

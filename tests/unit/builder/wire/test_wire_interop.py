"""Our gRPC and Google's, in both directions."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.buildkit.wire.client import GrpcClient
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import ServerStream
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError, json_detail
from tests.unit.builder.wire.ends import CHECK, COPY, Bytes, Packet, Request, Response, run, serve

PEER = Path(__file__).with_name("grpcio_peer.py")

SEEN: list[dict[str, list[str]]] = []


async def echo(call: ServerStream) -> None:
    call.begin({"head": "first", "raw-bin": "\x00\xff"})
    call.trailers["count"] = "several"
    call._method = call._method._replace(request=_Raw, response=_Raw)
    async for message in call:
        await call.send(message)


class _Raw(Message):
    """Bytes as they are."""

    @classmethod
    def decode(cls, data: bytes) -> Any:
        made = cls.__new__(cls)
        made.__dict__["data"] = data
        return made

    def encode(self) -> bytes:
        data: bytes = self.__dict__["data"]
        return data


async def check(call: ServerStream) -> Any:
    request = await call.request()
    if not request.service:
        return Response(status=1)
    if request.service == "slow":
        await asyncio.Event().wait()
    SEEN.append(call.metadata)
    raise GrpcError(
        Code.FAILED_PRECONDITION, "nöt 100% now\n", [json_detail("errdefs.Vertex", {"digest": "x"})]
    )


def test_grpcio_calls_us(tmp_path: Path) -> None:
    async def scene() -> bytes:
        path = tmp_path / "s.sock"
        served: list[asyncio.Task[None]] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            end = Bytes(reader, writer)
            served.append(asyncio.ensure_future(serve({CHECK: check, COPY: echo}, end, None, None)))

        server = await asyncio.start_unix_server(accept, path)
        process = await asyncio.create_subprocess_exec(
            sys.executable, PEER, "call", path, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        server.close()
        await asyncio.gather(*served)
        return output

    SEEN.clear()
    found = json.loads(run(scene()))
    status = proto("google.rpc.Status").decode(bytes.fromhex(found.pop("details")))
    assert (status.code, status.message) == (9, "nöt 100% now\n")
    assert status.details[0].type_url == "github.com/moby/buildkit/errdefs.Vertex+json"
    assert found == {
        "check": "0801",
        "echo": True,
        "head": "first",
        "raw": "00ff",
        "trailing": "several",
        "error": ["FAILED_PRECONDITION", "nöt 100% now\n"],
        "late": "DEADLINE_EXCEEDED",
        "missing": "UNIMPLEMENTED",
        "many": 400,
        "after": "0801",
    }
    assert SEEN[0]["many"] == ["a", "b"] and SEEN[0]["key-bin"] == ["\x01"]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "peer.sock"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, PEER, "serve", path], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"ready\n"
        yield path
        process.stdin.close()


def test_we_call_grpcio(peer: Path) -> None:
    async def scene() -> None:
        end = Bytes(*await asyncio.open_unix_connection(peer))
        client = GrpcClient(end)
        task = asyncio.ensure_future(client.run())
        assert (await client.unary(CHECK, Request(), timeout=30)).status == 1
        async with await client.call(COPY) as call:
            sizes = [0, 1, 5, 16384, 40000, 300000, 3 << 20]
            for n, size in enumerate(sizes):
                await call.send(Packet(ID=n, data=bytes(size)))
                packet = await call.receive()
                assert packet is not None and (packet.ID, len(packet.data)) == (n, size)
            call.end()
            head = await call.headers()
            assert (head["head"], head["raw-bin"]) == (["first"], ["\x00\xff"])
            assert await call.receive() is None
            assert call.trailers["count"] == ["several"]
        for service, timeout, code in (("x", 30, 9), ("slow", 0.1, 4)):
            with pytest.raises(GrpcError) as caught:
                await client.unary(CHECK, Request(service=service), timeout=timeout)
            assert caught.value.code == code
            assert service == "slow" or caught.value.message == "nöt 100% now\n"
        answers = await asyncio.gather(*(client.unary(CHECK, Request()) for _ in range(300)))
        assert {answer.status for answer in answers} == {1}
        client.close()
        await task
        end.writer.close()

    run(scene())

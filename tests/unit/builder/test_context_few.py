"""Dockerfiles that a client sends are taken in memory; a worker takes whatever is not so simple."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.context import Contexts, FewReceiver, Receiver
from compatd.engine.builder.context.few import MAX_BYTES
from compatd.engine.errors import EngineError, NotFound
from runtime import varint
from runtime.storage import fsutilwire as wire
from runtime.storage.overlay import Overlay


def packet(kind: int, number: int = 0, data: bytes = b"") -> bytes:
    return wire.encode(kind, number, data)


def stat(path: str, *, mode: int = 0o644, size: int = 0, link: str = "") -> bytes:
    """A STAT packet of one entry."""

    def text(field: int, value: bytes) -> bytes:
        return bytes([field << 3 | 2]) + varint.encode(len(value)) + value

    body = text(1, path.encode()) + b"\x10" + varint.encode(mode) + b"\x28" + varint.encode(size)
    body += text(7, link.encode()) if link else b""
    return text(2, body)


LAST = b""  # a STAT without an entry


def contexts(root: Path) -> Contexts:
    storage = Overlay(root)
    storage.open()
    return Contexts(storage, None)


def receive(root: Path, *packets: bytes) -> tuple[Any, list[bytes]]:
    async def main() -> tuple[Any, list[bytes]]:
        receiver = FewReceiver(contexts(root), "dockerfile", "k")
        for one in packets:
            await receiver.feed(one)
        await receiver.end()
        sent = [one async for some in receiver.packets() for one in some]
        context = await receiver.context()
        await receiver.close()
        return context, sent

    return asyncio.run(main())


def test_a_dockerfile(tmp_path: Path) -> None:
    context, sent = receive(
        tmp_path,
        stat("sub", mode=wire.DIR | 0o755),
        stat("sub/Dockerfile", size=10),
        stat("sub/empty"),
        LAST,
        packet(wire.DATA, 1, b"FROM "),
        packet(wire.DATA, 2),
        packet(wire.DATA, 1, b"x"),
        packet(wire.DATA, 1),
        packet(wire.FIN),
    )
    assert sent == [packet(wire.REQ, 1), packet(wire.REQ, 2), packet(wire.FIN)]

    async def look() -> None:
        assert await context.read("sub/../sub/Dockerfile") == b"FROM x"
        assert await context.read("/sub/empty") == b""
        with pytest.raises(NotFound, match="open Dockerfile: no such file or directory"):
            await context.read("Dockerfile")
        with pytest.raises(NotFound, match="not a directory"):
            await context.read("sub/empty/x")
        with pytest.raises(EngineError, match="read sub: is a directory"):
            await context.read("sub")
        await context.close()

    asyncio.run(look())


def test_nothing(tmp_path: Path) -> None:
    _, sent = receive(tmp_path, LAST)
    assert sent == [packet(wire.FIN)]


@pytest.mark.parametrize(
    ("packets", "text"),
    [
        ([stat("Dockerfile", size=1), LAST], "unexpected EOF"),
        ([stat("Dockerfile", size=1), LAST, packet(wire.DATA, 0, b"x")], "unexpected EOF"),
        ([LAST, packet(wire.DATA, 7, b"x")], "invalid file request 7"),
        ([packet(wire.ERR, 0, b"no access")], "error from sender: no access"),
        ([b"\xff\xff"], "unexpected EOF"),
    ],
)
def test_what_fails(tmp_path: Path, packets: list[bytes], text: str) -> None:
    with pytest.raises(EngineError, match=text):
        receive(tmp_path, *packets)


def test_a_file_that_grows_without_end(tmp_path: Path) -> None:
    more = [packet(wire.DATA, 0, bytes(MAX_BYTES)) for _ in range(3)]
    with pytest.raises(EngineError, match="Dockerfile is larger than was told"):
        receive(tmp_path, stat("Dockerfile", size=1), LAST, *more)


@pytest.mark.parametrize(
    "told",
    [
        [stat("Dockerfile", mode=wire.SYMLINK | 0o777, link="/etc/shadow")],
        [stat("Dockerfile", size=MAX_BYTES + 1)],
        [stat("a", size=1), stat("b", size=1, link="a")],
        [stat(f"f{number:02}", size=1) for number in range(20)],
    ],
)
def test_a_worker_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[bytes]) -> None:
    class Worker:
        def __init__(self) -> None:
            self.heard: list[bytes] = []

        async def feed(self, *packets: bytes) -> None:
            self.heard += packets

        async def end(self) -> None:
            self.heard.append(b"end")

        async def packets(self) -> Any:
            yield [b"from the worker"]

        async def context(self) -> str:
            return "of the worker"

        async def close(self) -> None:
            """Nothing to close."""

    worker = Worker()

    async def start(*_: object) -> Worker:
        return worker

    monkeypatch.setattr(Receiver, "start", start)
    context, sent = receive(tmp_path, *told, LAST)
    assert (context, sent) == ("of the worker", [b"from the worker"])
    assert worker.heard == [*told, LAST, b"end"], "all that came, in its order"

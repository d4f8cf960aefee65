"""Handlers that stream, take connections over and read bodies in pieces, for the tests beside."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from compatd.http import MULTIPLEXED_STREAM, RAW_STREAM, Answer, Call, Json
from tests.unit.http.harness import receive_all

ENDED: dict[str, threading.Event] = {}


class Broken(Exception):
    status = 409
    message = "it broke <here>"


async def events(engine: Any, call: Call) -> Answer | None:
    """Streams at once, then waits for ever; tells how it ended."""
    ended = ENDED[call.header("X-Name")]
    stream = await call.stream("application/json")
    try:
        await stream.json({"n": 1, "text": "<&>"})
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if stream.gone.is_set():
            ended.set()
        raise
    return None


async def stats(engine: Any, call: Call) -> Answer | None:
    stream = await call.stream("application/json", headers={"X-Extra": "1"})
    for number in range(3):
        await stream.json({"read": str(number)})
    return None


async def logs(engine: Any, call: Call) -> Answer | None:
    """Writes until the client goes, and counts."""
    stream = await call.stream(RAW_STREAM)
    written = 0
    try:
        while True:
            await stream.write(b"x" * 65536)
            written += 65536
            engine_written[0] = written
    finally:
        ENDED[call.header("X-Name")].set()


engine_written = [0]


async def pull(engine: Any, call: Call) -> Answer | None:
    if call.query["fromImage"] == "early":
        raise Broken
    stream = await call.stream("application/json")
    await stream.json({"status": "Pulling", "progress": "[=>  ]"})
    raise Broken


async def cut(engine: Any, call: Call) -> Answer | None:
    stream = await call.stream("application/x-tar")
    await stream.write(b"half")
    raise RuntimeError("disk on fire")


async def stop(engine: Any, call: Call) -> Answer | None:
    """A change that must not stay half done when the client goes."""
    await call.gone.wait()
    await asyncio.sleep(0.01)
    ENDED[call.path["id"]].set()
    return None


async def attach(engine: Any, call: Call) -> Answer | None:
    """Echoes in capitals; counts after the client's end of input."""
    if call.path["id"] == "nope":
        raise Broken
    if call.path["id"] == "silent":
        await silent(call)
        return None
    connection = await call.hijack(MULTIPLEXED_STREAM)
    total = 0
    while data := await connection.read():
        total += len(data)
        await connection.write(data.upper())
    await connection.write(b"total %d" % total)
    return None


async def silent(call: Call) -> None:
    connection = await call.hijack()
    try:
        await asyncio.Event().wait()
    finally:
        if connection.gone.is_set():
            ENDED.get(call.header("X-Name"), threading.Event()).set()


async def exec_start(engine: Any, call: Call) -> Answer | None:
    assert call.body is not None
    connection = await call.hijack(MULTIPLEXED_STREAM)
    sock, early = await connection.detach()
    threading.Thread(target=answer_outside, args=(sock, early)).start()
    return None


def answer_outside(sock: socket.socket, early: bytes) -> None:
    with sock:
        sock.setblocking(True)
        sock.sendall(b"got " + early + receive_all(sock))


async def attach_ws(engine: Any, call: Call) -> Answer | None:
    connection = await call.websocket()
    while data := await connection.read():
        await connection.write(data.upper())
    return None


async def load(engine: Any, call: Call) -> Answer:
    total, digest = 0, hashlib.sha256()
    async for data in call.chunks():
        total += len(data)
        digest.update(data)
    return Json({"total": total, "sha256": digest.hexdigest()}, gated=False)


async def put_archive(engine: Any, call: Call) -> Answer:
    raise Broken  # without reading the body


HANDLERS = {
    "SystemEvents": events,
    "ContainerStats": stats,
    "ContainerLogs": logs,
    "ImageCreate": pull,
    "ContainerExport": cut,
    "ContainerStop": stop,
    "ContainerAttach": attach,
    "ContainerAttachWebsocket": attach_ws,
    "ExecStart": exec_start,
    "ImageLoad": load,
    "PutContainerArchive": put_archive,
}


def named(name: str) -> threading.Event:
    ENDED[name] = threading.Event()
    return ENDED[name]


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def request(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


UPGRADE = ("Connection: Upgrade", "Upgrade: tcp")

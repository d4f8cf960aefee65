"""An engine without API, for tests of RUN; `runkit` starts it: SOCKET FOLDER NAME [DRIVER].

A connection is one request, a line of JSON, and so is the answer. To close it before is to cancel the RUN.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from compatd.config.config import load
from compatd.engine.builder import running
from compatd.engine.builder.dockerfile.instructions import Heredoc
from compatd.engine.builder.dockerfile.mounts import parse_mount
from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.snapshots import Folder, LayerTree, Tree
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError, NotFound
from compatd.engine.images.index import Pins
from tests.integration.daemon import busybox_tar

Json = dict[str, Any]


class Lent:
    """What a client lends: secrets, and an agent that answers with what it hears, in capitals."""

    def __init__(self, secrets: Json, agents: list[str]) -> None:
        self.secrets, self.agents = secrets, agents

    async def get(self, secret_id: str) -> bytes:
        if secret_id not in self.secrets:
            raise NotFound(f"secret {secret_id}: not found")
        return str(self.secrets[secret_id]).encode()

    async def connect(self, agent_id: str) -> socket.socket:
        if agent_id not in self.agents:
            raise NotFound(f"unset ssh forward key {agent_id}")
        ours, theirs = socket.socketpair()
        self.task = asyncio.ensure_future(self._shout(ours))
        return theirs

    async def _shout(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        with sock, contextlib.suppress(OSError):
            while data := await loop.sock_recv(sock, 4096):
                await loop.sock_sendall(sock, data.upper())


class Driver:
    """Layers by name: `base` is a busybox."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pins = Pins(engine.images.index._pins)
        self.layers: dict[str, list[str]] = {"scratch": []}
        self.working: set[asyncio.Future[Json]] = set()

    async def open(self) -> None:
        found = list(self.engine.images.index.images.values())
        if not found:
            await self.engine.images.import_(_chunks(busybox_tar()))
            found = list(self.engine.images.index.images.values())
        self.layers["base"] = list(found[0].chain_ids)

    def tree(self, name: str) -> Tree | None:
        if name.startswith("/"):
            return Folder(Path(name))
        return LayerTree(tuple(self.layers[name])) if name else None

    async def run(self, request: Json) -> Json:
        """`on`: the layers below; `keep`: the name of the layers that it comes to; `slow`: seconds before
        each piece of output is taken.
        """
        on, keep, slow = request.pop("on", "base"), request.pop("keep", ""), request.pop("slow", 0)
        lent = Lent(request.pop("secrets", {}), request.pop("agents", []))
        mounts = [parse_mount(text, str) for text in request.pop("mounts", [])]
        script = request.pop("script", None)
        snapshots = self.engine.builder.snapshots
        snapshot = await snapshots.create(self.layers[on])
        out: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}

        async def output(stream: int, data: bytes) -> None:
            if slow:
                await asyncio.sleep(slow)
            out[stream] += data

        answer: Json = {"error": None}
        try:
            one = running.Run(
                snapshot=snapshot,
                mounts=running.resolve(
                    mounts, request.get("cwd", "/"), [self.tree(m.source_stage) for m in mounts]
                ),
                secrets=lent,
                ssh=lent,
                script=Heredoc("EOF", script) if script else None,
                entitlements=frozenset(request.pop("entitlements", [])),
                **{"environment": ["PATH=/bin"], **request},
            )
            answer["id"] = one.id
            try:
                await running.run(self.engine, one, output)
            except EngineError as error:
                answer |= {"error": error.message, "kind": type(error).__name__}
                if isinstance(error, BuildError):
                    answer |= {"code": error.code, "classic": error.classic_text}
            answer["files"] = _files(self.engine.storage.rw / snapshot.id / "diff")
            if keep:
                layer = await snapshots.commit(snapshot, self.pins)
                assert layer
                self.layers[keep] = [*self.layers[on], layer.chain_id]
        finally:
            snapshots.discard(snapshot)
        texts = {"out": out[1], "err": out[2]}
        return answer | {name: bytes(data).decode("utf-8", "replace") for name, data in texts.items()}

    async def network(self, request: Json) -> Json:
        return {"id": await self.engine.networks.create({"Name": request["name"]})}

    async def events(self, request: Json) -> Json:
        return {"events": [f"{event['Type']} {event['Action']}" for event in self.engine.events._past]}

    async def records(self, request: Json) -> Json:
        return {"records": [record.document() for record in self.engine.builder.cache.records.values()]}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        work = asyncio.ensure_future(getattr(self, request.pop("op"))(request))
        self.working.add(work)
        work.add_done_callback(self.working.discard)
        gone = asyncio.ensure_future(reader.read())
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
        try:
            answer = await work
        except asyncio.CancelledError:
            answer = {"cancelled": True}
        except Exception as error:
            answer = {"raised": f"{type(error).__name__}: {error}"}
            sys.excepthook(*sys.exc_info())
        gone.cancel()
        with contextlib.suppress(OSError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


def _files(folder: Path) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder):
        found += [f"{place}/{name}".removeprefix(str(folder)) for name in [*folders, *names]]
    return sorted(found)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def main() -> None:
    path, folder, name, *driver = sys.argv[1:]
    flags: Json = {"data-root": f"{folder}/data", "exec-root": f"{folder}/exec", "cgroup-parent": f"/{name}",
                   "exec-opts": ["native.cgroupdriver=cgroupfs"]}  # fmt: skip
    if driver:
        flags["storage-driver"] = driver[0]
    (Path(folder) / "run.json").write_text("{}")
    engine = Engine(load(flags, f"{folder}/run.json"))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, stop.set)
    try:
        await engine.open()
        found = Driver(engine)
        await found.open()
        server = await asyncio.start_unix_server(found.serve, path, limit=1 << 26)
        await stop.wait()
        server.close()
        for work in tuple(found.working):  # as the builder's end does
            work.cancel()
        await asyncio.gather(*found.working, return_exceptions=True)
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main())

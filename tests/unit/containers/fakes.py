"""Neighbours of the containers' room that do nothing real."""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compatd.config import Config
from compatd.engine.containers import Containers
from compatd.engine.errors import NotFound
from compatd.engine.events import Events
from compatd.engine.execs import Execs
from compatd.engine.volumes import Volumes
from runtime.client import Lost, Running, RuntimeError_, Started

Json = dict[str, Any]


class FakeTable:
    def __init__(self) -> None:
        self.rows: dict[str, Json] = {}

    def all(self) -> Any:
        return iter(list(self.rows.items()))

    def put(self, key: str, document: Json) -> None:
        import orjson

        self.rows[key] = orjson.loads(orjson.dumps(document))

    def delete(self, key: str) -> None:
        self.rows.pop(key, None)


class FakeStore:
    def __init__(self) -> None:
        self.containers, self.volumes = FakeTable(), FakeTable()


@dataclass
class FakeImage:
    id: str
    config: Json
    chain_ids: list[str] = field(default_factory=list)
    size: int = 0
    parent: str = ""


class FakeImages:
    def __init__(self) -> None:
        config = {"os": "linux", "architecture": "amd64", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}}
        self.uses: Any = None
        self.index = self
        self.images = {"box": FakeImage("sha256:" + "a" * 64, config)}

    def get(self, image_id: str) -> FakeImage | None:
        return next((image for image in self.images.values() if image.id == image_id), None)

    def release(self, chain_ids: list[str]) -> None:
        pass

    def resolve(self, reference: str) -> FakeImage:
        for name, image in self.images.items():
            if reference in (name, image.id):
                return image
        raise NotFound(f"No such image: {reference if ':' in reference else reference + ':latest'}")


@dataclass
class FakeLease:
    plan: Json
    settings: Json
    holds: list[socket.socket] = field(default_factory=list)


class FakeNetworks:
    def __init__(self) -> None:
        self.find: Any = None
        self.planned: list[str] = []
        self.renamings: list[str] = []
        self.released: list[str] = []
        self.failure: Exception | None = None

    def plan(self, container: Any) -> FakeLease:
        if self.failure:
            raise self.failure
        self.planned.append(container.id)
        settings = {
            "SandboxID": "s",
            "SandboxKey": "/k",
            "Ports": {},
            "Networks": {"bridge": {"IPAddress": "x"}},
        }
        return FakeLease({"mode": "host"}, settings)

    def release(self, container_id: str) -> None:
        self.released.append(container_id)

    def check_request(self, endpoints: dict[str, Json]) -> None:
        pass

    def link(self, container: Any, linked: Any) -> None:
        pass

    def join(self, container: Any, term: str, request: Json) -> Any:
        raise NotFound(f"network {term} not found")

    def leave(self, container: Any, term: str) -> Any:
        raise NotFound(f"network {term} not found")

    def left(self, move: Any) -> None:
        pass

    def endpoints(self, container_id: str) -> list[Any]:
        return []

    def unknown(self, term: str) -> bool:
        return True

    def inspect(self, term: str, scope: str = "") -> Json:
        raise NotFound(f"network {term} not found")

    def connect_idle(self, container: Any, term: str, request: Json) -> None:
        container.networking[term] = request

    def disconnect_idle(self, container: Any, term: str) -> None:
        container.networking.pop(term)

    def running_settings(self, container: Any) -> Json:
        return self.plan(container).settings

    async def moved(self, container: Any) -> None:
        pass

    def renamed(self, container: Any) -> Json | None:
        self.renamings.append(container.name)
        return None

    def adopt(self, container: Any) -> Json | None:
        return None

    def settle(self) -> None:
        pass

    def write_files(self, container: Any) -> dict[str, Path]:
        return {}

    def idle_settings(self, container: Any, running: Json | None = None) -> Json:
        return {"SandboxID": "", "SandboxKey": "", "Ports": {}, "Networks": {"bridge": {"NetworkID": ""}}}


class FakeRuntime:
    """Starts nothing; `signal` ends a container unless it is deaf to that one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine: Any = None
        self.failure: str = ""
        self.deaf: set[int] = set()
        self.killed: list[tuple[str, int]] = []
        self.running: dict[str, int] = {}
        self.adopted: dict[str, Any] = {}
        self.attachments: list[Any] = []
        self.exec_failure = ""
        self.execs: list[Json] = []
        self.updates: list[Json] = []
        self.discarded: list[str] = []

    def bundle(self, container_id: str) -> Path:
        return self.root / "c" / container_id

    async def start(self, container_id: str, attachments: Any, holds: Any) -> Started:
        await asyncio.sleep(0)
        if self.failure:
            raise RuntimeError_(self.failure)
        self.attachments = list(attachments)
        self.running[container_id] = 4242
        return Started(4242, [])

    def end(self, container_id: str, code: int = 0) -> None:
        if self.running.pop(container_id, None):
            self.engine.on_runtime_event(container_id, {"event": "exit", "code": code, "oom": False})

    async def adopt(self, container_id: str) -> Any:
        return self.adopted.get(container_id, Lost())

    async def attach(self, container_id: str, options: Any) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.attachments.append(theirs)
        return ours

    async def exec(
        self, container_id: str, exec_id: str, process: Json, attachments: Any, *, detach_keys: bytes = b""
    ) -> int:
        for attachment in attachments:
            attachment.sock.close()
        if self.exec_failure:
            raise RuntimeError_(self.exec_failure)
        self.execs.append(process)
        return 77

    async def resize(self, container_id: str, exec_id: str | None, width: int, height: int) -> None:
        pass

    async def kill(
        self, container_id: str, signal: int, *, all: bool = False, exec_id: str | None = None
    ) -> None:
        if exec_id is not None:
            self.killed.append((exec_id, signal))
            return
        self.killed.append((container_id, signal))
        if signal not in self.deaf:
            self.end(container_id, 128 + signal)

    async def pause(self, container_id: str) -> None:
        pass

    async def resume(self, container_id: str) -> None:
        pass

    async def update(self, container_id: str, resources: Json) -> None:
        if self.failure:
            raise RuntimeError_(self.failure, "CgroupError")
        self.updates.append(resources)

    async def hold(self, container_id: str, sockets: Any, relays: Any = (), drop: Any = ()) -> None:
        pass

    async def delete(self, container_id: str) -> None:
        self.running.pop(container_id, None)

    async def discard(self, container_id: str) -> None:
        self.discarded.append(container_id)

    async def worker(self, function: str, arguments: Json, fds: Any = ()) -> Any:
        return {"copied": False}


class FakeStorage:
    def __init__(self, root: Path) -> None:
        self.rw = root / "rw"

    quotas = None
    no_quotas = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"

    def create_rw(self, container_id: str, size: int | None = None) -> None:
        (self.rw / container_id / "diff").mkdir(parents=True)

    def remove_rw(self, container_id: str) -> None:
        import shutil

        shutil.rmtree(self.rw / container_id, ignore_errors=True)

    name = "overlay2"

    def fill_work(self, container_id: str, chain_ids: list[str]) -> None:
        return None

    def size_work(self, container_id: str) -> None:
        return None

    def root_plan(self, container_id: str, chain_ids: list[str]) -> Json:
        return {"overlay": {"lower": [], "upper": "/u", "work": "/w"}}

    def graph_data(self, container_id: str, chain_ids: list[str]) -> dict[str, str]:
        return {}


class World:
    """An engine's containers' room with fake neighbours."""

    def __init__(self, root: Path, store: FakeStore | None = None, **config: Any) -> None:
        self.config = Config({"data-root": str(root), "exec-root": str(root / "run"), **config})
        self.store = store or FakeStore()
        self.events = Events()
        self.seen: list[str] = []
        emit = self.events.emit

        def record(
            kind: str, action: str, actor: str, attributes: dict[str, str], scope: str = "local"
        ) -> Any:
            self.seen.append(f"{kind} {action}")
            return emit(kind, action, actor, attributes, scope)

        self.events.emit = record  # type: ignore[method-assign]
        self.images, self.networks = FakeImages(), FakeNetworks()
        self.runtime, self.storage = FakeRuntime(root / "run"), FakeStorage(root)
        self.volumes = Volumes(self.config, self.store, self.events)
        self.containers = Containers(
            self.config,
            self.store,
            self.events,
            self.images,
            self.networks,
            self.volumes,
            self.runtime,
            self.storage,
        )
        self.containers.capabilities = ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_KILL"]
        self.execs = Execs(self.containers, self.events, self.runtime)
        self.runtime.engine = self.containers

    async def create(self, name: str = "", **body: Any) -> str:
        answer = await self.containers.create({"Image": "box", **body}, name)
        return str(answer["Id"])

    async def settle(self) -> None:
        """Let background tasks run until nothing is left to do but wait for timers."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in tuple(self.containers._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


__all__ = ["FakeImage", "FakeStore", "Running", "World"]

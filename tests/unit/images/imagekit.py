"""Stand-ins for the images' neighbours: a store in a dict, a worker in a process of its own, event lists."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from compatd.engine.images import Images, Layer
from compatd.engine.images.model import chain_ids
from compatd.engine.images.reference import parse
from runtime.storage.overlay import Overlay

_MAIN = """
import importlib, json, sys
module, _, function = sys.argv[1].partition(":")
fds = json.loads(sys.argv[3])
answer = getattr(importlib.import_module(module), function)(json.loads(sys.argv[2]), fds)
sys.stdout.write(json.dumps(answer))
"""


class FakeTable:
    def __init__(self) -> None:
        self.documents: dict[str, str] = {}

    def get(self, key: str) -> dict[str, Any] | None:
        text = self.documents.get(key)
        return None if text is None else json.loads(text)

    def put(self, key: str, document: dict[str, Any]) -> None:
        self.documents[key] = json.dumps(document)

    def delete(self, key: str) -> None:
        self.documents.pop(key, None)

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, text in list(self.documents.items()):
            yield key, json.loads(text)


class FakeStore:
    def __init__(self) -> None:
        self.images, self.layers, self.tags = FakeTable(), FakeTable(), FakeTable()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        before = [dict(table.documents) for table in (self.images, self.layers, self.tags)]
        try:
            yield
        except BaseException:
            for table, documents in zip((self.images, self.layers, self.tags), before, strict=True):
                table.documents = documents
            raise


class ProcessWorker:
    """`Runtime.worker` by a plain child process."""

    async def worker(self, function: str, arguments: dict[str, Any], fds: list[int] | None = None) -> Any:
        fds = fds or []
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _MAIN, function, json.dumps(arguments), json.dumps(fds),
            pass_fds=fds, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        try:
            output, _ = await child.communicate()
        except asyncio.CancelledError:
            child.kill()
            await child.communicate()
            raise
        if child.returncode:
            raise RuntimeError(f"the worker ended with {child.returncode}")
        return json.loads(output)


class EventList:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, dict[str, str]]] = []

    def emit(
        self, kind: str, action: str, actor: str, attributes: dict[str, str], scope: str = "local"
    ) -> None:
        self.seen.append((kind, action, actor, attributes))

    def actions(self) -> list[str]:
        return [action for _, action, _, _ in self.seen]


def make_images(root: Path, store: Any = None, worker: Any = None, **config: Any) -> Images:
    """An `Images` below `root` that is not opened yet."""
    settings = SimpleNamespace(
        insecure_registries=[], registry_mirrors=[], registries={}, max_concurrent_downloads=3,
        max_concurrent_uploads=5, max_download_attempts=5,
    )  # fmt: skip
    for name, value in config.items():
        setattr(settings, name, value)
    return Images(settings, store or FakeStore(), EventList(), worker or ProcessWorker(), Overlay(root))


async def pieces(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    """`data` as a request's body would come."""
    for at in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[at : at + size]


def add_image(
    images: Images,
    *,
    layers: int = 1,
    names: tuple[str, ...] = (),
    parent: str = "",
    created: str = "",
    **config: Any,
) -> Any:
    """An image with made-up layers, put into the index without unpacking anything."""
    diffs = [f"sha256:{hashlib.sha256(f'layer {number}'.encode()).hexdigest()}" for number in range(layers)]
    with images.index.pinned() as pins:
        above = ""
        for diff, chain in zip(diffs, chain_ids(diffs), strict=True):
            pins.add(chain)
            if chain not in images.index.layers:
                prepared = images.storage.prepare_layer()
                images.storage.commit_layer(prepared, chain)
                images.index.add_layer(Layer(chain, diff, above, 10, diff, 1024, 1024, ""))
            above = chain
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": created or "2024-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": [{"created_by": f"step {number}"} for number in range(layers)],
        }
        image = images.index.create(json.dumps(document).encode(), parent)
    for name in names:
        images.index.name(parse(name), image)
    return image

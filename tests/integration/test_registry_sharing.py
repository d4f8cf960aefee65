"""Pulls at the same time: they share downloads, and one's end is not another's."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.images import Images
from compatd.engine.images.reference import parse
from compatd.engine.images.registry import backoff
from tests.integration.registrykit import FakeRegistry, Handler, digest, fake_registry, status
from tests.integration.test_registry_faults import CONFIG, LAYER, of_layer
from tests.integration.test_registry_pull import pull, statuses
from tests.unit.images.imagekit import make_images

pytestmark = pytest.mark.root


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add([LAYER], CONFIG, tag="1")
        yield registry


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setattr(backoff, "SECOND", 0)
    images = make_images(tmp_path / "store", max_download_attempts=3)
    images.storage.open()
    return images


def together(images: Images, names: list[str], act: Callable[..., Any]) -> list[list[dict[str, Any]]]:
    """Pull all at the same time; `act(tasks)` is awaited meanwhile."""
    lines: list[list[dict[str, Any]]] = [[] for _ in names]

    async def all_at_once() -> None:
        def writer(mine: list[dict[str, Any]]) -> Any:
            async def write(value: dict[str, Any]) -> None:
                mine.append(value)

            return write

        tasks = [
            asyncio.ensure_future(images.pull(parse(name), writer(mine)))
            for name, mine in zip(names, lines, strict=True)
        ]
        await act(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_at_once())
    images.storage.settle()
    assert list(images.storage.tmp.iterdir()) == []
    return lines


class Gate:
    """Holds a blob's answer back: its first byte goes out, the others when it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(LAYER)))
        handler.end_headers()
        handler.wfile.write(LAYER[:1])
        self.reached.set()
        self.opened.wait(30)
        try:
            handler.wfile.write(LAYER[1:])
        except OSError:
            handler.close_connection = True


async def both_wait(images: Images) -> None:
    """Until two pulls wait for the one download."""
    while not any(transfer.users == 2 for transfer in images._downloads._transfers.values()):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("cancelled", [None, 0, 1])
def test_two_pulls_share_a_download(images: Images, registry: FakeRegistry, cancelled: int | None) -> None:
    """Which goes on for the one that is left."""
    registry.put(*registry.manifests["1"], "2")
    gate = Gate()
    registry.fault(of_layer(), gate)

    async def act(tasks: list["asyncio.Task[None]"]) -> None:
        await asyncio.wait_for(both_wait(images), 30)
        await asyncio.to_thread(gate.reached.wait, 30)
        if cancelled is not None:
            tasks[cancelled].cancel()
            await asyncio.wait([tasks[cancelled]])
        gate.opened.set()

    names = [f"{registry.host}/a/b:{tag}" for tag in "12"]
    try:
        lines = together(images, names, act)
    finally:
        gate.opened.set()
    assert len(registry.paths("GET", of_layer())) == 1
    for number, name in enumerate(names):
        if number != cancelled:
            assert images.resolve(name).id == digest(CONFIG)
            assert statuses(lines[number], LAYER)[-1] == "Pull complete"
    assert len(images.resolve(names[1 - (cancelled or 0)]).repo_tags) == (2 if cancelled is None else 1)


def test_a_pull_whose_client_goes(images: Images, registry: FakeRegistry) -> None:
    gate = Gate()
    registry.fault(of_layer(), gate)

    async def act(tasks: list["asyncio.Task[None]"]) -> None:
        await asyncio.to_thread(gate.reached.wait, 30)
        tasks[0].cancel()

    try:
        together(images, [f"{registry.host}/a/b:1"], act)
    finally:
        gate.opened.set()
    assert images.index.images == {} and images.index.layers == {}
    assert images._downloads._transfers == {}
    pull(images, f"{registry.host}/a/b:1")


def test_who_shares_with_another_repository_tries_alone(images: Images, registry: FakeRegistry) -> None:
    """The failure of one registry is not that of the other."""
    gate = Gate()

    def fail(handler: Handler) -> None:
        gate.reached.set()
        gate.opened.wait(30)
        status(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}')(handler)

    registry.fault(of_layer(), fail, times=100)
    with fake_registry() as other:
        other.add([LAYER], CONFIG, tag="1")
        names = [f"{registry.host}/a/b:1", f"{other.host}/a/b:1"]

        async def act(tasks: list["asyncio.Task[None]"]) -> None:
            await asyncio.wait_for(both_wait(images), 30)
            gate.opened.set()

        try:
            together(images, names, act)
        finally:
            gate.opened.set()
        # Either may have begun the download that both wait for
        assert images.resolve(names[1]).id == digest(CONFIG)

"""pull, load, import, rmi, killed at each step: a layer is whole or absent, nothing is orphaned."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.images import Images
from compatd.engine.images.reference import parse
from tests.integration.killkit import Work, assert_whole, killed_at, on_images, registry_process
from tests.integration.test_storage_images import archive_of, config_of, layer_tar
from tests.unit.images.imagekit import pieces

pytestmark = pytest.mark.root

LAYERS = [layer_tar(**{f"file{number}": bytes([number]) * 3000}) for number in range(3)]
CONFIG = config_of(*LAYERS)
STRIDE = 3
MOST = 400


async def _ignore(value: dict[str, Any]) -> None:
    pass


async def _load(images: Images) -> None:
    layers = {"0.tar": LAYERS[0], "1.tar": gzip.compress(LAYERS[1]), "2.tar": gzip.compress(LAYERS[2])}
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": list(layers)}]).encode()
    archive = archive_of({"c.json": CONFIG, **layers, "manifest.json": manifest})
    await images.load(pieces(archive), _ignore)


async def _import(images: Images) -> None:
    await images.import_(pieces(gzip.compress(LAYERS[0])), reference=parse("a:1"))


async def _remove(images: Images) -> None:
    for image in list(images.index.images.values()):  # killed between untagging and removing, it is dangling
        images.delete(image.repo_tags[0] if image.repo_tags else image.id, force=True)


async def _prune(images: Images) -> None:
    images.prune({"dangling": ["false"]})


async def _is_whole(images: Images) -> bool:
    image = images.resolve("a:1")
    return all(
        (images.storage.layer_path(chain) / "diff/dir").is_dir() and chain in images.index.layers
        for chain in image.chain_ids
    )


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry with the image."""
    packed = [gzip.compress(layer) for layer in LAYERS]
    with registry_process(lambda made: made.add(packed, CONFIG, tag="1")) as host:
        yield host


def _at_every_step(tmp_path: Path, work: Work, before: Work | None = None, first: int = 1) -> int:
    """Kill, look, do it again; how many steps were tried."""
    for tried, step in enumerate(range(first, MOST, STRIDE)):
        data_root = tmp_path / str(step)
        data_root.mkdir()
        if before:
            on_images(data_root, before)
        killed = killed_at(data_root, step, work)
        assert_whole(data_root)
        on_images(data_root, work)
        assert_whole(data_root)
        if work not in (_remove, _prune):
            assert on_images(data_root, _is_whole)
        shutil.rmtree(data_root)
        if not killed:
            return tried
    raise AssertionError("it never ended")


def test_load(tmp_path: Path) -> None:
    assert _at_every_step(tmp_path, _load) > 10


def test_import(tmp_path: Path) -> None:
    assert _at_every_step(tmp_path, _import) > 5


def test_rmi(tmp_path: Path) -> None:
    assert _at_every_step(tmp_path, _remove, before=_load) > 5


def test_prune(tmp_path: Path) -> None:
    assert _at_every_step(tmp_path, _prune, before=_load) > 5


def test_pull(tmp_path: Path, registry: str) -> None:
    name = parse(f"{registry}/a/b:1")

    async def pull(images: Images) -> None:
        await images.pull(name, _ignore)
        images.tag(images.resolve(str(name)), parse("a:1"))

    assert _at_every_step(tmp_path, pull) > 10

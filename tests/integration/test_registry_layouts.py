"""OCI layouts are loaded with their manifest: a push sends the same bytes under the same digest."""

import asyncio
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import EngineError
from compatd.engine.images import Images
from compatd.store import Store
from conformance.images import OCI_INDEX, OCI_MANIFEST, Image, docker_archive, oci_layout
from tests.integration.registrykit import MANIFEST, FakeRegistry, digest, fake_registry
from tests.integration.test_registry_push import SMALL, pushed
from tests.integration.test_storage_images import layer_tar
from tests.unit.images.imagekit import make_images, pieces

pytestmark = pytest.mark.root

IMAGE = Image([SMALL, layer_tar(b=b"2" * 5000)], {"Cmd": ["x"]})


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def images(tmp_path: Path, store: Store) -> Images:
    images = make_images(tmp_path / "store", store)
    images.storage.open()
    return images


def load(images: Images, archive: bytes) -> None:
    async def write(value: dict[str, Any]) -> None:
        pass

    asyncio.run(images.load(pieces(archive), write))
    images.storage.settle()


def members(archive: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for info in tar:
            file = tar.extractfile(info)
            if file:
                found[info.name] = file.read()
    return found


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def manifest_of(files: dict[str, bytes]) -> bytes:
    (entry,) = json.loads(files["index.json"])["manifests"]
    return files["blobs/" + entry["digest"].replace(":", "/")]


def as_docker_archive_too(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    """As current engines save: both forms in one, over the same blobs."""
    manifest = json.loads(manifest_of(files))

    def blob(item: dict[str, Any]) -> str:
        return "blobs/" + str(item["digest"]).replace(":", "/")

    layers = [blob(layer) for layer in manifest["layers"]]
    item = {"Config": blob(manifest["config"]), "RepoTags": [name], "Layers": layers}
    return {**files, "manifest.json": json.dumps([item]).encode()}


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize("both", [False, True], ids=["layout", "both"])
def test_a_push_sends_the_manifest_that_came(
    images: Images, registry: FakeRegistry, store: Store, tmp_path: Path, compression: str, both: bool
) -> None:
    name = f"{registry.host}/a/b:1"
    files = members(oci_layout({name: IMAGE}, compression))
    came = manifest_of(files)
    load(images, packed(as_docker_archive_too(files, name) if both else files))
    assert images.resolve(name).id == IMAGE.id
    assert images.resolve(name).repo_digests == []  # as with dockerd: no registry has it yet
    again = make_images(tmp_path / "store", store)  # it is kept over a restart
    asyncio.run(again.open())
    pushed(again, name)
    sent, kind = registry.manifests["1"]
    if both and not compression:  # what `docker save` made up; dockerd packs such layers, too
        assert (kind, sent != came) == (MANIFEST, True)
        return
    assert (kind, sent) == (OCI_MANIFEST, came)
    assert {digest(data) for name, data in files.items() if name.startswith("blobs/")} == {
        *registry.blobs,
        digest(came),
    }


def test_a_docker_archive_brings_none(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    load(images, docker_archive({name: IMAGE}))
    pushed(images, name)
    assert registry.manifests["1"][1] == MANIFEST


def test_another_manifest_than_the_index_says(images: Images) -> None:
    files = members(oci_layout({"a:1": IMAGE}, "gzip"))
    name = next(name for name, data in files.items() if data == manifest_of(files))
    lies = {**files, name: files[name] + b" "}
    with pytest.raises(EngineError, match="has another digest"):
        load(images, packed(lies))
    assert images.index.images == {} and images.index.layers == {}
    load(images, packed(as_docker_archive_too(files, "a:1") | {name: files[name] + b" "}))
    assert images.resolve("a:1").manifest == ""


def test_a_manifest_of_another_image(images: Images, registry: FakeRegistry) -> None:
    """Its config's name in the archive is no proof of what is in it."""
    name = f"{registry.host}/a/b:1"
    files = members(oci_layout({name: IMAGE}, "gzip"))
    config = "blobs/" + json.loads(manifest_of(files))["config"]["digest"].replace(":", "/")
    other = Image(IMAGE.layers, {"Cmd": ["other"]})
    load(images, packed({**files, config: other.document()}))
    assert (images.resolve(name).id, images.resolve(name).manifest) == (other.id, "")
    pushed(images, name)
    assert json.loads(registry.manifests["1"][0])["config"]["digest"] == other.id


def _index(entries: list[dict[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def test_indexes_without_end(images: Images) -> None:
    """Too many manifests; an index that claims to be in itself; more JSON than anybody needs."""
    files = members(oci_layout({"a:1": IMAGE}, "gzip"))
    (entry,) = json.loads(files["index.json"])["manifests"]
    name = "sha256:" + "0" * 64
    circle = {"mediaType": OCI_INDEX, "digest": name, "size": 1}
    cases: dict[str, dict[str, bytes]] = {
        "too many manifests": {"index.json": _index([entry] * 1001)},
        "has another digest": {
            "index.json": _index([circle]), "blobs/" + name.replace(":", "/"): _index([circle]),
        },
        "index.json is no JSON file": {"index.json": b" " * ((16 << 20) + 1)},
    }  # fmt: skip
    for text, harm in cases.items():
        with pytest.raises(EngineError, match=text):
            load(images, packed({**files, **harm}))
        assert images.index.images == {} and images.index.layers == {}

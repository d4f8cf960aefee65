# ruff: noqa: S310
"""Pulls, from a fake registry that can misbehave and from the real one of the distribution project."""

import asyncio
import gzip
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import EngineError, InvalidParameter, NotFound, Unauthorized
from compatd.engine.images import Images
from compatd.engine.images.platform import parse as parse_platform
from compatd.engine.images.reference import parse
from compatd.engine.images.registry import backoff
from tests.integration.registrykit import (
    LIST,
    MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    FakeRegistry,
    digest,
    fake_registry,
)
from tests.integration.test_storage_images import config_of, layer_tar
from tests.unit.images.imagekit import make_images

pytestmark = pytest.mark.root

ONE, TWO = layer_tar(a=b"1" * 3000), layer_tar(b=os.urandom(3_000_000))
PACKED = [gzip.compress(ONE), gzip.compress(TWO)]
CONFIG = config_of(ONE, TWO, Labels={"k": "v"})


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "SECOND", 0)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    images = make_images(tmp_path / "store")
    images.storage.open()
    return images


def pull(images: Images, name: str, **options: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []

    async def write(value: dict[str, Any]) -> None:
        lines.append(value)

    try:
        asyncio.run(images.pull(parse(name), write, **options))
    finally:
        images.storage.settle()
        assert list(images.storage.tmp.iterdir()) == []
        assert sorted(images.storage.layer_ids()) == sorted(images.index.layers)
    return lines


def statuses(lines: list[dict[str, Any]], layer: bytes) -> list[str]:
    """What was said about one layer, repetitions left out."""
    found: list[str] = []
    for line in lines:
        if line.get("id") == digest(layer)[7:19] and line["status"] not in found[-1:]:
            found.append(line["status"])
    return found


@pytest.mark.parametrize("kind", [MANIFEST, OCI_MANIFEST])
def test_a_tag_with_its_progress(images: Images, registry: FakeRegistry, kind: str) -> None:
    manifest = registry.add(PACKED, CONFIG, kind, "1")
    name = f"{registry.host}/a/b:1"
    lines = pull(images, name)
    assert lines[0] == {"status": "Pulling from a/b", "id": "1"}
    assert lines[-2:] == [
        {"status": f"Digest: {manifest}"},
        {"status": f"Status: Downloaded newer image for {name}"},
    ]
    for layer in PACKED:
        said = statuses(lines, layer)
        assert said[0] == "Pulling fs layer"
        assert said[-1] == "Pull complete"
        order = [text for text in said if text in ("Verifying Checksum", "Download complete", "Extracting")]
        assert order == ["Verifying Checksum", "Download complete", "Extracting"]
    done = [
        line for line in lines if line["status"] == "Downloading" and line["id"] == digest(PACKED[1])[7:19]
    ]
    assert done[-1]["progressDetail"] == {"current": len(PACKED[1]), "total": len(PACKED[1])}
    image = images.resolve(name)
    assert image.id == digest(CONFIG)
    assert image.repo_digests == [f"{registry.host}/a/b@{manifest}"]
    assert (images.storage.layer_path(image.chain_ids[0]) / "diff/dir/a").read_bytes() == b"1" * 3000
    attributes = {"k": "v", "name": f"{registry.host}/a/b"}
    assert images.events.seen == [("image", "pull", name, attributes)]
    again = pull(images, name)
    assert [line["status"] for line in again[1:]] == [
        f"Digest: {manifest}",
        f"Status: Image is up to date for {name}",
    ]


def test_by_digest_and_all_tags(images: Images, registry: FakeRegistry) -> None:
    manifest = registry.add(PACKED, CONFIG, tag="1")
    name = f"{registry.host}/a/b@{manifest}"
    assert pull(images, name)[0] == {"status": "Pulling from a/b", "id": name}
    assert images.resolve(name).repo_tags == []
    registry.put(*registry.manifests["1"], "2")
    assert pull(images, f"{registry.host}/a/b")[-1] == {
        "status": f"Status: Downloaded newer image for {registry.host}/a/b"
    }
    assert images.resolve(name).repo_tags == [f"{registry.host}/a/b:1", f"{registry.host}/a/b:2"]


@pytest.mark.parametrize("kind", [LIST, OCI_INDEX])
def test_an_index_gives_the_platforms_manifest(images: Images, registry: FakeRegistry, kind: str) -> None:
    entries = []
    configs = {}
    for architecture, variant in (("s390x", ""), ("arm", "v6"), ("arm", "v7"), ("amd64", "")):
        configs[architecture + variant] = config_of(ONE, Labels={"for": architecture + variant})
        manifest = registry.add(PACKED[:1], configs[architecture + variant])
        platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
        entries.append({"mediaType": MANIFEST, "digest": manifest, "size": 1, "platform": platform})
    listing = registry.put(
        json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode(), kind, "1"
    )
    for asked, given in (("linux/amd64", "amd64"), ("linux/arm", "armv7"), ("linux/arm/v6", "armv6")):
        lines = pull(images, f"{registry.host}/a/b:1", platform=parse_platform(asked))
        assert {"status": f"Digest: {listing}"} in lines
        assert images.resolve(f"{registry.host}/a/b:1").id == digest(configs[given])
    with pytest.raises(NotFound) as caught:
        pull(images, f"{registry.host}/a/b:1", platform=parse_platform("linux/riscv64"))
    assert caught.value.message == "no matching manifest for linux/riscv64 in the manifest list entries"


def test_layers_that_are_there_are_not_fetched(images: Images, registry: FakeRegistry) -> None:
    registry.add(PACKED[:1], config_of(ONE), tag="base")
    pull(images, f"{registry.host}/a/b:base")
    registry.add(PACKED, CONFIG, tag="1")
    registry.seen.clear()
    lines = pull(images, f"{registry.host}/a/b:1")
    assert statuses(lines, PACKED[0]) == ["Already exists"]
    assert f"/v2/a/b/blobs/{digest(PACKED[0])}" not in registry.paths("GET")


@pytest.mark.parametrize(
    ("name", "error", "kind"),
    [
        ("a/b:nope", "manifest for {host}/a/b:nope not found: manifest unknown: manifest unknown", NotFound),
        (
            "no",
            "repository {host}/no not found: name unknown: repository name not known to registry",
            NotFound,
        ),
    ],
)
def test_what_is_not_there(
    images: Images, registry: FakeRegistry, name: str, error: str, kind: type[EngineError]
) -> None:
    with pytest.raises(kind) as caught:
        pull(images, f"{registry.host}/{name}")
    assert caught.value.message == error.format(host=registry.host)


def test_nobody_listens(images: Images) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        port = unheard.getsockname()[1]
        with pytest.raises(EngineError) as caught:
            pull(images, f"127.0.0.1:{port}/x:1")
    assert caught.value.message == (
        f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_credentials(images: Images, registry: FakeRegistry, auth: str) -> None:
    registry.add(PACKED[:1], config_of(ONE), tag="1")
    registry.auth = auth
    with pytest.raises(EngineError) as caught:
        pull(images, f"{registry.host}/a/b:1")
    wanted = {
        "basic": "no basic auth credentials",
        "bearer": "unauthorized: incorrect username or password",
    }
    request = f'Head "http://{registry.host}/v2/a/b/manifests/1"'
    assert caught.value.message == f"{request}: {wanted[auth]}"
    assert isinstance(caught.value, Unauthorized) == (auth == "bearer")
    pull(images, f"{registry.host}/a/b:1", auth={"username": "joe", "password": "secret"})
    assert images.resolve(f"{registry.host}/a/b:1")


def test_a_broken_download_goes_on_where_it_stopped(
    images: Images, registry: FakeRegistry, in_a_hurry: None
) -> None:
    registry.add(PACKED, CONFIG, tag="1")
    registry.cut = 2_000_000
    lines = pull(images, f"{registry.host}/a/b:1")
    assert [text for text in statuses(lines, PACKED[1]) if text.startswith("Retrying")] == [
        f"Retrying in {left} second{'s' * (left != 1)}" for left in (5, 4, 3, 2, 1)
    ]
    assert len(registry.ranges) == 1
    assert images.resolve(f"{registry.host}/a/b:1")


def test_bytes_other_than_promised_are_refused(images: Images, registry: FakeRegistry) -> None:
    registry.add(PACKED, CONFIG, tag="1")
    registry.blobs[digest(PACKED[0])] = gzip.compress(layer_tar(a=b"2" * 3000))
    with pytest.raises(EngineError, match=r"^filesystem layer verification failed for digest sha256:"):
        pull(images, f"{registry.host}/a/b:1")
    assert images.list({}) == []
    assert images.index.layers == {}


def test_a_layer_other_than_the_config_says_is_refused(images: Images, registry: FakeRegistry) -> None:
    registry.add([PACKED[1]], config_of(ONE), tag="1")
    with pytest.raises(EngineError, match=r"^failed to register layer: invalid diffID"):
        pull(images, f"{registry.host}/a/b:1")
    registry.add(PACKED, config_of(ONE), tag="1")
    with pytest.raises(EngineError, match=r"^layers from manifest don't match image configuration$"):
        pull(images, f"{registry.host}/a/b:1")
    assert images.index.layers == {}


def test_other_manifest_bytes_than_the_digest_are_refused(images: Images, registry: FakeRegistry) -> None:
    manifest = registry.add(PACKED, CONFIG)
    registry.manifests[manifest] = (b'{"schemaVersion":2}', MANIFEST)
    with pytest.raises(EngineError, match=r"^manifest verification failed for digest "):
        pull(images, f"{registry.host}/a/b@{manifest}")


@pytest.mark.parametrize(
    "manifest",
    [
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": [], "manifests": []},
        {"schemaVersion": 2, "mediaType": MANIFEST, "manifests": []},
        {"schemaVersion": 2, "mediaType": LIST, "config": {}, "layers": []},
        {"schemaVersion": 2, "mediaType": "text/plain", "config": {}, "layers": []},
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": [1]},
        {"schemaVersion": 1, "fsLayers": []},
        [],
    ],
)
def test_manifests_that_can_be_read_in_two_ways_are_refused(
    images: Images, registry: FakeRegistry, manifest: Any
) -> None:
    registry.put(json.dumps(manifest).encode(), MANIFEST, "1")
    with pytest.raises(InvalidParameter):
        pull(images, f"{registry.host}/a/b:1")


def test_three_downloads_at_a_time(images: Images, registry: FakeRegistry) -> None:
    layers = [layer_tar(a=str(number).encode() * 600) for number in range(6)]
    registry.add([gzip.compress(layer) for layer in layers], config_of(*layers), tag="1")
    lines = pull(images, f"{registry.host}/a/b:1")
    waited = {line["id"] for line in lines if line["status"] == "Waiting"}
    assert len(waited) == 3
    assert len(images.index.layers) == 6


# The real registry --------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    for _ in range(400):
        if process.poll() is not None:
            return False  # somebody took the port meanwhile
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/"):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


@pytest.fixture
def real_registry(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    for _ in range(10):
        port = _free_port()
        config = tmp_path / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        process = subprocess.Popen(
            [program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if _answers(port, process):
                yield f"127.0.0.1:{port}"
                return
        finally:
            process.kill()
            process.wait()
    pytest.fail("no port for the registry")


def _push(host: str, tag: str, layers: list[bytes], config: bytes) -> str:
    """Put an image into a registry by its HTTP API."""

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        start = urllib.request.Request(f"http://{host}/v2/a/b/blobs/uploads/", method="POST", data=b"")
        with urllib.request.urlopen(start) as answer:
            location = answer.headers["Location"]
        where = f"{location}{'&' if '?' in location else '?'}digest={digest(data)}"
        send = urllib.request.Request(where, method="PUT", data=data)
        send.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(send):
            pass
        return {"mediaType": kind, "size": len(data), "digest": digest(data)}

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": blob(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [blob(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip") for layer in layers],
        }
    ).encode()
    request = urllib.request.Request(f"http://{host}/v2/a/b/manifests/{tag}", method="PUT", data=manifest)
    request.add_header("Content-Type", MANIFEST)
    with urllib.request.urlopen(request):
        return digest(manifest)


def test_the_real_registry(images: Images, real_registry: str) -> None:
    manifest = _push(real_registry, "1", PACKED, CONFIG)
    pull(images, f"{real_registry}/a/b:1")
    pull(images, f"{real_registry}/a/b@{manifest}")
    image = images.resolve(f"{real_registry}/a/b:1")
    assert image.id == digest(CONFIG)
    assert (images.storage.layer_path(image.chain_ids[1]) / "diff/dir/b").stat().st_size == 3_000_000
    with pytest.raises(NotFound) as caught:
        pull(images, f"{real_registry}/a/b:2")
    assert caught.value.message == (
        f"manifest for {real_registry}/a/b:2 not found: manifest unknown: manifest unknown"
    )
    with pytest.raises(NotFound, match="not found: name unknown: "):
        pull(images, f"{real_registry}/nothing/here")

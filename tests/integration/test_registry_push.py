"""Pushes to a registry that can misbehave: what is sent, found there, gone on with, and told."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import EngineError, Unauthorized
from compatd.engine.images import Images, manifests
from compatd.engine.images.reference import parse
from compatd.engine.images.registry import backoff, sources
from tests.integration.registrykit import (
    MANIFEST,
    OCI_MANIFEST,
    FakeRegistry,
    digest,
    fake_registry,
    hang_up,
    status,
)
from tests.integration.test_storage_images import config_of, layer_tar
from tests.unit.images.imagekit import make_images, pieces

pytestmark = pytest.mark.root

SMALL, BIG = layer_tar(a=b"1" * 3000), layer_tar(b=bytes(range(256)) * 12000)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setattr(backoff, "SECOND", 0)
    images = make_images(tmp_path / "store")
    images.storage.open()
    return images


def imported(images: Images, name: str, tar: bytes = BIG) -> Any:
    """An image of one plain layer."""
    return asyncio.run(images.import_(pieces(tar), reference=parse(name)))


def pushed(images: Images, name: str, **options: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []

    async def write(value: dict[str, Any]) -> None:
        lines.append(value)

    try:
        asyncio.run(images.push(parse(name), write, **options))
    finally:
        images.storage.settle()
        assert list(images.storage.tmp.iterdir()) == []
    return lines


def pulled(images: Images, name: str) -> None:
    async def write(value: dict[str, Any]) -> None:
        pass

    asyncio.run(images.pull(parse(name), write))


def said(lines: list[dict[str, Any]]) -> list[str]:
    """What was said about layers, repetitions left out."""
    found: list[str] = []
    for line in lines:
        if line.get("id") and line["status"] not in found[-1:]:
            found.append(line["status"])
    return found


def test_a_plain_layer_is_packed_and_remembered(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    image = imported(images, name)
    lines = pushed(images, name)
    assert said(lines) == ["Preparing", "Pushing", "Pushed"]
    data, kind = registry.manifests["1"]
    assert kind == MANIFEST
    (layer,) = json.loads(data)["layers"]
    assert gzip.decompress(registry.blobs[layer["digest"]]) == BIG
    assert registry.blobs[image.id] == image.raw.encode()
    assert image.repo_digests == [f"{registry.host}/a/b@{digest(data)}"]
    assert lines[-1]["aux"] == {"Tag": "1", "Digest": digest(data), "Size": len(data)}
    assert images.events.seen[-1] == ("image", "push", name, {"name": f"{registry.host}/a/b"})
    before = len(registry.paths("PATCH"))
    images.index.layers.clear()
    images.index.images.clear()
    images.index.load()  # it is known over a restart
    assert said(pushed(images, name)) == ["Preparing", "Layer already exists"]
    assert len(registry.paths("PATCH")) == before


def test_what_is_packed_is_always_the_same() -> None:
    packed = []
    for size in (len(BIG), 1000):
        compressor = sources.gzip_compressor()
        parts = [compressor.compress(BIG[at : at + size]) for at in range(0, len(BIG), size)]
        packed.append(b"".join(parts) + compressor.flush())
    assert gzip.decompress(packed[0]) == BIG
    assert packed[0][4:8] == bytes(4)  # no time in the header
    assert zlib.decompress(packed[1], 31) == BIG


def test_a_blob_that_is_gone_is_sent_again(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    pushed(images, name)
    registry.blobs.clear()
    assert said(pushed(images, name)) == ["Preparing", "Pushing", "Pushed"]
    (layer,) = json.loads(registry.manifests["1"][0])["layers"]
    assert layer["digest"] in registry.blobs


@pytest.mark.parametrize("keep", [True, False])
def test_a_broken_upload_goes_on(images: Images, registry: FakeRegistry, keep: bool) -> None:
    """Where it stopped, or anew when the registry has forgotten it."""
    name = f"{registry.host}/a/b:1"
    imported(images, name, layer_tar(b=bytes(range(256)) * 12000 + Path("/usr/bin/python3").read_bytes()))
    registry.cut_upload, registry.keep = 100_000, keep
    lines = pushed(images, name)
    assert said(lines)[-3:] == ["Retrying in 1 second", "Pushing", "Pushed"]
    assert len(registry.paths("POST", "uploads")) == (2 if keep else 3)  # with the config's
    (layer,) = json.loads(registry.manifests["1"][0])["layers"]
    assert layer["digest"] in registry.blobs


def test_uploads_that_fail_for_good(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.fault("uploads", status(500), times=100, method="PATCH")
    with pytest.raises(EngineError) as caught:
        pushed(images, name)
    assert caught.value.message == "received unexpected HTTP status: 500 Internal Server Error"
    assert len(registry.paths("PATCH")) == 5
    assert "1" not in registry.manifests
    registry.faults.clear()
    denied = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
    registry.fault("uploads", status(403, denied), times=100, method="POST")
    with pytest.raises(EngineError) as caught:
        pushed(images, name)
    assert caught.value.message == "denied: requested access to the resource is denied"


def test_a_busy_registry_is_asked_again(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.fault("manifests", status(503), times=2, method="PUT")
    registry.fault("uploads", hang_up, times=1, method="POST")
    pushed(images, name)
    assert "1" in registry.manifests
    imported(images, name, SMALL)
    registry.fault("uploads", status(429, b"", Retry_After="4"), times=1, method="PATCH")
    assert "Retrying in 4 seconds" in said(pushed(images, name))
    registry.fault("manifests", status(503), times=3, method="PUT")
    with pytest.raises(EngineError, match=r"^received unexpected HTTP status: 503 Service Unavailable$"):
        pushed(images, name)


@pytest.mark.parametrize("kind", [MANIFEST, OCI_MANIFEST])
def test_a_pulled_image_goes_back_as_it_came(images: Images, registry: FakeRegistry, kind: str) -> None:
    """To another registry too: same manifest, same digest."""
    came = registry.add([gzip.compress(SMALL), BIG], config_of(SMALL, BIG), kind, "1")
    pulled(images, f"{registry.host}/a/b:1")
    with fake_registry() as other:
        images.tag(images.resolve(f"{registry.host}/a/b:1"), parse(f"{other.host}/a/b:2"))
        lines = pushed(images, f"{other.host}/a/b:2")
        assert other.manifests["2"] == registry.manifests["1"]
        assert lines[-1]["aux"]["Digest"] == came
        assert {layer["digest"] for layer in json.loads(other.manifests["2"][0])["layers"]} <= {*other.blobs}
    assert f"{registry.host}/a/b@{came}" in images.resolve(f"{registry.host}/a/b:1").repo_digests


def test_a_manifest_without_the_blobs_it_had_is_made_anew(images: Images, registry: FakeRegistry) -> None:
    """The layer was here, packed otherwise: what is sent is what the manifest says."""
    one, two = gzip.compress(SMALL, 1, mtime=0), gzip.compress(SMALL, 9, mtime=1)
    registry.add([one], config_of(SMALL), OCI_MANIFEST, "1")
    pulled(images, f"{registry.host}/a/b:1")
    registry.add([two], config_of(SMALL, Labels={"k": "v"}), OCI_MANIFEST, "2")
    pulled(images, f"{registry.host}/a/b:2")
    images.tag(images.resolve(f"{registry.host}/a/b:2"), parse(f"{registry.host}/a/b:3"))
    pushed(images, f"{registry.host}/a/b:3")
    data, kind = registry.manifests["3"]
    assert kind == OCI_MANIFEST
    assert json.loads(data)["layers"][0] == {
        "mediaType": f"{manifests.OCI_LAYER}+gzip",
        "digest": digest(one),
        "size": len(one),
    }


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_credentials(images: Images, registry: FakeRegistry, auth: str) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.auth = auth
    with pytest.raises(EngineError) as caught:
        pushed(images, name)
    text = "no basic auth credentials" if auth == "basic" else "unauthorized: incorrect username or password"
    assert caught.value.message == text
    assert isinstance(caught.value, Unauthorized) == (auth == "bearer")
    pushed(images, name, auth={"username": "joe", "password": "secret"})
    assert "1" in registry.manifests
    scopes = [seen.query["scope"] for seen in registry.seen if seen.path == "/token"]
    assert all(scope == ["repository:a/b:push,pull"] for scope in scopes)


@pytest.mark.parametrize("auth", [{"registrytoken": "t0ken"}, {"identitytoken": "refresh"}])
def test_tokens_for_credentials(images: Images, registry: FakeRegistry, auth: dict[str, str]) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.auth = "bearer"
    pushed(images, name, auth=auth)
    assert "1" in registry.manifests
    form = {
        "grant_type": "refresh_token", "refresh_token": "refresh", "service": "it", "client_id": "docker",
        "scope": "repository:a/b:push,pull",
    }  # fmt: skip
    assert registry.forms == ([form] if "identitytoken" in auth else [])


def test_a_token_server_that_knows_only_the_oauth2_form(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.auth = "bearer"
    registry.fault("/token", status(405), times=100)
    pushed(images, name, auth={"username": "joe", "password": "secret"})
    assert registry.forms[0]["grant_type"] == "password"
    assert "1" in registry.manifests


def test_a_token_that_ran_out_is_asked_for_again(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.auth = "bearer"
    refusal = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    challenge = f'Bearer realm="http://{registry.host}/token",service="it",error="invalid_token"'
    registry.fault("manifests", status(401, refusal, WWW_Authenticate=challenge), method="PUT")
    pushed(images, name, auth={"username": "joe", "password": "secret"})
    assert len(registry.paths("GET", "/token")) == 2
    assert "1" in registry.manifests


def test_no_credentials_for_an_uploads_other_host(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    imported(images, name)
    registry.auth = "basic"
    with fake_registry() as other:
        other.uploads["u"] = bytearray()
        elsewhere = status(202, Location=f"http://{other.host}/v2/a/b/blobs/uploads/u")
        registry.fault("uploads", elsewhere, method="POST")
        pushed(images, name, auth={"username": "joe", "password": "secret"})
        assert [seen.method for seen in other.seen] == ["PATCH", "PUT"]
        assert {seen.authorization for seen in other.seen} == {""}


def test_uploads_at_a_time(images: Images, registry: FakeRegistry) -> None:
    images.config.max_concurrent_uploads = 2
    images._uploads = asyncio.Semaphore(2)
    layers = [layer_tar(a=str(number).encode() * 600) for number in range(5)]
    registry.add([gzip.compress(layer) for layer in layers], config_of(*layers), tag="1")
    pulled(images, f"{registry.host}/a/b:1")
    with fake_registry() as other:
        images.tag(images.resolve(f"{registry.host}/a/b:1"), parse(f"{other.host}/a/b:1"))
        lines = pushed(images, f"{other.host}/a/b:1")
    assert len({line["id"] for line in lines if line.get("status") == "Waiting"}) == 3


def test_a_damaged_layer_is_not_sent(images: Images, registry: FakeRegistry) -> None:
    name = f"{registry.host}/a/b:1"
    image = imported(images, name)
    (images.storage.layer_path(image.chain_ids[0]) / "diff/dir/b").write_bytes(b"x" * 256 * 12000)
    with pytest.raises(EngineError, match=r"is damaged: its files have changed$"):
        pushed(images, name)
    assert "1" not in registry.manifests
    assert set(registry.blobs) <= {image.id}

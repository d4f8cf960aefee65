"""Pulls from a registry that misbehaves: a clear error, and nothing half stored."""

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.errors import EngineError
from compatd.engine.images import Images
from compatd.engine.images.registry import backoff, client, http
from tests.integration.registrykit import (
    LIST,
    MANIFEST,
    OCI_INDEX,
    FakeRegistry,
    Handler,
    digest,
    fake_registry,
    hang_up,
    status,
)
from tests.integration.test_registry_pull import pull, statuses
from tests.integration.test_storage_images import config_of, layer_tar
from tests.unit.images.imagekit import make_images

pytestmark = pytest.mark.root

TAR = layer_tar(a=os.urandom(300_000))
LAYER = gzip.compress(TAR)
CONFIG = config_of(TAR)
BIG = layer_tar(a=os.urandom(3_000_000))
BIG_LAYER = gzip.compress(BIG)
JOE = {"username": "joe", "password": "secret"}


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


def fails(images: Images, registry: FakeRegistry, text: str, **options: Any) -> None:
    """The pull does, with that text somewhere in its error, and leaves nothing."""
    with pytest.raises(EngineError) as caught:
        pull(images, f"{registry.host}/a/b:1", **options)
    assert text in caught.value.message
    assert len(caught.value.message) < 2000
    assert images.index.images == {} and images.index.layers == {} and images.index.tags == {}
    assert list(images.storage.blobs.iterdir()) == []


def of_layer() -> str:
    return f"blobs/{digest(LAYER)}"


def torn(before: int) -> Callable[[Handler], None]:
    """A blob's answer that breaks off after so many bytes."""

    def act(handler: Handler) -> None:
        handler.answer(200, LAYER[:before], Content_Length=str(len(LAYER)))
        handler.close_connection = True

    return act


def endless(kind: str = "application/octet-stream") -> Callable[[Handler], None]:
    """A body that never ends, of unsaid length."""

    def act(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        try:
            while True:
                handler.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        except OSError:
            pass

    return act


def nonsense(handler: Handler) -> None:
    """No HTTP."""
    handler.wfile.write(b"nonsense\r\n\r\n" * 1000)
    handler.close_connection = True


@pytest.mark.parametrize(
    "before", [0, 1, 4096, len(LAYER) // 2, len(LAYER) - 1], ids=["none", "1", "4096", "half", "all-but-1"]
)
def test_cut_off_at(images: Images, registry: FakeRegistry, before: int) -> None:
    registry.fault(of_layer(), torn(before))
    lines = pull(images, f"{registry.host}/a/b:1")
    assert "Retrying in 1 second" in statuses(lines, LAYER)
    # what has come just before the end may be lost with the connection
    assert all(1 <= int(text[6:-1]) <= before for text in registry.ranges)
    assert images.resolve(f"{registry.host}/a/b:1").id == digest(CONFIG)


def test_cut_off_again_and_again(images: Images, registry: FakeRegistry) -> None:
    registry.fault(of_layer(), torn(100), times=100)
    fails(images, registry, "unexpected EOF")
    assert len(registry.paths("GET", of_layer())) == 3


def test_no_ranges(images: Images, registry: FakeRegistry) -> None:
    """A registry that sends all of it again."""
    registry.add([BIG_LAYER], config_of(BIG), tag="1")
    registry.cut = 2_000_000
    registry.fault(digest(BIG_LAYER), status(200, BIG_LAYER), when_range=True)
    pull(images, f"{registry.host}/a/b:1")
    assert len(registry.ranges) == 1


def test_another_range_than_asked_for(images: Images, registry: FakeRegistry) -> None:
    registry.add([BIG_LAYER], config_of(BIG), tag="1")
    registry.cut = 2_000_000
    wrong = f"bytes 10-{len(BIG_LAYER) - 1}/{len(BIG_LAYER)}"
    answer = status(206, BIG_LAYER[10:], Content_Range=wrong)
    registry.fault(digest(BIG_LAYER), answer, when_range=True)
    lines = pull(images, f"{registry.host}/a/b:1")
    assert statuses(lines, BIG_LAYER)[-1] == "Pull complete"
    assert len(registry.paths("GET", digest(BIG_LAYER))) == 3


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (status(200, LAYER + b"x"), "and its manifest says"),
        (status(200, LAYER[:-1]), "and its manifest says"),
        (endless(), "filesystem layer verification failed for digest sha256:"),
        (status(200, LAYER[:-1] + bytes([LAYER[-1] ^ 1])), "filesystem layer verification failed for digest"),
        (status(500, b"x" * 100_000), "received unexpected HTTP status: 500 Internal Server Error"),
        (status(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}'), "blob unknown: gone"),
        (status(400, b"<" * 100_000), "error parsing HTTP 400 response body: "),
        (status(302, Location="/v2/a/b/blobs/again"), "stopped after 10 redirects"),
        (status(302, Location="file:///etc/passwd"), "unsupported protocol scheme"),
        (hang_up, "unexpected EOF"),
        (nonsense, "malformed HTTP"),
    ],
    ids=[
        "too-long", "too-short", "endless", "corrupt", "500", "404", "400", "loop", "file", "silent",
        "nonsense",
    ],
)  # fmt: skip
def test_bad_layers(
    images: Images, registry: FakeRegistry, answer: Callable[[Handler], None], text: str
) -> None:
    registry.fault(of_layer(), answer, times=100)
    registry.fault("blobs/again", answer, times=100)
    fails(images, registry, text)


BUSY = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'


def test_too_many_requests(images: Images, registry: FakeRegistry) -> None:
    registry.fault(of_layer(), status(429, BUSY), times=100)
    fails(images, registry, "toomanyrequests: slow down")
    assert len(registry.paths("GET", of_layer())) == 3
    registry.faults.clear()
    registry.fault(of_layer(), status(429, b"<html>"), times=1)
    assert "Retrying in 5 seconds" in statuses(pull(images, f"{registry.host}/a/b:1"), LAYER)


@pytest.mark.parametrize("answer", [429, 503])
def test_a_layer_is_asked_for_when_the_registry_wants(
    images: Images, registry: FakeRegistry, answer: int
) -> None:
    registry.fault(of_layer(), status(answer, BUSY, Retry_After="7"), times=2)
    said = statuses(pull(images, f"{registry.host}/a/b:1"), LAYER)
    assert said.count("Retrying in 7 seconds") == 2 and "Retrying in 8 seconds" not in said


@pytest.mark.parametrize("answer", [429, 503])
@pytest.mark.parametrize("what", ["layer", "manifest"])
def test_a_registry_that_wants_too_long_a_pause(
    images: Images, registry: FakeRegistry, answer: int, what: str
) -> None:
    """It is said at once: nobody would wait for that."""
    part = of_layer() if what == "layer" else "manifests"
    registry.fault(part, status(answer, BUSY, Retry_After="3600"), times=100)
    fails(images, registry, "slow down" if answer == 429 else "503 Service Unavailable")
    assert len(registry.paths("GET", part)) == 1


def test_a_busy_registry(images: Images, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.auth = "bearer"
    waited: list[float | None] = []

    async def pause(attempt: int, wanted: float | None = None) -> None:
        waited.append(wanted)

    monkeypatch.setattr(client, "pause", pause)
    for part, faults in {"/v2/": 2, "/token": 1, "manifests": 1, f"blobs/{digest(CONFIG)}": 2}.items():
        registry.fault(part, status(429, BUSY, Retry_After="3"))
        if faults > 1:
            registry.fault(part, status(503))
    pull(images, f"{registry.host}/a/b:1", auth=JOE)
    assert waited == [3.0, None, 3.0, 3.0, 3.0, None]


def test_a_registry_that_falls_silent(
    images: Images, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.2)
    done = threading.Event()

    def silent(handler: Handler) -> None:
        handler.answer(200, LAYER[:10], Content_Length=str(len(LAYER)))
        done.wait(30)
        handler.close_connection = True

    registry.fault(of_layer(), silent, times=100)
    try:
        fails(images, registry, "Client.Timeout exceeded")
    finally:
        done.set()


def test_redirected_without_credentials(images: Images, registry: FakeRegistry) -> None:
    registry.auth = "basic"
    with fake_registry() as other:
        other.blobs = registry.blobs
        target = f"http://{other.host}/v2/a/b/{of_layer()}?signature=a%2Fb"
        registry.fault(of_layer(), status(307, Location=target))
        pull(images, f"{registry.host}/a/b:1", auth=JOE)
        assert [(seen.path, seen.authorization) for seen in other.seen] == [(f"/v2/a/b/{of_layer()}", "")]
        assert other.seen[0].query == {"signature": ["a/b"]}
    # and back home they do not come again
    home = f"http://{registry.host}/v2/a/b/{of_layer()}"
    with fake_registry() as other:
        other.fault("/", status(307, Location=home), times=100)
        registry.fault(of_layer(), status(307, Location=f"http://{other.host}/"), times=100)
        images.delete(f"{registry.host}/a/b:1")
        fails(images, registry, "stopped after 10 redirects", auth=JOE)
        assert all(not seen.authorization for seen in other.seen)


@pytest.mark.parametrize("what", ["manifests", f"blobs/{digest(CONFIG)}"])
def test_endless_documents(
    images: Images, registry: FakeRegistry, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.fault(what, endless(MANIFEST))
    fails(images, registry, "is too large: over ")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"layers": [{"digest": digest(LAYER)}]}, "a layer without its size"),
        ({"layers": [{"digest": digest(LAYER), "size": -1}]}, "a layer without its size"),
        ({"layers": [{"digest": digest(LAYER), "size": "9"}]}, "a layer without its size"),
        ({"layers": [{"digest": "sha256:../../x", "size": 1}]}, "invalid checksum digest"),
        ({"layers": [{"digest": digest(LAYER), "size": 1}] * 1001}, "max depth exceeded"),
        ({"layers": [{"digest": digest(LAYER), "size": 1 << 40}]}, "and its manifest says"),
        ({"config": {"digest": digest(LAYER)}}, "invalid character"),
        ({"config": {"digest": "x"}}, "invalid checksum digest format"),
    ],
)
def test_manifests_that_lie(
    images: Images, registry: FakeRegistry, change: dict[str, Any], text: str
) -> None:
    manifest = {**json.loads(registry.manifests["1"][0]), **change}
    registry.put(json.dumps(manifest).encode(), MANIFEST, "1")
    fails(images, registry, text)


@pytest.mark.parametrize("bomb", [b"[" * 100_000, b'{"a":' * 100_000, b"nul", b"", b"\xff\xfe"])
def test_manifests_that_are_none(images: Images, registry: FakeRegistry, bomb: bytes) -> None:
    registry.put(bomb, MANIFEST, "1")
    fails(images, registry, "manifest")


@pytest.mark.parametrize("kind", [LIST, OCI_INDEX])
def test_indexes_in_indexes(images: Images, registry: FakeRegistry, kind: str) -> None:
    """Some are followed, no more; one that claims to be in itself is found out by its digest."""
    inner, inner_kind = registry.put(*registry.manifests["1"]), MANIFEST
    platform = {"os": "linux", "architecture": "amd64"}

    def around(inner: str, inner_kind: str, tag: str) -> str:
        entry = {"mediaType": inner_kind, "digest": inner, "size": 1, "platform": platform}
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}
        return registry.put(json.dumps(index).encode(), kind, tag)

    for depth in range(6):
        inner, inner_kind = around(inner, inner_kind, str(depth)), kind
    pull(images, f"{registry.host}/a/b:3")
    images.delete(f"{registry.host}/a/b:3", force=True)
    registry.put(*registry.manifests["5"], "1")
    fails(images, registry, "an index in too many others")
    registry.manifests[inner] = registry.manifests["0"]
    around(inner, kind, "1")
    fails(images, registry, f"manifest verification failed for digest {inner}")


def test_lists_of_tags(images: Images, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are followed, not in circles and not elsewhere."""
    page = '</v2/a/b/tags/list?last=1>; rel="next"'
    registry.fault("tags/list?last", status(200, b'{"tags":["2"]}', Link=page), times=100)
    registry.fault("tags/list", status(200, b'{"tags":["1"]}', Link=page), times=1)
    registry.put(*registry.manifests["1"], "2")
    pull(images, f"{registry.host}/a/b")
    assert images.resolve(f"{registry.host}/a/b:1").repo_tags == [
        f"{registry.host}/a/b:{tag}" for tag in "12"
    ]
    assert len(registry.paths("GET", "tags")) == 2
    registry.faults.clear()
    images.delete(f"{registry.host}/a/b:1")
    images.delete(f"{registry.host}/a/b:2")
    monkeypatch.setattr(client, "MAX_TAGS", 10)
    many = json.dumps({"tags": [str(number) for number in range(11)]}).encode()
    for body, text in ((b"[]", "list of tags"), (b"{", "list of tags"), (many, "too long: over 10")):
        registry.fault("tags/list", status(200, body))
        with pytest.raises(EngineError, match=text):
            pull(images, f"{registry.host}/a/b")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (status(500), "received unexpected HTTP status: 500"),
        (status(200, b"{}"), "authorization server did not include a token in the response"),
        (status(200, b'{"token":"a\\r\\nX: y"}'), "authorization server did not include a token"),
        (status(200, b"[" * 100_000), "unable to decode token response"),
        (endless(), "unable to decode token response"),
        (hang_up, "unexpected EOF"),
    ],
)
def test_bad_token_servers(
    images: Images, registry: FakeRegistry, answer: Callable[[Handler], None], text: str
) -> None:
    registry.auth = "bearer"
    registry.fault("/token", answer, times=100)
    fails(images, registry, text, auth=JOE)

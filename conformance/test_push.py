"""push: to a registry on loopback, by tag and whole; what is sent, mounted, found there, and told."""

import base64
import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.images import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    Image,
    Tar,
    digest,
    docker_archive,
)
from conformance.registry import PASSWORD, USER, Registry
from conformance.test_events import now, past
from conformance.until import until

PUSH = "ImagePush"


def fresh(engine: Engine) -> Image:
    """An image with two layers that no other test has, one below them that all have."""
    image = engine.base()
    image.layers.append(Tar().add("which", engine.name()).bytes())
    image.layers.append(Tar().add("more", engine.name() * 10000).bytes())
    return image


def loaded(engine: Engine, *tags: str, image: Image | None = None) -> Image:
    """A fresh image on the engine, under these names."""
    image = image or fresh(engine)
    engine.load(docker_archive({tags[0]: image}))
    for tag in tags[1:]:
        repository, _, name = tag.rpartition(":")
        engine.wire.post(f"/images/{tags[0]}/tag", status=201, repo=repository, tag=name)
    return image


def credentials(**fields: str) -> dict[str, str]:
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}


def push(engine: Engine, repository: str, tag: str = "", **fields: str) -> list[dict[str, Any]]:
    """The messages of a push."""
    query = {"tag": tag} if tag else {}
    answer = engine.wire.request("POST", f"/images/{repository}/push", headers=credentials(**fields), **query)
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines() if line]


def short(layer: bytes) -> str:
    return digest(layer)[7:19]


def ends(messages: list[dict[str, Any]]) -> dict[str, str]:
    """The last status of each layer."""
    return {message["id"]: message["status"] for message in messages if message.get("id")}


@pytest.mark.operation(PUSH)
def test_a_tag(engine: Engine, registry: Registry) -> None:
    repository = engine.name("push")
    name = f"{registry.address}/{repository}"
    image = fresh(engine)
    image.layers[0] = Tar().add("base", engine.name()).bytes()  # the usual one may be mounted from elsewhere
    loaded(engine, f"{name}:1", image=image)
    messages = push(engine, name, "1")
    assert messages[0] == {"status": f"The push refers to repository [{name}]"}
    layers = [short(layer) for layer in reversed(image.layers)]
    assert messages[1:4] == [{"status": "Preparing", "progressDetail": {}, "id": layer} for layer in layers]
    assert ends(messages) == dict.fromkeys(layers, "Pushed")
    sent = [m for m in messages if m.get("status") == "Pushing"]
    assert {m["id"] for m in sent} == {*layers}
    assert all(m["progressDetail"]["current"] > 0 and m["progressDetail"]["total"] > 0 for m in sent)
    status, headers, data = registry.request(
        "GET", f"/v2/{repository}/manifests/1", None, {"Accept": DOCKER_MANIFEST}
    )
    assert (status, headers["content-type"]) == (200, DOCKER_MANIFEST)
    assert messages[-2] == {"status": f"1: digest: {digest(data)} size: {len(data)}"}
    aux = {"Tag": "1", "Digest": digest(data), "Size": len(data)}
    assert messages[-1] == {"progressDetail": {}, "aux": aux}
    manifest = json.loads(data)
    assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers"]
    document = image.document()
    assert manifest["config"] == {"mediaType": DOCKER_CONFIG, "size": len(document), "digest": image.id}
    for item, layer in zip(manifest["layers"], image.layers, strict=True):
        assert item["mediaType"] == DOCKER_LAYER
        status, _, blob = registry.request("GET", f"/v2/{repository}/blobs/{item['digest']}")
        assert (status, len(blob), digest(blob)) == (200, item["size"], item["digest"])
        assert gzip.decompress(blob) == layer
    found = engine.wire.get(f"/images/{name}:1/json")
    assert found["RepoDigests"] == [f"{name}@{digest(data)}"]


@pytest.mark.operation(PUSH)
def test_what_is_there_is_not_sent_again(engine: Engine, registry: Registry) -> None:
    repository = engine.name("push")
    name = f"{registry.address}/{repository}"
    image = loaded(engine, f"{name}:1", f"{name}:2")
    first = push(engine, name, "1")
    again = push(engine, name, "1")
    other = push(engine, name, "2")
    layers = {short(layer) for layer in image.layers}
    assert ends(again) == ends(other) == dict.fromkeys(layers, "Layer already exists")
    assert again[-1] == first[-1]
    assert other[-1]["aux"] == {**first[-1]["aux"], "Tag": "2"}
    assert registry.manifest(repository, "2") == registry.manifest(repository, "1")


@pytest.mark.operation(PUSH)
def test_mounted_from_another_repository(engine: Engine, registry: Registry) -> None:
    one, two = engine.name("one"), engine.name("two")
    image = loaded(engine, f"{registry.address}/{one}:1", f"{registry.address}/{two}:1")
    push(engine, f"{registry.address}/{one}", "1")
    messages = push(engine, f"{registry.address}/{two}", "1")
    said = ends(messages)
    # The layer that all images here have may be mounted from any of their repositories
    assert {said[short(layer)] for layer in image.layers[1:]} == {f"Mounted from {one}"}
    assert said[short(image.layers[0])].startswith("Mounted from ")
    assert registry.manifest(two, "1") == registry.manifest(one, "1")


@pytest.mark.operation(PUSH)
def test_pulled_images_find_their_layers(engine: Engine, registry: Registry) -> None:
    """What came from a registry is known to be there."""
    image, repository = fresh(engine), engine.name("push")
    name = f"{registry.address}/{repository}"
    descriptor = registry.push(repository, "1", image)
    engine.wire.post("/images/create", status=200, fromImage=name, tag="1")
    engine.wire.post(f"/images/{name}:1/tag", status=201, repo=name, tag="2")
    said = ends(push(engine, name, "2"))
    assert {said[short(layer)] for layer in image.layers[1:]} == {"Layer already exists"}
    layers = [item["digest"] for item in registry.manifest(repository, "2")["layers"]]
    assert layers[1:] == [item["digest"] for item in registry.manifest(repository, "1")["layers"]][1:]
    assert descriptor["digest"]


@pytest.mark.operation(PUSH)
def test_all_tags(engine: Engine, registry: Registry, cli: Cli) -> None:
    repository = engine.name("push")
    name = f"{registry.address}/{repository}"
    loaded(engine, f"{name}:a", f"{name}:b")
    loaded(engine, f"{name}:c")
    out = cli.text("push", "-a", name)
    assert f"The push refers to repository [{name}]" in out
    for tag in "abc":
        assert f"{tag}: digest: sha256:" in out
        registry.manifest(repository, tag)


@pytest.mark.operation(PUSH)
def test_docker_push(engine: Engine, registry: Registry, cli: Cli) -> None:
    repository = engine.name("push")
    name = f"{registry.address}/{repository}"
    image = loaded(engine, f"{name}:latest")
    out = cli.text("push", name).splitlines()
    assert out[:2] == ["Using default tag: latest", f"The push refers to repository [{name}]"]
    assert f"{short(image.layers[-1])}: Pushed" in out
    assert out[-1].startswith("latest: digest: sha256:")
    assert cli.text("push", "-q", name) == f"{name}:latest"
    engine.wire.request("DELETE", f"/images/{name}:latest", force=True)
    cli("pull", name)
    assert engine.wire.get(f"/images/{name}/json")["Id"] == image.id


@pytest.mark.operation(PUSH)
def test_equal_layers(engine: Engine, registry: Registry) -> None:
    """A layer that is twice in an image is sent once."""
    repository = engine.name("push")
    name = f"{registry.address}/{repository}"
    image = fresh(engine)
    image.layers.append(image.layers[-1])
    loaded(engine, f"{name}:1", image=image)
    messages = push(engine, name, "1")
    said = [m for m in messages if m.get("id") == short(image.layers[-1])]
    assert [m["status"] for m in said].count("Preparing") == 2
    assert [m["status"] for m in said].count("Pushed") == 1
    layers = registry.manifest(repository, "1")["layers"]
    assert len(layers) == 4 and layers[-1] == layers[-2]


@pytest.mark.operation(PUSH)
def test_what_is_not_here(engine: Engine, registry: Registry, cli: Cli) -> None:
    name = f"{registry.address}/{engine.name('push')}"
    text = f"An image does not exist locally with the tag: {name}"
    assert push(engine, name, "1")[1]["errorDetail"] == {"message": text}
    done = cli("push", f"{name}:1", check=False)
    assert done.code == 1 and text in done.err
    loaded(engine, f"{name}:1")
    text = f"tag does not exist: {name}:2"
    assert push(engine, name, "2")[1]["errorDetail"] == {"message": text}
    answer = engine.wire.request("POST", "/images/UPPER/push", headers=credentials())
    assert answer.status >= 400 and "must be lowercase" in answer.message


@pytest.mark.operation(PUSH)
def test_nobody_there(engine: Engine, cli: Cli) -> None:
    name = f"127.0.0.1:{netns.free_port()}/x"
    loaded(engine, f"{name}:1")
    done = cli("push", f"{name}:1", check=False)
    assert done.code == 1 and "connection refused" in done.err


@pytest.mark.operation(PUSH, "SystemAuth", "ImageCreate", "DistributionInspect")
def test_with_htpasswd(engine: Engine, guarded_registry: Registry, cli: Cli) -> None:
    registry, repository = guarded_registry, engine.name("push")
    name = f"{registry.address}/{repository}"
    image = loaded(engine, f"{name}:1")
    assert push(engine, name, "1")[-1]["errorDetail"] == {"message": "no basic auth credentials"}
    wrong = {"username": USER, "password": "wrong"}
    text = "unauthorized: authentication required"
    assert push(engine, name, "1", **wrong)[-1]["errorDetail"] == {"message": text}
    done = cli("pull", f"{name}:1", check=False)
    assert (
        f'Head "http://{registry.address}/v2/{repository}/manifests/1": no basic auth credentials' in done.err
    )
    cli("login", "-u", USER, "--password-stdin", registry.address, stdin=PASSWORD.encode())
    try:
        cli("push", f"{name}:1")
        engine.wire.request("DELETE", f"/images/{name}:1", force=True)
        cli("pull", f"{name}:1")
        good = credentials(username=USER, password=PASSWORD)
        answer = engine.wire.request("GET", f"/distribution/{name}:1/json", headers=good)
    finally:
        cli("logout", registry.address)
    assert engine.wire.get(f"/images/{name}:1/json")["Id"] == image.id
    assert answer.status == 200
    assert (
        f"{name}@{answer.json()['Descriptor']['digest']}"
        in engine.wire.get(f"/images/{name}:1/json")["RepoDigests"]
    )
    answer = engine.wire.request("GET", f"/distribution/{name}:1/json")
    assert answer.status in {401, 500} and "no basic auth credentials" in answer.message


@pytest.mark.operation(PUSH, "SystemAuth", "ImageCreate")
def test_with_tls_and_a_private_ca(engine: Engine, tls_registry: Registry, cli: Cli) -> None:
    registry = tls_registry
    name = f"{registry.address}/{engine.name('push')}"
    image = loaded(engine, f"{name}:1")
    cli("login", "-u", USER, "--password-stdin", registry.address, stdin=PASSWORD.encode())
    try:
        assert "1: digest: sha256:" in cli.text("push", f"{name}:1")
        engine.wire.request("DELETE", f"/images/{name}:1", force=True)
        cli("pull", f"{name}:1")
    finally:
        cli("logout", registry.address)
    assert engine.wire.get(f"/images/{name}:1/json")["Id"] == image.id


@pytest.mark.operation(PUSH)
@pytest.mark.since("1.46")
def test_of_a_platform(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/{engine.name('push')}"
    loaded(engine, f"{name}:1")
    wanted = {"os": "linux", "architecture": "s390x"}
    answer = engine.wire.request(
        "POST", f"/images/{name}/push", headers=credentials(), tag="1", platform=json.dumps(wanted)
    )
    assert answer.status == 404
    assert "does not match the specified platform" in answer.message
    wanted["architecture"] = "amd64"
    answer = engine.wire.request(
        "POST", f"/images/{name}/push", headers=credentials(), tag="1", platform=json.dumps(wanted)
    )
    assert answer.status == 200 and b"1: digest: sha256:" in answer.body


@pytest.mark.operation(PUSH)
def test_read_by_skopeo(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    """What is pushed is taken by another tool than ours, with all its digests checked."""
    if not Path("/usr/bin/skopeo").exists():
        pytest.skip("skopeo is missing")
    repository = engine.name("push")
    image = loaded(engine, f"{registry.address}/{repository}:1")
    push(engine, f"{registry.address}/{repository}", "1")
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
    source = f"docker://{registry.address}/{repository}:1"
    subprocess.run([*netns.prefix(), *command, source, f"dir:{tmp_path}/image"], check=True)
    assert (tmp_path / "image" / image.id[7:]).read_bytes() == image.document()


@pytest.mark.operation(PUSH, "SystemEvents")
def test_event(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/{engine.name('push')}"
    loaded(engine, f"{name}:1")
    since = now(engine)
    push(engine, name, "1")

    def seen() -> Any:
        return [e for e in past(engine, since, event=["push"]) if e["Actor"]["ID"] == f"{name}:1"]

    (event,) = until(seen, "the event of the push")
    assert (event["Type"], event["Actor"]["Attributes"]["name"]) == ("image", name)

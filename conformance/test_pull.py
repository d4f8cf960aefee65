"""pull: by tag and by digest from a registry on loopback, single images and lists."""

import json
import subprocess
from typing import Any

import pytest

from conformance import netns
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.images import Image, Tar
from conformance.registry import Registry


def fresh(engine: Engine, text: str = "") -> Image:
    """An image that no other test has."""
    name = text or engine.name()
    image = engine.base(Labels={"own": name})
    image.layers.append(Tar().add("which", name).bytes())
    return image


def pull(engine: Engine, reference: str, **query: Any) -> list[dict[str, Any]]:
    """The messages of a pull."""
    answer = engine.wire.request("POST", "/images/create", fromImage=reference, **query)
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


@pytest.mark.operation("ImageCreate")
@pytest.mark.parametrize("oci", [False, True])
def test_by_tag(engine: Engine, registry: Registry, oci: bool) -> None:
    image, repository = fresh(engine), engine.name("pull")
    descriptor = registry.push(repository, "v1", image, oci=oci)
    reference = f"{registry.address}/{repository}"
    messages = pull(engine, reference, tag="v1")
    assert messages[0] == {"status": f"Pulling from {repository}", "id": "v1"}
    statuses = [m["status"] for m in messages]
    assert statuses[-2:] == [
        f"Digest: {descriptor['digest']}",
        f"Status: Downloaded newer image for {reference}:v1",
    ]
    assert "Pull complete" in statuses or "Already exists" in statuses
    found = engine.wire.get(f"/images/{reference}:v1/json")
    assert found["Id"] == image.id
    assert found["RepoDigests"] == [f"{reference}@{descriptor['digest']}"]
    assert found["RepoTags"] == [f"{reference}:v1"]
    statuses = [m["status"] for m in pull(engine, f"{reference}:v1")]
    assert statuses[-1] == f"Status: Image is up to date for {reference}:v1"


@pytest.mark.operation("ImageCreate")
def test_by_digest(engine: Engine, registry: Registry, cli: Cli) -> None:
    image, repository = fresh(engine), engine.name("pull")
    descriptor = registry.push(repository, "v1", image)
    reference = f"{registry.address}/{repository}@{descriptor['digest']}"
    out = cli.text("pull", reference)
    assert f"Digest: {descriptor['digest']}" in out
    assert f"Status: Downloaded newer image for {reference}" in out
    found = engine.wire.get(f"/images/{reference}/json")
    assert found["Id"] == image.id and not found["RepoTags"] and found["RepoDigests"] == [reference]
    assert cli.text("run", "--rm", reference, "cat", "/which") == image.config["Labels"]["own"]
    assert f"Untagged: {reference}" in cli.text("rmi", reference).splitlines()


@pytest.mark.operation("ImageCreate")
@pytest.mark.parametrize("oci", [False, True])
def test_of_a_list_takes_our_architecture(engine: Engine, registry: Registry, oci: bool) -> None:
    mine = str(engine.version["Arch"])
    image, other, repository = fresh(engine), fresh(engine), engine.name("list")
    image.architecture = mine
    other.architecture = "s390x"
    descriptor = registry.push_list(repository, "multi", {"s390x": other, mine: image}, oci=oci)
    pull(engine, f"{registry.address}/{repository}", tag="multi")
    found = engine.wire.get(f"/images/{registry.address}/{repository}:multi/json")
    assert (found["Id"], found["Architecture"]) == (image.id, mine)
    assert found["RepoDigests"] == [f"{registry.address}/{repository}@{descriptor['digest']}"]


@pytest.mark.operation("ImageCreate")
def test_of_a_list_without_our_architecture(engine: Engine, registry: Registry) -> None:
    other, repository = fresh(engine), engine.name("list")
    other.architecture = "s390x"
    registry.push_list(repository, "multi", {"s390x": other})
    answer = engine.wire.request(
        "POST", "/images/create", fromImage=f"{registry.address}/{repository}", tag="multi"
    )
    assert "no matching manifest for linux/" in answer.body.decode()
    assert engine.wire.request("GET", f"/images/{registry.address}/{repository}:multi/json").status == 404


@pytest.mark.operation("ImageCreate")
def test_by_cli(engine: Engine, registry: Registry, cli: Cli) -> None:
    image, repository = fresh(engine), engine.name("pull")
    registry.push(repository, "latest", image)
    reference = f"{registry.address}/{repository}"
    out = cli.text("pull", reference).splitlines()
    assert out[0] == "Using default tag: latest"
    assert out[1] == f"latest: Pulling from {repository}"
    assert out[-2] == f"Status: Downloaded newer image for {reference}:latest"
    assert out[-1] == f"{reference}:latest"
    assert cli.text("pull", "-q", reference) == f"{reference}:latest"


@pytest.mark.operation("ImageCreate", "ContainerCreate")
def test_run_pulls(engine: Engine, registry: Registry, cli: Cli) -> None:
    image, repository = fresh(engine), engine.name("pull")
    registry.push(repository, "v2", image)
    done = cli("run", "--rm", f"{registry.address}/{repository}:v2", "cat", "/which")
    assert done.out == image.config["Labels"]["own"]
    assert f"Unable to find image '{registry.address}/{repository}:v2' locally" in done.err


@pytest.mark.operation("ImageCreate")
def test_a_tag_that_moved(engine: Engine, registry: Registry) -> None:
    old, new, repository = fresh(engine), fresh(engine), engine.name("pull")
    reference = f"{registry.address}/{repository}"
    registry.push(repository, "v", old)
    pull(engine, reference, tag="v")
    registry.push(repository, "v", new)
    assert (
        pull(engine, reference, tag="v")[-1]["status"] == f"Status: Downloaded newer image for {reference}:v"
    )
    assert engine.wire.get(f"/images/{reference}:v/json")["Id"] == new.id
    assert not engine.wire.get(f"/images/{old.id}/json")["RepoTags"]


@pytest.mark.operation("ImageCreate")
def test_all_tags(engine: Engine, registry: Registry, cli: Cli) -> None:
    repository = engine.name("pull")
    images = {tag: fresh(engine) for tag in ("a", "b")}
    for tag, image in images.items():
        registry.push(repository, tag, image)
    cli("pull", "-a", f"{registry.address}/{repository}")
    for tag, image in images.items():
        assert engine.wire.get(f"/images/{registry.address}/{repository}:{tag}/json")["Id"] == image.id


@pytest.mark.operation("ImageCreate")
def test_missing_tag(engine: Engine, registry: Registry, cli: Cli) -> None:
    repository = engine.name("pull")
    registry.push(repository, "there", fresh(engine))
    failed = cli("pull", f"{registry.address}/{repository}:not-there", check=False)
    assert failed.code == 1
    assert "not found" in failed.err or "manifest unknown" in failed.err
    failed = cli("pull", f"{registry.address}/{engine.name('none')}:x", check=False)
    assert failed.code == 1
    assert "not found" in failed.err or "manifest unknown" in failed.err or "name unknown" in failed.err


@pytest.mark.operation("ImageCreate")
def test_nobody_there(engine: Engine, cli: Cli) -> None:
    port = netns.free_port()
    answer = engine.wire.request("POST", "/images/create", fromImage=f"127.0.0.1:{port}/x", tag="y")
    assert answer.status == 500
    assert "connection refused" in answer.message and f"127.0.0.1:{port}" in answer.message
    failed = cli("pull", f"127.0.0.1:{port}/x:y", check=False)
    assert failed.code == 1 and "connection refused" in failed.err


@pytest.mark.operation("ImageCreate")
def test_corrupt_layer_is_refused(engine: Engine, registry: Registry) -> None:
    image, repository = fresh(engine), engine.name("pull")
    registry.push(repository, "v", image)
    manifest = registry.manifest(repository, "v")
    blob = manifest["layers"][-1]["digest"].removeprefix("sha256:")
    path = registry.folder / "data/docker/registry/v2/blobs/sha256" / blob[:2] / blob / "data"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    answer = engine.wire.request(
        "POST", "/images/create", fromImage=f"{registry.address}/{repository}", tag="v"
    )
    assert b'"error"' in answer.body or answer.status >= 400
    assert engine.wire.request("GET", f"/images/{registry.address}/{repository}:v/json").status == 404


@pytest.mark.operation("ImageCreate")
def test_pushed_by_skopeo(engine: Engine, registry: Registry, tmp_path: Any) -> None:
    """A registry filled by another tool than ours."""
    from pathlib import Path

    from conformance.images import docker_archive

    if not Path("/usr/bin/skopeo").exists():
        pytest.skip("skopeo is missing")
    image, repository = fresh(engine), engine.name("skopeo")
    (tmp_path / "image.tar").write_bytes(docker_archive({f"{repository}:1": image}))
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    target = f"docker://{registry.address}/{repository}:1"
    subprocess.run([*netns.prefix(), *command, f"docker-archive:{tmp_path}/image.tar", target], check=True)
    pull(engine, f"{registry.address}/{repository}", tag="1")
    assert engine.wire.get(f"/images/{registry.address}/{repository}:1/json")["Id"] == image.id


@pytest.mark.operation("DistributionInspect")
def test_distribution(engine: Engine, registry: Registry) -> None:
    image, repository = fresh(engine), engine.name("pull")
    descriptor = registry.push(repository, "v", image)
    found = engine.wire.get(f"/distribution/{registry.address}/{repository}:v/json")
    assert found["Descriptor"]["digest"] == descriptor["digest"]
    assert found["Descriptor"]["size"] == descriptor["size"]
    assert [(p["os"], p["architecture"]) for p in found["Platforms"]] == [("linux", "amd64")]

"""Caches that travel: `--cache-to` and `--cache-from`. What was built elsewhere is not built again.

Where a cache goes anywhere but into the image is marked with 1.52, dockerd 29.0, whose image store is
containerd's: before that buildx refuses it for a dockerd by itself.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from conformance.engine import Engine
from conformance.kits import Built, Kit, make
from conformance.registry import Registry

GRPC = ("Grpc", "Session")
STORE = pytest.mark.since("1.52")

pytestmark = pytest.mark.since("1.45")


@pytest.fixture
def buildx(engine: Engine, tmp_path: Path) -> Kit:
    made = make(engine, tmp_path, buildx=True)
    made.files(
        f"FROM {engine.image} AS first\nRUN echo {made.unique} > /made\n"
        "FROM first AS second\nCOPY a /a\nRUN cat /made /a > /both\n"
        f"FROM {engine.image}\nCOPY --from=second /both /\nENV A=b\n",
        {"a": "content"},
    )
    return made


def forget(buildx: Kit, *images: str) -> None:
    """All that the engine knows of earlier builds, but its other images."""
    for image in images:
        assert buildx.engine.wire.request("DELETE", f"/images/{image}", force=True).status == 200
    buildx.engine.wire.post("/build/prune", status=200, all=True)


def carried_out(built: Built) -> list[str]:
    """The steps that were not cached, but for those that bring files and the base."""
    return sorted(
        name.partition("] ")[2]
        for name, said in built.steps.items()
        if ("] RUN" in name or "] COPY" in name) and "CACHED" not in said
    )


@pytest.mark.operation(*GRPC, "ImagePush", "BuildPrune")
def test_a_cache_in_the_image(buildx: Kit, registry: Registry) -> None:
    repository = buildx.engine.name("c")
    name = f"{registry.address}/{repository}:1"
    buildx("--push", "-t", name, "--build-arg", "BUILDKIT_INLINE_CACHE=1", "--provenance=false")
    config = registry.manifest(repository, "1")["config"]
    status, _, body = registry.request("GET", f"/v2/{repository}/blobs/{config['digest']}")
    assert status == 200
    records = json.loads(base64.b64decode(json.loads(body)["moby.buildkit.cache.v0"]))
    assert any(one.get("layers") for one in records)
    forget(buildx, name)
    built = buildx("--cache-from", name)
    assert f"importing cache manifest from {name}" in built.steps
    assert carried_out(built) == []  # though only the last stage's layers are in the image
    assert "CACHED" in built.steps["[second 2/2] RUN cat /made /a > /both"]


@STORE
@pytest.mark.operation(*GRPC, "BuildPrune")
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_cache_in_a_folder(buildx: Kit, mode: str) -> None:
    folder, name = buildx.folder.parent / "cache", buildx.engine.name("c")
    buildx("--cache-to", f"type=local,dest={folder},mode={mode}", "-t", name)
    manifests = stored(folder)["manifests"]
    assert manifests[-1]["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
    forget(buildx, name)
    dockerfile = (buildx.folder / "Dockerfile").read_text()
    buildx.files(dockerfile.replace("ENV A=b", "RUN true"))
    left = carried_out(buildx("--cache-from", f"type=local,src={folder}"))
    assert left == ["RUN true"]
    forget(buildx)
    buildx.files(dockerfile, {"a": "other content"})
    left = carried_out(buildx("--cache-from", f"type=local,src={folder}"))
    assert {"COPY a /a", "RUN cat /made /a > /both", "COPY --from=second /both /"} <= set(left)
    assert (f"RUN echo {buildx.unique} > /made" in left) == (mode == "min")


@STORE
@pytest.mark.operation(*GRPC, "BuildPrune")
def test_a_cache_in_a_registry(buildx: Kit, registry: Registry) -> None:
    name = buildx.engine.name("c")
    to, told = f"type=registry,ref={registry.address}/{name}:cache", buildx.folder.parent / "metadata.json"
    buildx("--cache-to", f"{to},mode=max", "--metadata-file", str(told), "-t", name)
    manifest = json.loads(json.loads(told.read_text())["cache.manifest"])
    assert manifest["mediaType"] == "application/vnd.oci.image.index.v1+json"
    forget(buildx, name)
    assert carried_out(buildx("--cache-from", to, "-t", name)) == []
    assert buildx.run(name, "cat", "/both") == f"{buildx.unique}\ncontent"
    assert carried_out(buildx("--no-cache", "--cache-from", to))


@pytest.mark.operation(*GRPC)
def test_a_cache_that_is_not_there(buildx: Kit, registry: Registry) -> None:
    reference = f"{registry.address}/{buildx.engine.name('c')}:none"
    built = buildx("--cache-from", reference)
    (said,) = (lines for name, lines in built.steps.items() if name.endswith(f"from {reference}"))
    assert said[0].startswith("ERROR: ") and "not found" in said[0]


def stored(folder: Path) -> dict[str, Any]:
    """The manifest of a cache in a folder."""
    (target,) = json.loads((folder / "index.json").read_text())["manifests"]
    path = folder / "blobs" / target["digest"].replace(":", "/")
    found: dict[str, Any] = json.loads(path.read_text())
    return found

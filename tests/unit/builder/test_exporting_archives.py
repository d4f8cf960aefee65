"""The exporters oci and docker, and caches to and from a client's folder, against a client of our own."""

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.exporting import archives, cacheimport, exports
from compatd.engine.builder.exporting.descriptors import digest_of
from compatd.engine.builder.exporting.layout import path_of
from compatd.engine.builder.exporting.task import CacheEntry, Invocation, Output
from compatd.engine.errors import EngineError
from tests.unit.builder.exportkit import AMD64, ARM64, FakeClient, built, make_engine, task

Json = dict[str, Any]


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    return make_engine(tmp_path / "data")


def export(
    engine: Any, client: Any, result: Any, kind: str, caches: Any = (), /, **given: Any
) -> dict[str, str]:
    more = {name: given.pop(name) for name in ("invocation", "epoch", "several") if name in given}
    attributes = {name.replace("_", "-"): value for name, value in given.items()}
    output = Output(kind, attributes)
    return asyncio.run(exports.export(engine, result, [output], caches, task(client, **more)))


def index_of(files: dict[str, bytes]) -> list[Json]:
    found: list[Json] = json.loads(files["index.json"])["manifests"]
    return found


def test_an_archive_holds_what_its_manifest_says(engine: Any) -> None:
    client, result = FakeClient(), built(engine)
    response = export(engine, client, result, "oci", name="mine:1,other")
    files = client.files()
    first, second = index_of(files)
    assert first["annotations"]["io.containerd.image.name"] == "docker.io/library/mine:1"
    assert second["annotations"]["io.containerd.image.name"] == "docker.io/library/other:latest"
    assert first["platform"] == {"architecture": "amd64", "os": "linux"}
    manifest = json.loads(files[path_of(first["digest"])])
    assert files[path_of(manifest["config"]["digest"])] == result.results[0].config
    for layer in manifest["layers"]:
        assert digest_of(files[path_of(layer["digest"])]) == layer["digest"]
        assert len(files[path_of(layer["digest"])]) == layer["size"]
    assert response["containerimage.digest"] == first["digest"]
    assert response["containerimage.config.digest"] == manifest["config"]["digest"]
    assert response["image.name"] == "docker.io/library/mine:1,docker.io/library/other:latest"
    described = json.loads(base64.b64decode(response["containerimage.descriptor"]))
    assert described["annotations"].keys() == {"org.opencontainers.image.created"}
    assert client.metadata == [response] and client.ended == 1


def test_dockers_archive(engine: Any) -> None:
    client = FakeClient()
    export(engine, client, built(engine), "docker", name="mine:1")
    files = client.files()
    (shown,) = json.loads(files["manifest.json"])
    assert shown["RepoTags"] == ["mine:1"]
    assert all(name in files for name in (shown["Config"], *shown["Layers"]))
    manifest = json.loads(files[path_of(index_of(files)[0]["digest"])])
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_the_same_twice(engine: Any) -> None:
    result, clients = built(engine), [FakeClient(), FakeClient()]
    for client in clients:
        export(engine, client, result, "oci", source_date_epoch="5", force_compression="", compression="zstd")
    assert clients[0].data == clients[1].data


@pytest.mark.parametrize(
    ("given", "ending"), [("uncompressed", "tar"), ("zstd", "tar+zstd"), ("gzip", "tar+gzip")]
)
def test_layers_packed_anew(engine: Any, given: str, ending: str) -> None:
    client, result = FakeClient(), built(engine)
    export(engine, client, result, "oci", compression=given, force_compression="true")
    files = client.files()
    manifest = json.loads(files[path_of(index_of(files)[0]["digest"])])
    assert {layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]} == {ending}
    for layer in manifest["layers"]:
        assert digest_of(files[path_of(layer["digest"])]) == layer["digest"]


def test_without_force_layers_stay_as_they_came(engine: Any) -> None:
    client = FakeClient()
    export(engine, client, built(engine), "oci", compression="zstd")
    files = client.files()
    manifest = json.loads(files[path_of(index_of(files)[0]["digest"])])
    assert {layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]} == {"tar+gzip"}


def test_a_layout_goes_blob_by_blob(engine: Any) -> None:
    client = FakeClient()
    response = export(engine, client, built(engine), "oci", tar="false")
    store = client.stores["export"]
    assert store.order[-1] == response["containerimage.digest"] and not client.data
    assert len(store.order) == 4


def test_several_platforms(engine: Any) -> None:
    client = FakeClient()
    response = export(engine, client, built(engine, AMD64, ARM64), "oci", name="x")
    files = client.files()
    (target,) = index_of(files)
    assert "containerimage.config.digest" not in response
    listed = json.loads(files[path_of(target["digest"])])["manifests"]
    assert [one["platform"]["architecture"] for one in listed] == ["amd64", "arm64"]


def test_one_platform_asked_for_as_several(engine: Any) -> None:
    client = FakeClient()
    export(engine, client, built(engine), "oci", several=True)
    assert index_of(client.files())[0]["mediaType"].endswith("index.v1+json")


def test_provenance_is_in_the_index(engine: Any) -> None:
    client = FakeClient()
    invocation = Invocation(ref="r", attestations={"provenance": "mode=min"})
    export(engine, client, built(engine), "oci", name="x", invocation=invocation)
    files = client.files()
    listed = json.loads(files[path_of(index_of(files)[0]["digest"])])["manifests"]
    assert listed[1]["annotations"]["vnd.docker.reference.digest"] == listed[0]["digest"]
    attestation = json.loads(files[path_of(listed[1]["digest"])])
    statement = json.loads(files[path_of(attestation["layers"][0]["digest"])])
    (subject,) = statement["subject"]
    assert subject["name"] == "pkg:docker/x@latest?platform=linux%2Famd64"
    assert f"sha256:{subject['digest']['sha256']}" == listed[0]["digest"]


def test_what_is_for_indexes_only_makes_none(engine: Any) -> None:
    client = FakeClient()
    invocation = Invocation(attestations={"provenance": "mode=min,inline-only=true"})
    export(engine, client, built(engine), "oci", invocation=invocation)
    assert index_of(client.files())[0]["mediaType"].endswith("manifest.v1+json")


def test_annotations(engine: Any) -> None:
    client = FakeClient()
    given = {"annotation.a": "1", "annotation-manifest-descriptor.d": "2", "annotation-index.i": "3",
             "annotation-index-descriptor.e": "4", "annotation[linux/arm64].a": "5"}  # fmt: skip
    export(engine, client, built(engine, AMD64, ARM64), "oci", **given)
    files = client.files()
    (target,) = index_of(files)
    assert target["annotations"]["e"] == "4"
    index = json.loads(files[path_of(target["digest"])])
    assert index["annotations"] == {"i": "3"}
    assert index["manifests"][0]["annotations"] == {"d": "2"}
    shown = [json.loads(files[path_of(one["digest"])])["annotations"]["a"] for one in index["manifests"]]
    assert shown == ["1", "5"]


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        ("docker", {"several": True}, "docker exporter does not currently support exporting manifest lists"),
        ("docker", {"invocation": Invocation(attestations={"provenance": ""})}, "exporting manifest lists"),
        ("oci", {"annotation-index.i": "3"}, "index annotations not supported for single platform export"),
        ("oci", {"annotation[linux/s390x].a": "3"}, "invalid annotation: no platform linux/s390x found"),
        ("oci", {"invocation": Invocation(attestations={"sbom": ""})}, "SBOM attestations are not supported"),
    ],
)
def test_what_is_refused(engine: Any, kind: str, given: Json, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        export(engine, FakeClient(), built(engine), kind, **given)


def test_a_client_that_has_it_already(engine: Any) -> None:
    assert export(engine, FakeClient(has_it=True), built(engine), "docker")["containerimage.digest"]


def test_without_a_session(engine: Any) -> None:
    with pytest.raises(EngineError, match="oci exporter needs a client's session"):
        export(engine, None, built(engine), "oci")


def test_nothing_is_left_behind(engine: Any) -> None:
    export(engine, FakeClient(), built(engine), "oci", compression="zstd", force_compression="")
    engine.storage.settle()
    assert list(engine.storage.tmp.iterdir()) == []


def test_the_time_of_the_archive(engine: Any) -> None:
    client = FakeClient()
    export(engine, client, built(engine), "oci", epoch=1_700_000_000)
    files = client.files()
    (target,) = index_of(files)
    assert target["annotations"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    config = json.loads(files[path_of(json.loads(files[path_of(target["digest"])])["config"]["digest"])])
    assert {config["created"], *(one["created"] for one in config["history"])} == {"2023-11-14T22:13:20Z"}


# Caches -----------------------------------------------------------------------------------------------------


def found(engine: Any, entry: CacheEntry, client: Any, keys: list[str]) -> list[Any]:
    """What a cache says to these keys: layers that are here already."""

    async def ask() -> list[Any]:
        (source,) = cacheimport.sources(engine, [entry], task(client))
        answers = []
        with engine.images.index.pinned() as pins:
            parent: list[str] = []
            for key in keys:
                answer = await source.find(key, parent, pins)
                answers.append(answer and (answer[0].chain_id, answer[1]))
                parent = [*parent, answer[0].chain_id] if answer else parent
        return answers

    return asyncio.run(ask())


def test_a_cache_in_a_folder_is_found_again(engine: Any) -> None:
    client, result = FakeClient(), built(engine)
    response = export(engine, client, result, "oci", [CacheEntry("local", {"dest": "/c", "mode": "max"})])
    manifest = json.loads(response["cache.manifest"])
    store = client.stores["local:/c"]
    listed = json.loads(store.blobs[manifest["digest"]])["manifests"]
    assert listed[-1]["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
    assert listed[0]["annotations"].keys() == {"containerd.io/uncompressed", "buildkit/createdat"}
    entry = CacheEntry("local", {"src": "/c", "digest": manifest["digest"]})
    answers = found(engine, entry, client, ["key 0 0", "nonsense", "key 0 1"])
    chain_ids = result.results[0].chain_ids
    assert answers == [(chain_ids[0], 1), None, (chain_ids[1], 2)]


def test_the_least_of_a_cache(engine: Any) -> None:
    """`mode=min` has only what the image is made of."""
    client, result = FakeClient(), built(engine)
    whole = result.results[0]
    result.results = (replace(whole, chain_ids=whole.chain_ids[:1]),)
    for mode, count in (("min", 1), ("max", 2)):
        told = asyncio.run(
            exports.export(
                engine, result, [], [CacheEntry("local", {"dest": mode, "mode": mode})], task(client)
            )
        )
        manifest = json.loads(
            client.stores[f"local:{mode}"].blobs[json.loads(told["cache.manifest"])["digest"]]
        )
        assert len(manifest["manifests"]) == count + 1


def test_a_cache_as_an_image_manifest(engine: Any) -> None:
    client = FakeClient()
    entry = CacheEntry("local", {"dest": "d", "image-manifest": "true"})
    told = asyncio.run(exports.export(engine, built(engine), [], [entry], task(client)))
    described = json.loads(told["cache.manifest"])
    manifest = json.loads(client.stores["local:d"].blobs[described["digest"]])
    assert manifest["config"]["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
    again = CacheEntry("local", {"src": "d", "digest": described["digest"]})
    assert found(engine, again, client, ["key 0 0"])[0]


def test_an_inline_cache_is_in_the_config_and_found(engine: Any) -> None:
    client = FakeClient()
    response = export(engine, client, built(engine), "oci", [CacheEntry("inline")], tar="false")
    store = client.stores["export"]
    config = json.loads(store.blobs[response["containerimage.config.digest"]])
    assert "moby.buildkit.cache.v0" in config
    client.stores["local:x"] = store
    entry = CacheEntry("local", {"src": "x", "digest": response["containerimage.digest"]})
    assert all(found(engine, entry, client, ["key 0 0", "key 0 1"]))


def assert_not_there(engine: Any, entry: CacheEntry, at_hand: Any) -> None:
    """A cache that finds nothing, and raises nothing."""

    async def ask() -> Any:
        (source,) = cacheimport.sources(engine, [entry], at_hand)
        with engine.images.index.pinned() as pins:
            return await source.find("key", [], pins)

    assert asyncio.run(ask()) is None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (CacheEntry("local", {"src": "x"}), "local cache importer requires explicit digest"),
        (CacheEntry("local", {"src": "x", "digest": "sha256:" + "0" * 64}), "not found"),
        (CacheEntry("gha", {}), "unknown cache importer: gha"),
        (CacheEntry("registry", {}), "failed to configure registry cache importer: missing ref"),
    ],
)
def test_a_cache_that_is_not_there_is_only_told(engine: Any, entry: CacheEntry, text: str) -> None:
    at_hand = task(FakeClient())
    assert_not_there(engine, entry, at_hand)
    (vertex,) = at_hand.observer.vertexes.values()  # type: ignore[attr-defined]
    assert vertex.name.startswith("importing cache manifest from") and text in vertex.error


def test_a_store_that_lies(engine: Any) -> None:
    client = FakeClient()
    digest = digest_of(b"{}")
    client.content("local:x").blobs[digest] = b'{"mediaType": "application/vnd.oci.image.index.v1+json"}'
    assert found(engine, CacheEntry("local", {"src": "x", "digest": digest}), client, ["key 0 0"]) == [None]


def test_lines_of_progress(engine: Any) -> None:
    at_hand = task(FakeClient())
    asyncio.run(archives.export(engine, Output("oci"), built(engine), at_hand))
    (vertex,) = at_hand.observer.vertexes.values()  # type: ignore[attr-defined]
    assert vertex.name == "exporting to oci image format" and vertex.completed and not vertex.error
    parts = at_hand.observer.parts  # type: ignore[attr-defined]
    assert [part.partition(" sha")[0] for part in parts] == [
        "exporting layers",
        "exporting manifest",
        "exporting config",
        "sending tarball",
    ]


class Refusing:
    """A client's credentials that cannot be had."""

    async def credentials(self, host: str) -> dict[str, str]:
        raise GrpcError(Code.UNKNOWN, f"no helper for {host}")


def test_credentials_that_cannot_be_had(engine: Any) -> None:
    at_hand = task(auth=Refusing())
    entry = CacheEntry("registry", {"ref": "r:5000/a"})
    assert_not_there(engine, entry, at_hand)
    (vertex,) = at_hand.observer.vertexes.values()  # type: ignore[attr-defined]
    assert vertex.error == "no helper for r:5000"

"""Manifests, indexes, archives, configs: the bytes that a real BuildKit (dockerd 26.1) made of the same."""

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator

import pytest

from compatd.engine.builder.exporting import blobs, configs, descriptors, layout
from compatd.engine.builder.exporting.descriptors import Descriptor
from compatd.engine.images.platform import Platform
from compatd.engine.images.reference import parse

AMD64 = Platform("linux", "amd64")
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

# What dockerd 26.1 (containerd's image store) wrote for FROM, RUN, COPY, LABEL, CMD.
CONFIG = (
    b'{"architecture":"amd64","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin'
    b':/sbin:/bin"],"Cmd":["/bin/sh"],"Labels":{"x":"y"},"ArgsEscaped":true},"created":"2026-11-28T00:'
    b'32:20.569028938Z","history":[{"created":"2026-11-28T00:32:18.287449864Z","comment":"Imported fro'
    b'm -"},{"created":"2026-11-28T00:32:20.528619774Z","created_by":"RUN /bin/sh -c echo hi \\u003e /f'
    b'1 # buildkit","comment":"buildkit.dockerfile.v0"},{"created":"2026-11-28T00:32:20.569028938Z","c'
    b'reated_by":"COPY a /a # buildkit","comment":"buildkit.dockerfile.v0"},{"created":"2026-11-28T00:'
    b'32:20.569028938Z","created_by":"LABEL x=y","comment":"buildkit.dockerfile.v0","empty_layer":true'
    b'},{"created":"2026-11-28T00:32:20.569028938Z","created_by":"CMD [\\"/bin/sh\\"]","comment":"buildk'
    b'it.dockerfile.v0","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha25'
    b'6:d302729d35ea5c006fd61d320b0d28535250d9661e4aa2299f369d99b14e7db6","sha256:4578ec23962b79b86ed8'
    b'f2e31e2a7ddbc64b53aaef3cb8b7ba536bbe74629757","sha256:2347b877487aa708d8d19e5a9c3149e25c5ad98658'
    b'3bfd30d6924baf8462dc86"]}}'
)
CONFIG_DIGEST = "sha256:051515ab53c804204cfd5170e81a484cbfeb732904a751af080380d66e35a41f"
LAYERS = [
    ("sha256:9b5f653739b9c632ac054932e060be6a5512410ab98dae41b009f91abca51d39", 1068713),
    ("sha256:defee4bb271e9c5beab9fbf6a7840cb09330e273d9ccf0655a0218f1b09fc5fb", 101),
    ("sha256:b395a92eb8bd7ef003ac0fc5ccfee220cb6da8fafbcedcccfb5a842ad4d46de5", 97),
]


def layers(kind: str) -> list[Descriptor]:
    return [Descriptor(kind, digest, size) for digest, size in LAYERS]


def test_a_manifest_is_byte_for_byte_buildkits() -> None:
    _, described, config = descriptors.manifest(CONFIG, layers(GZIP), oci=True)
    assert config.digest == CONFIG_DIGEST and config.size == 1082
    assert described.digest == "sha256:43f072a47208882fb6e55a6dbf780824657e7703da1200eb671e6d506e2a2c06"
    assert described.size == 856


def test_a_manifest_of_dockers_kind_too() -> None:
    _, described, _ = descriptors.manifest(CONFIG, layers(DOCKER_GZIP), oci=False)
    assert described.digest == "sha256:78a00a92d36d4df182b24d004c38345965d0117ea4ad079856b67a436dca8df3"


def test_an_index_with_attestations_is_byte_for_byte_buildkits() -> None:
    image = Descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        "sha256:43f072a47208882fb6e55a6dbf780824657e7703da1200eb671e6d506e2a2c06",
        856,
        platform=AMD64,
    )
    attestation = Descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        "sha256:f615a57dc25947205044d61d0d4ed0e50648cb6dbcc1b9e7400b41a15caf889f",
        566,
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.digest,
        },
        platform=descriptors.UNKNOWN,
    )
    _, described = descriptors.index([image, attestation], oci=True)
    assert described.digest == "sha256:86eda143a8619769734335ce434909d8db7839423eeb49bf45b1ec65cd9f7f54"


def test_an_attestation_names_its_image() -> None:
    target = Descriptor("m", CONFIG_DIGEST, 1, platform=AMD64)
    found, described = descriptors.attestation_manifest(
        [(b'{"a":1}', "https://slsa.dev/provenance/v0.2")], target
    )
    assert [item.media_type.rpartition(".")[2] for item, _ in found] == ["in-toto+json", "v1+json", "v1+json"]
    assert described.platform == Platform("unknown", "unknown")
    assert described.annotations["vnd.docker.reference.digest"] == target.digest
    assert found[-1][0] == described
    config = json.loads(found[1][1])
    assert config["rootfs"]["diff_ids"] == [found[0][0].digest]
    assert list(config) == ["architecture", "os", "config", "rootfs"]


def test_annotations_are_in_order() -> None:
    data, _, _ = descriptors.manifest(b"{}", [], oci=True, annotations={"z": "1", "a": "2"})
    assert list(json.loads(data)["annotations"]) == ["a", "z"]
    data, described = descriptors.index([], oci=False, annotations={"b": "1"})
    assert json.loads(data)["mediaType"] == described.media_type == descriptors.DOCKER_LIST


@pytest.mark.parametrize(
    ("compression", "oci", "kind"),
    [
        ("gzip", True, GZIP),
        ("gzip", False, DOCKER_GZIP),
        ("", True, "application/vnd.oci.image.layer.v1.tar"),
        ("", False, "application/vnd.docker.image.rootfs.diff.tar"),
        ("zstd", False, "application/vnd.oci.image.layer.v1.tar+zstd"),
    ],
)
def test_layer_types(compression: str, oci: bool, kind: str) -> None:
    assert descriptors.layer_type(compression, oci=oci) == kind


# Configs --------------------------------------------------------------------------------------------------


def test_a_config_stays_as_it_is() -> None:
    assert configs.patched(CONFIG) == CONFIG


def test_an_inline_cache_has_its_place() -> None:
    document = json.loads(configs.patched(CONFIG, inline_cache=b"[]"))
    assert document["moby.buildkit.cache.v0"] == "W10="
    assert list(document) == sorted(document)


def test_other_layers() -> None:
    document = json.loads(configs.patched(CONFIG, diff_ids=["sha256:a"]))
    assert document["rootfs"] == {"type": "layers", "diff_ids": ["sha256:a"]}


def test_times_are_cut_but_the_bases() -> None:
    base = json.loads(CONFIG)["history"][:1]
    document = json.loads(configs.patched(CONFIG, epoch=1_700_000_000, base_history=base))
    times = [item["created"] for item in document["history"]]
    assert times == ["2026-11-28T00:32:18.287449864Z", *["2023-11-14T22:13:20Z"] * 4]
    assert document["created"] == "2023-11-14T22:13:20Z"


def test_earlier_times_stay() -> None:
    assert configs.patched(CONFIG, epoch=1 << 33) == CONFIG


# Archives -------------------------------------------------------------------------------------------------


def packed(*arguments: object) -> bytes:
    async def join() -> bytes:
        return b"".join([piece async for piece in layout.archive(*arguments)])  # type: ignore[arg-type]

    return asyncio.run(join())


def blob(data: bytes, kind: str = "k") -> blobs.Blob:
    return blobs.small(descriptors.of(data, kind), data)


def test_an_archive_is_in_order_and_without_times() -> None:
    one, two = blob(b"one"), blob(b"two")
    target = one.descriptor.with_annotations({"x": "y"})
    references = [parse("mine:1"), parse("mine:2")]
    manifest = layout.docker_manifest(one.digest, [two.digest], references)
    data = packed([two, one, two], layout.names(target, references), {"manifest.json": manifest})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        assert {member.mtime for member in tar} == {0}
        assert names[:2] == ["blobs", "blobs/sha256"] and names[2:4] == sorted(names[2:4])
        assert names[4:] == ["index.json", "manifest.json", "oci-layout"]
        modes = {member.name: member.mode for member in tar}
        assert modes[names[2]] == modes["oci-layout"] == 0o444 and modes["index.json"] == 0o644
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        shown = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert list(index["manifests"][0]["annotations"].items()) == [
        ("io.containerd.image.name", "docker.io/library/mine:1"),
        ("org.opencontainers.image.ref.name", "1"),
        ("x", "y"),
    ]
    assert len(index["manifests"]) == 2
    assert shown[0]["RepoTags"] == ["mine:1", "mine:2"]
    assert shown[0]["Layers"] == [layout.path_of(two.digest)]
    assert len(data) % 512 == 0 and data.endswith(bytes(1024))


def test_an_archive_without_names() -> None:
    one = blob(b"one")
    data = packed([one], layout.names(one.descriptor, []), {})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    assert index["manifests"] == [one.descriptor.document()]


# Blobs ----------------------------------------------------------------------------------------------------


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("kind", ["gzip", "zstd", ""])
@pytest.mark.parametrize("level", [None, 1])
def test_packed_twice_is_the_same(tmp_path, kind: str, level: int | None) -> None:  # type: ignore[no-untyped-def]
    from compatd.engine.builder.exporting.attributes import Compression
    from runtime.storage.tarstream import decompressor, detect

    how = Compression(kind, level=level)
    one = asyncio.run(blobs.write(tmp_path / "1", _pieces(b"hello ", b"", b"world" * 1000), how))
    two = asyncio.run(blobs.write(tmp_path / "2", _pieces(b"hello world", b"world" * 999), how))
    assert one == two
    data = (tmp_path / "1").read_bytes()
    assert one == (descriptors.digest_of(data), len(data))
    assert detect(data) == kind
    assert b"".join(decompressor(kind)(iter([data]))) == b"hello " + b"world" * 1000

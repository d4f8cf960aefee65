"""Images go round between a real dockerd, skopeo, podman and us, and keep IDs, digests and files."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.images import Image, digest, docker_archive, oci_layout
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.interchangekit import (
    CONFIG,
    IMAGE,
    NAME,
    Engine,
    Podman,
    assert_same,
    oci_configs,
    own_podman,
    real_dockerd,
    skopeo,
)

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture
def ours(daemon: Daemon) -> Iterator[Engine]:
    engine = Engine(daemon.socket)
    yield engine
    engine.forget()


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Engine]:
    with real_dockerd() as (engine, _):
        yield engine


@pytest.fixture
def real(dockerd: Engine) -> Iterator[Engine]:
    yield dockerd
    dockerd.forget()


def test_from_ours_to_dockerd_and_back(ours: Engine, real: Engine) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    real.load(ours.save(NAME))
    assert_same(real.inspect())
    assert real.inspect()["Size"] == ours.inspect()["Size"]
    there = real.save(NAME)
    expected = ours.listing()
    assert b"above" in expected and b"old" not in expected
    assert real.listing() == expected
    ours.forget()
    ours.load(there)
    assert_same(ours.inspect())
    assert ours.listing() == expected


def test_several_images_in_one_archive(ours: Engine, real: Engine) -> None:
    other = Image(IMAGE.layers[:2], {"Cmd": ["other"]})
    ours.load(docker_archive({NAME: IMAGE, "round/other:2": other}))
    real.load(ours.save(NAME, "round/other:2"))
    assert_same(real.inspect())
    assert real.inspect("round/other:2")["Id"] == other.id
    ours.forget()
    ours.load(real.save(NAME, "round/other:2"))
    assert_same(ours.inspect())
    assert ours.inspect("round/other:2")["Id"] == other.id


# skopeo ----------------------------------------------------------------------------------------------------


def test_skopeo_from_dockerd_to_ours(ours: Engine, real: Engine) -> None:
    real.load(docker_archive({NAME: IMAGE}))
    skopeo(
        "copy", f"--src-daemon-host={real.host}", f"--dest-daemon-host={ours.host}",
        f"docker-daemon:{NAME}", f"docker-daemon:{NAME}",
    )  # fmt: skip
    assert_same(ours.inspect())


def test_skopeo_from_ours_to_dockerd(ours: Engine, real: Engine) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    skopeo(
        "copy", f"--src-daemon-host={ours.host}", f"--dest-daemon-host={real.host}",
        f"docker-daemon:{NAME}", f"docker-daemon:{NAME}",
    )  # fmt: skip
    assert_same(real.inspect())


def test_skopeo_docker_archive_both_ways(ours: Engine, tmp_path: Path) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    path = tmp_path / "image.tar"
    skopeo("copy", f"--src-daemon-host={ours.host}", f"docker-daemon:{NAME}", f"docker-archive:{path}:{NAME}")
    ours.forget()
    ours.load(path.read_bytes())
    assert_same(ours.inspect())
    ours.forget()
    skopeo("copy", f"--dest-daemon-host={ours.host}", f"docker-archive:{path}", f"docker-daemon:{NAME}")
    assert_same(ours.inspect())
    saved = tmp_path / "saved.tar"
    saved.write_bytes(ours.save(NAME))
    shown = json.loads(skopeo("inspect", "--config", f"docker-archive:{saved}"))
    assert shown["rootfs"]["diff_ids"] == CONFIG["rootfs"]["diff_ids"]


def test_skopeo_oci_archive_both_ways(ours: Engine, tmp_path: Path) -> None:
    """OCI has a configuration of its own, so skopeo makes another ID: both sides must call it the same."""
    ours.load(docker_archive({NAME: IMAGE}))
    path = tmp_path / "oci.tar"
    skopeo("copy", f"--src-daemon-host={ours.host}", f"docker-daemon:{NAME}", f"oci-archive:{path}:{NAME}")
    (config,) = oci_configs(path)
    ours.load(path.read_bytes())
    assert ours.inspect(config)["RootFS"]["Layers"] == CONFIG["rootfs"]["diff_ids"]
    ours.forget()
    own = tmp_path / "own.tar"
    own.write_bytes(oci_layout({NAME: IMAGE}, "gzip"))
    skopeo("copy", f"--dest-daemon-host={ours.host}", f"oci-archive:{own}", f"docker-daemon:{NAME}")
    assert ours.inspect()["RootFS"]["Layers"] == CONFIG["rootfs"]["diff_ids"]


def test_our_archive_is_an_oci_layout_for_skopeo(ours: Engine, tmp_path: Path) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    saved = tmp_path / "saved.tar"
    saved.write_bytes(ours.save(NAME))
    assert oci_configs(saved) == [IMAGE.id]
    shown = json.loads(skopeo("inspect", "--raw", f"oci-archive:{saved}"))
    assert shown["config"]["digest"] == IMAGE.id
    assert [layer["digest"] for layer in shown["layers"]] == CONFIG["rootfs"]["diff_ids"]


# podman ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with own_podman() as podman:
        yield podman


def test_podman_loads_ours_and_we_load_its(ours: Engine, podman: Podman, tmp_path: Path) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    path = tmp_path / "ours.tar"
    path.write_bytes(ours.save(NAME))
    podman("load", "-i", str(path))
    assert podman("image", "inspect", "--format", "{{.Id}}", NAME).strip() == IMAGE.id[7:]
    for kind in ("docker-archive", "oci-archive"):
        back = tmp_path / kind
        podman("save", "--format", kind, "-o", str(back), NAME)
        ours.forget()
        ours.load(back.read_bytes())
        wanted = IMAGE.id if kind == "docker-archive" else oci_configs(back)[0]
        found = ours.inspect(wanted)
        assert found["Id"] == wanted
        assert found["RootFS"]["Layers"] == CONFIG["rootfs"]["diff_ids"]
        assert ours.listing(wanted)


def test_podman_loads_dockerd_s_after_us_and_dockerd_its(
    ours: Engine, real: Engine, podman: Podman, tmp_path: Path
) -> None:
    """All the way round: dockerd, we, podman, we, dockerd."""
    real.load(docker_archive({NAME: IMAGE}))
    ours.load(real.save(NAME))
    real.forget()
    one, other = tmp_path / "ours.tar", tmp_path / "podmans.tar"
    one.write_bytes(ours.save(NAME))
    podman("load", "-i", str(one))
    ours.forget()
    podman("save", "--format", "docker-archive", "-o", str(other), NAME)
    ours.load(other.read_bytes())
    found = ours.inspect(IMAGE.id)
    ours.tag(IMAGE.id, NAME)
    real.load(ours.save(NAME))
    assert_same(real.inspect())
    assert found["RootFS"] == real.inspect()["RootFS"]
    assert real.listing() == ours.listing()


def test_save_is_the_same_every_time(ours: Engine) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    one = ours.save(NAME)
    assert ours.save(NAME) == one
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        for info in tar:
            if info.name.startswith("blobs/sha256/") and info.isfile():
                file = tar.extractfile(info)
                assert file is not None and digest(file.read())[7:] == Path(info.name).name

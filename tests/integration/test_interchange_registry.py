"""Images go through a registry between a real dockerd, skopeo, podman and us: IDs and digests stay the same.

The registry's storage is served twice, in the network namespace of each engine, at the same address.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.images import Image, Tar, docker_archive, oci_layout
from tests.integration.daemon import running_daemon, wait_until
from tests.integration.interchangekit import (
    IMAGE,
    Engine,
    Podman,
    own_podman,
    real_dockerd,
    skopeo,
)

pytestmark = pytest.mark.root

PORT = 5000  # both namespaces are new: nobody else is in them
HOST = f"127.0.0.1:{PORT}"
TLS = "--tls-verify=false"


@dataclass
class Lab:
    ours: Engine
    real: Engine
    podman: Podman
    inside: tuple[str, ...]

    def raw(self, name: str) -> tuple[str, str]:
        """(digest of the manifest, image ID) in the registry, as skopeo sees it."""
        manifest = skopeo("inspect", TLS, "--raw", f"docker://{name}", prefix=self.inside)
        shown = json.loads(skopeo("inspect", TLS, f"docker://{name}", prefix=self.inside))
        return str(shown["Digest"]), str(json.loads(manifest)["config"]["digest"])

    def copy(self, source: str, target: str) -> None:
        """By skopeo, without changing anything."""
        options = ("--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests")
        skopeo("copy", *options, source, target, prefix=self.inside)

    def from_podman(self, name: str) -> tuple[str, str]:
        """(digest, image ID) after podman has pulled it; of several digests it would show any."""
        self.podman("rmi", "--all", "--force")
        self.podman("pull", "-q", TLS, name)
        digest, image = self.podman("image", "inspect", "--format", "{{.Digest}} {{.Id}}", name).split()
        return digest, f"sha256:{image}"


def _serve(folder: Path, netns: str) -> "subprocess.Popen[bytes]":
    config = folder / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}, "cache": {}}
    document = {"version": 0.1, "storage": storage, "http": {"addr": HOST}}
    config.write_text(json.dumps(document))  # JSON is YAML
    command = ["ip", "netns", "exec", netns]
    with (folder / f"{netns}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "docker-registry", "serve", str(config)], stdout=log, stderr=log
        )

    def up() -> bool:
        assert process.poll() is None, (folder / f"{netns}.log").read_text()
        asked = subprocess.run(
            [*command, "curl", "-fs", f"http://{HOST}/v2/"], capture_output=True, check=False
        )
        return asked.returncode == 0

    wait_until(up, "the registry's first answer")
    return process


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("registry")
    with running_daemon() as daemon, real_dockerd() as (real, netns):
        inside = ("ip", "netns", "exec", daemon.name)
        started: list[subprocess.Popen[bytes]] = []
        try:
            started += [_serve(folder, name) for name in (daemon.name, netns)]
            with own_podman(inside) as podman:
                yield Lab(Engine(daemon.socket), real, podman, inside)
        finally:
            for process in started:
                process.kill()
                process.wait()


@pytest.fixture(autouse=True)
def nothing_left(lab: Lab) -> Iterator[None]:
    yield
    lab.ours.forget()
    lab.real.forget()


def fresh(mark: str) -> Image:
    """An image whose layers no other test has: dockerd would push what it remembers of those."""
    layers = [Tar().add("f", f"{mark} {number}" * 500).bytes() for number in range(3)]
    return Image(layers, {"Labels": {"mark": mark}})


def same(engine: Engine, name: str, digest: str, image: Image = IMAGE) -> None:
    """The engine has the image under that name, and knows the digest."""
    found = engine.inspect(name)
    diff_ids = json.loads(image.document())["rootfs"]["diff_ids"]
    assert (found["Id"], found["RootFS"]["Layers"]) == (image.id, diff_ids)
    assert f"{name.rpartition(':')[0]}@{digest}" in found["RepoDigests"]


def test_what_dockerd_pushes_goes_round(lab: Lab) -> None:
    name, again, copied = (f"{HOST}/real/one:{tag}" for tag in ("1", "2", "3"))
    lab.real.load(docker_archive({name: IMAGE}))
    digest = lab.real.push(name)
    assert lab.raw(name) == (digest, IMAGE.id)
    lab.ours.pull(name)
    same(lab.ours, name, digest)
    lab.ours.tag(name, again)
    assert lab.ours.push(again) == digest
    assert lab.from_podman(again) == (digest, IMAGE.id)
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{again}",
        f"docker://{copied}",
        prefix=lab.inside,
    )
    lab.ours.forget()
    lab.ours.pull(copied)
    same(lab.ours, copied, digest)
    lab.real.forget()
    lab.real.pull(copied)
    same(lab.real, copied, digest)
    assert lab.real.listing(copied) == lab.ours.listing(copied)


def test_what_we_push_goes_round(lab: Lab) -> None:
    name, again = f"{HOST}/ours/one:1", f"{HOST}/ours/one:2"
    image = fresh("ours")
    lab.ours.load(docker_archive({name: image}))
    digest = lab.ours.push(name)
    assert lab.raw(name) == (digest, image.id)
    assert lab.from_podman(name) == (digest, image.id)
    lab.real.pull(name)
    same(lab.real, name, digest, image)
    lab.real.tag(name, again)
    assert lab.real.push(again) == digest
    lab.ours.forget()
    lab.ours.pull(again)
    same(lab.ours, again, digest, image)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_oci_layout_goes_round(lab: Lab, tmp_path: Path, compression: str) -> None:
    """Loaded from a layout and pushed, it has the digest that skopeo gives it out of the same layout."""
    own, theirs = f"{HOST}/layout/ours:{compression}", f"{HOST}/layout/skopeo:{compression}"
    image = fresh(compression)
    archive = oci_layout({own: image}, compression)
    path = tmp_path / "layout.tar"
    path.write_bytes(archive)
    skopeo(
        "copy",
        "--dest-tls-verify=false",
        "--preserve-digests",
        f"oci-archive:{path}",
        f"docker://{theirs}",
        prefix=lab.inside,
    )
    lab.ours.load(archive)
    digest = lab.ours.push(own)
    assert lab.raw(own) == lab.raw(theirs) == (digest, image.id)
    assert lab.from_podman(own) == (digest, image.id)
    same(lab.ours, own, digest, image)

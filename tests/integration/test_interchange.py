"""Images go round between a real dockerd, skopeo, podman and us, and keep IDs, digests and files."""

import http.client
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from conformance.images import Image, Tar, busybox_root, digest, docker_archive, oci_layout
from tests.integration.daemon import Daemon, UnixConnection, running_daemon

pytestmark = pytest.mark.root

SCRIPTS = Path(__file__).parents[2] / "scripts"
NAME = "round/trip:1"
LISTING = ["sh", "-c", "cd /data && ls -lanR && cat file shared && readlink soft && stat -c %h file"]


def _layers() -> list[bytes]:
    first = (
        Tar()
        .add("data", mode=0o2750, uid=5, gid=6)
        .add("data/file", "one\n", mode=0o4755, uid=7, gid=8)
        .link("data/hard", "data/file", tarfile.LNKTYPE)
        .link("data/soft", "file")
        .add("data/gone", "x")
        .add("data/hidden")
        .add("data/hidden/old", "x")
        .add("data/pipe", type=tarfile.FIFOTYPE)
        .add("data/shared", "below\n")
    )
    second = (
        Tar()
        .add("data", mode=0o750, uid=5, gid=6)
        .add("data/.wh.gone", "")
        .add("data/hidden")
        .add("data/hidden/.wh..wh..opq", "")
        .add("data/hidden/new", "x")
        .add("data/shared", "above\n")
        .add("data/" + "n" * 200, "long name\n")
    )
    return [busybox_root(), first.bytes(), second.bytes()]


IMAGE = Image(_layers(), {"Cmd": ["sh"], "Env": ["PATH=/bin", "A=<b>&c"], "Labels": {"k": "v"}})
CONFIG = json.loads(IMAGE.document())


class Engine:
    """An engine behind a unix socket, ours or a real one."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.host = f"unix://{socket}"

    def call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/x-tar"
    ) -> bytes:
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, "/v1.40" + path, body, {"Content-Type": kind})
            answer: http.client.HTTPResponse = connection.getresponse()
            read = answer.read()
        finally:
            connection.close()
        assert answer.status < 400, read
        return read

    def load(self, archive: bytes) -> None:
        lines = self.call("POST", "/images/load?quiet=1", archive).decode()
        assert "error" not in lines, lines

    def save(self, *names: str) -> bytes:
        query = "&".join(f"names={quote(name)}" for name in names)
        return self.call("GET", f"/images/get?{query}")

    def inspect(self, name: str = NAME) -> Any:
        return json.loads(self.call("GET", f"/images/{name}/json"))

    def forget(self) -> None:
        """Remove all images."""
        for image in json.loads(self.call("GET", "/images/json?all=1")):
            self.call("DELETE", f"/images/{image['Id']}?force=1")

    def listing(self, name: str = NAME) -> bytes:
        """What a container of the image sees of /data."""
        body = json.dumps({"Image": name, "Cmd": LISTING, "HostConfig": {"NetworkMode": "none"}}).encode()
        made = json.loads(self.call("POST", "/containers/create", body, "application/json"))["Id"]
        self.call("POST", f"/containers/{made}/start")
        self.call("POST", f"/containers/{made}/wait")
        out = self.call("GET", f"/containers/{made}/logs?stdout=1&stderr=1")
        self.call("DELETE", f"/containers/{made}?force=1")
        return out


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
    if not Path("/usr/sbin/dockerd").exists():
        pytest.skip("there is no /usr/sbin/dockerd (package docker.io)")
    folder = tempfile.mkdtemp(prefix="rd-", dir="/tmp")
    script = str(SCRIPTS / "real-dockerd")
    try:
        subprocess.run([script, "start", folder], check=True, capture_output=True, timeout=120)
        yield Engine(f"{folder}/docker.sock")
    finally:
        subprocess.run([script, "clean", folder], check=False, capture_output=True, timeout=120)


@pytest.fixture
def real(dockerd: Engine) -> Iterator[Engine]:
    yield dockerd
    dockerd.forget()


def assert_same(found: Any) -> None:
    """The image is IMAGE: its ID is its configuration's digest, so nothing in that has changed either."""
    assert found["Id"] == IMAGE.id
    assert found["RootFS"]["Layers"] == CONFIG["rootfs"]["diff_ids"]
    assert NAME in found["RepoTags"]


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


def skopeo(*words: str) -> str:
    if not shutil.which("skopeo"):
        pytest.skip("there is no skopeo")
    command = ["skopeo", "--insecure-policy", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def oci_configs(path: Path) -> list[str]:
    """The digests of the configurations in an OCI archive."""
    with tarfile.open(path) as tar:

        def blob(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.loads(file.read())

        manifests = blob("index.json")["manifests"]
        return [blob("blobs/" + entry["digest"].replace(":", "/"))["config"]["digest"] for entry in manifests]


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


class Podman:
    """With a store of its own; it only loads, saves and inspects."""

    def __init__(self, folder: Path) -> None:
        self._base = [
            "podman", f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs", "--events-backend=file",
        ]  # fmt: skip

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run([*self._base, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout if done.returncode == 0 else ""


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    if not shutil.which("podman"):
        pytest.skip("there is no podman")
    folder = Path(tempfile.mkdtemp(prefix="podman-"))
    made = Podman(folder)
    try:
        if not made("info", check=False):
            pytest.skip("podman does not run on this machine")
        yield made
    finally:
        made("system", "reset", "--force", check=False)
        shutil.rmtree(folder, ignore_errors=True)


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


def test_save_is_the_same_every_time(ours: Engine) -> None:
    ours.load(docker_archive({NAME: IMAGE}))
    one = ours.save(NAME)
    assert ours.save(NAME) == one
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        for info in tar:
            if info.name.startswith("blobs/sha256/") and info.isfile():
                file = tar.extractfile(info)
                assert file is not None and digest(file.read())[7:] == Path(info.name).name

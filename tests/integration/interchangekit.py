"""Engines and tools that images go round between: a real dockerd, skopeo, podman and us."""

import contextlib
import http.client
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conformance.images import Image, Tar, busybox_root
from tests.integration.daemon import UnixConnection

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
            headers = {"Content-Type": kind, "X-Registry-Auth": "e30="}
            connection.request(method, "/v1.40" + path, body, headers)
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

    def pull(self, name: str) -> None:
        repository, _, tag = name.rpartition(":")
        lines = self.call("POST", f"/images/create?fromImage={quote(repository)}&tag={tag}").decode()
        assert "error" not in lines, lines

    def push(self, name: str) -> str:
        """The digest of what the registry has then."""
        repository, _, tag = name.rpartition(":")
        lines = self.call("POST", f"/images/{repository}/push?tag={tag}").splitlines()
        aux = json.loads(lines[-1]).get("aux")
        assert aux, lines
        return str(aux["Digest"])

    def tag(self, name: str, new: str) -> None:
        repository, _, tag = new.rpartition(":")
        self.call("POST", f"/images/{name}/tag?repo={quote(repository)}&tag={tag}")

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


def assert_same(found: Any) -> None:
    """The image is IMAGE: its ID is its configuration's digest, so nothing in that has changed either."""
    assert found["Id"] == IMAGE.id
    assert found["RootFS"]["Layers"] == CONFIG["rootfs"]["diff_ids"]
    assert NAME in found["RepoTags"]


def skopeo(*words: str, prefix: tuple[str, ...] = ()) -> str:
    """Its output; `prefix` is what goes before the command."""
    command = [*prefix, "skopeo", "--insecure-policy", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def oci_configs(path: Path) -> list[str]:
    """The digests of the configurations in an OCI archive."""
    with tarfile.open(path) as tar:

        def blob(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.loads(file.read())

        manifests = blob("index.json")["manifests"]
        return [blob("blobs/" + entry["digest"].replace(":", "/"))["config"]["digest"] for entry in manifests]


class Podman:
    """With a store of its own; it only loads, saves and inspects."""

    def __init__(self, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        self._base = [
            *prefix, "podman", f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs", "--events-backend=file",
        ]  # fmt: skip

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run([*self._base, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout if done.returncode == 0 else ""


@contextlib.contextmanager
def real_dockerd() -> Iterator[tuple[Engine, str]]:
    """Debian's dockerd, and the name of its network namespace."""
    folder = tempfile.mkdtemp(prefix="rd-", dir="/tmp")
    script = str(SCRIPTS / "real-dockerd")
    try:
        subprocess.run([script, "start", folder], check=True, capture_output=True, timeout=120)
        shown = subprocess.run([script, "env", folder], check=True, capture_output=True, text=True).stdout
        variables = dict(line.removeprefix("export ").split("=", 1) for line in shown.splitlines())
        yield Engine(f"{folder}/docker.sock"), variables["CONFORMANCE_NETNS"]
    finally:
        subprocess.run([script, "clean", folder], check=False, capture_output=True, timeout=120)


@contextlib.contextmanager
def own_podman(prefix: tuple[str, ...] = ()) -> Iterator[Podman]:
    """podman with an empty store."""
    folder = Path(tempfile.mkdtemp(prefix="podman-"))
    made = Podman(folder, prefix)
    try:
        made("info")
        yield made
    finally:
        made("system", "reset", "--force", check=False)
        shutil.rmtree(folder, ignore_errors=True)

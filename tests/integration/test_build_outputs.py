"""Outputs of builds that go wrong, or need something of the machine; by the real buildx."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.images import Image, Tar, docker_archive
from conformance.registry import PROGRAM, Registry
from tests.integration.daemon import ApiError, Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root

TRIXIE = Path(__file__).parents[2] / ".cache/trixie/usr"
DOCKER = str(TRIXIE / "bin/docker")
PLUGIN = TRIXIE / "libexec/docker/cli-plugins/docker-buildx"
SIZE = 64 << 20
HANDLER = "compatd-test-riscv64"
RISCV64 = 0xF3  # elf.h, EM_RISCV

# Holds a mount of binfmt_misc that nobody else sees, with a handler; both end with the process
HOLD = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
with open(sys.argv[1], "w") as file:
    file.write(sys.argv[2])
print("held", flush=True)
try:
    sys.stdin.read()
finally:
    with open(os.path.join(os.path.dirname(sys.argv[1]), sys.argv[3]), "w") as file:
        file.write("-1")
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    if not PLUGIN.exists():
        pytest.skip("docker-buildx is missing (scripts/setup --test fetches it)")
    with running_daemon() as found:
        found.image("box:latest")
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A context, and beside it a configuration of the client with its plugin."""
    (tmp_path / "config/cli-plugins").mkdir(parents=True)
    (tmp_path / "config/cli-plugins/docker-buildx").symlink_to(PLUGIN)
    (tmp_path / "ctx").mkdir()
    return tmp_path


def environment(daemon: Daemon, folder: Path) -> dict[str, str]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    return {**keep, "DOCKER_HOST": daemon.host, "DOCKER_CONFIG": str(folder / "config")}


def docker(daemon: Daemon, folder: Path, *arguments: str) -> None:
    """A command that must go well."""
    done = subprocess.run(
        [DOCKER, *arguments], env=environment(daemon, folder), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def command(
    daemon: Daemon, folder: Path, *options: str, stdout: Any = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [DOCKER, "buildx", "build", "--progress=plain", *options, str(folder / "ctx")],
        env=environment(daemon, folder),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def build(daemon: Daemon, folder: Path, *options: str) -> tuple[int, str]:
    """(exit code, what was said) of a build."""
    process = command(daemon, folder, *options)
    _, err = process.communicate(timeout=240)
    return process.returncode, err.decode()


def resting(daemon: Daemon) -> None:
    """Until no worker is left, and no half work."""

    def still() -> bool:
        commands = [Path(f"/proc/{pid}/cmdline") for pid in daemon.processes()]
        workers = [path for path in commands if path.exists() and b"compatd-worker" in path.read_bytes()]
        return not workers and not list((daemon.data_root / "compatd/tmp").iterdir())

    wait_until(still, "the export to leave nothing")


def memory(daemon: Daemon) -> int:
    """The daemon's own pages, in bytes."""
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) << 10


@pytest.mark.parametrize("output", ["type=tar,dest=-", "type=oci,dest=-,compression=uncompressed"])
def test_an_output_that_nobody_takes(daemon: Daemon, folder: Path, output: str) -> None:
    """The client takes no more: the daemon waits, and is no larger; the client goes: nothing is left."""
    (folder / "ctx/Dockerfile").write_text("FROM scratch\nCOPY large /\n")
    with (folder / "ctx/large").open("wb") as file:
        file.truncate(SIZE)
    assert build(daemon, folder, "-o", "type=cacheonly")[0] == 0
    before = memory(daemon)
    read, write = os.pipe()
    process = command(daemon, folder, "-o", output, stdout=write)
    os.close(write)
    try:
        assert os.read(read, 1)  # it has begun
        assert process.poll() is None
        assert memory(daemon) - before < SIZE // 2
    finally:
        process.kill()
        process.communicate()
        os.close(read)
    resting(daemon)
    assert build(daemon, folder, "-o", str(folder / "out"))[0] == 0
    assert (folder / "out/large").stat().st_size == SIZE


def test_a_daemon_that_is_killed_meanwhile(daemon: Daemon, folder: Path) -> None:
    (folder / "ctx/Dockerfile").write_text("FROM box\nRUN echo killed > /made\nCOPY large /\n")
    (folder / "ctx/large").write_bytes(os.urandom(8 << 20))
    read, write = os.pipe()
    process = command(daemon, folder, "-o", "type=oci,dest=-", stdout=write)
    os.close(write)
    try:
        assert os.read(read, 1)
        daemon.kill()
    finally:
        os.close(read)
        process.kill()
        process.communicate()
    daemon.start()
    resting(daemon)
    code, said = build(daemon, folder, "-o", str(folder / "out"))
    assert code == 0 and "RUN echo killed" in said and (folder / "out/made").read_text() == "killed\n"


def test_an_imported_cache_that_has_lost_a_layer(daemon: Daemon, folder: Path) -> None:
    (folder / "ctx/Dockerfile").write_text(
        "FROM box AS made\nRUN echo made > /a\nFROM box\nRUN echo first > /b\nCOPY --from=made /a /\n"
    )
    cache, tree = folder / "cache", folder / "tree"
    assert build(daemon, folder, "--cache-to", f"type=local,dest={cache}")[0] == 0
    (index,) = json.loads((cache / "index.json").read_text())["manifests"]
    manifest = json.loads((cache / "blobs" / index["digest"].replace(":", "/")).read_text())
    blobs = sorted(
        (item for item in manifest["manifests"] if "tar" in item["mediaType"]),
        key=lambda item: int(item["size"]),
    )
    for item in blobs[:-1]:  # all but box's own
        (cache / "blobs" / item["digest"].replace(":", "/")).unlink()
    daemon.call("POST", "/build/prune?all=1")
    code, said = build(
        daemon, folder, "--cache-from", f"type=local,src={cache}", "--output", f"type=local,dest={tree}"
    )
    assert code == 0, said
    assert (tree / "a").read_text() == "made\n" and (tree / "b").read_text() == "first\n"


def test_what_the_image_store_cannot_hold(daemon: Daemon, folder: Path) -> None:
    (folder / "ctx/Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    code, said = build(daemon, folder, "--platform", "linux/amd64,linux/arm64", "-t", "x")
    assert code == 1 and "exporting multiple references to image store is currently unsupported" in said
    code, said = build(daemon, folder, "--sbom=true", "-o", str(folder / "out"))
    assert code == 1 and "SBOM attestations are not supported: build with --sbom=false" in said


def test_an_index_is_pushed(daemon: Daemon, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """buildx' driver `remote` leaves pushing to the builder: so does the docker driver of later releases."""
    if not Path(PROGRAM).exists():
        pytest.skip(f"{PROGRAM} is missing (package docker-registry)")
    monkeypatch.setenv("CONFORMANCE_NETNS", daemon.name)
    (folder / "registry").mkdir()
    docker(daemon, folder, "buildx", "create", "--name", "far", "--driver", "remote", daemon.host)
    (folder / "ctx/Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH\nCOPY a /\n")
    (folder / "ctx/a").write_text(folder.name)
    with contextlib.closing(Registry(folder / "registry")) as registry:
        name = f"{registry.address}/index"
        far = ("--builder", "far", "--push")
        code, said = build(daemon, folder, *far, "--platform", "linux/amd64,linux/arm64", "-t", f"{name}:1")
        assert code == 0, said
        listed = registry.manifest("index", "1")["manifests"]
        assert [one["platform"]["architecture"] for one in listed] == ["amd64", "arm64", "unknown", "unknown"]
        for one in listed:
            manifest = registry.manifest("index", one["digest"])
            for blob in (manifest["config"], *manifest["layers"]):
                assert registry.request("HEAD", f"/v2/index/blobs/{blob['digest']}")[0] == 200
        with pytest.raises(ApiError):
            daemon.call("GET", f"/images/{name}:1/json")
        code, said = build(daemon, folder, *far, "-t", f"{name}:2", "--provenance=false")
        assert code == 0 and "layers" in registry.manifest("index", "2"), said
        image = daemon.call("GET", f"/images/{name}:2/json")["Id"]
        assert registry.manifest("index", "2")["config"]["digest"] == image
        output = f"type=image,name={name},push=true,push-by-digest=true,store=false"
        asked = ("--metadata-file", str(folder / "told"), "--provenance=false", "-o", output)
        code, said = build(daemon, folder, "--builder", "far", *asked, "--label", "x=y")
        assert code == 0, said
        digest = json.loads((folder / "told").read_text())["containerimage.digest"]
        assert registry.manifest("index", digest)["config"]["digest"] != image
        assert registry.request("GET", "/v2/index/manifests/latest")[0] == 404


def test_programs_that_binfmt_misc_has_a_handler_for(daemon: Daemon, folder: Path) -> None:
    """As with qemu-user-static: the kernel gives the program to its interpreter, here busybox, which runs the
    applet that the program is called.
    """
    program = bytearray(Path("/bin/busybox").read_bytes())
    program[18:20] = RISCV64.to_bytes(2, "little")
    layer = Tar().add("bin").add("bin/sh", bytes(program), mode=0o755).add("tmp").bytes()
    daemon.call(
        "POST", "/images/load?quiet=1", data=docker_archive({"riscv:1": Image([layer], {}, "riscv64")})
    )
    (folder / "ctx/Dockerfile").write_text("FROM riscv:1\nRUN echo emulated > /made\n")
    asked = ("--platform", "linux/riscv64", "-o", str(folder / "out"))
    code, said = build(daemon, folder, *asked)
    assert code == 1 and "exec /bin/sh: exec format error" in said
    place = "/proc/sys/fs/binfmt_misc"
    magic = "".join(f"\\x{byte:02x}" for byte in program[:20])
    rule = f":{HANDLER}:M::{magic}::/bin/busybox:F"
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         f'mount -t binfmt_misc none {place} && exec "$0" "$@"',
         sys.executable, "-c", HOLD, f"{place}/register", rule, HANDLER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout
        if holder.stdout.readline() != b"held\n":
            pytest.skip(f"no binfmt_misc here: {holder.communicate()[1].decode()[-300:]}")
        code, said = build(daemon, folder, *asked)
    finally:
        holder.communicate()
    assert code == 0, said
    assert (folder / "out/made").read_text() == "emulated\n"
    assert "exec format error" in build(daemon, folder, "--no-cache", *asked)[1]

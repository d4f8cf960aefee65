"""A data root without space: clear errors, nothing half stored, and the daemon goes on."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, daemon_on_a_disk, wait_until
from tests.integration.killkit import registry_process
from tests.integration.test_storage_images import archive_of, config_of

pytestmark = pytest.mark.root

SIZE = 32 << 20
LARGE = 48 << 20


@pytest.fixture(scope="module", params=["overlay2", "vfs"])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """One whose data root is a tmpfs of SIZE bytes."""
    with daemon_on_a_disk(SIZE, request.param) as made:
        yield made


def large_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(LARGE >> 20):
            info = tarfile.TarInfo(f"file{number}")
            info.size = 1 << 20
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return buffer.getvalue()


def _used(daemon: Daemon) -> int:
    info = os.statvfs(daemon.data_root)
    return (info.f_blocks - info.f_bfree) * info.f_frsize


def _left_over(daemon: Daemon) -> list[str]:
    return [path.name for path in (daemon.data_root / "compatd/tmp").iterdir()]


def _stream_error(answer: Any) -> str:
    last = json.loads(answer.splitlines()[-1]) if isinstance(answer, bytes) else answer
    return str(last["errorDetail"]["message"])


@pytest.fixture(autouse=True)
def _nothing_stays(daemon: Daemon) -> Iterator[None]:
    before = _used(daemon)
    images = daemon.call("GET", "/images/json")
    yield
    wait_until(lambda: not _left_over(daemon), "half work to be gone")
    assert daemon.call("GET", "/images/json") == images
    assert _used(daemon) < before + (2 << 20)  # the state's log may have grown
    assert daemon.logs(_run(daemon, "echo", "goes on")) == b"goes on\n"


def _run(daemon: Daemon, *command: str) -> str:
    for container in daemon.call("GET", "/containers/json?all=1"):
        daemon.call("DELETE", f"/containers/{container['Id']}?force=1")
    container = daemon.run([*command])
    daemon.call("POST", f"/containers/{container}/wait")
    return container


@pytest.mark.parametrize("packed", [False, True])
def test_load(daemon: Daemon, packed: bool) -> None:
    layer = large_tar()
    manifest = json.dumps([{"Config": "c", "RepoTags": ["big:1"], "Layers": ["l"]}]).encode()
    content = gzip.compress(layer, 1) if packed else layer
    archive = archive_of({"c": config_of(layer), "l": content, "manifest.json": manifest})
    answer = daemon.call("POST", "/images/load", data=archive)
    assert "no space left on device" in _stream_error(answer)


def test_import(daemon: Daemon) -> None:
    with pytest.raises(ApiError, match="no space left on device"):
        daemon.call("POST", "/images/create?fromSrc=-&repo=big&tag=1", data=large_tar())


def test_pull(daemon: Daemon) -> None:
    layer = large_tar()
    packed = gzip.compress(layer, 1)
    with registry_process(lambda made: made.add([packed], config_of(layer), tag="1"), daemon.name) as host:
        answer = daemon.call("POST", f"/images/create?fromImage={host}/a/b&tag=1")
    assert "no space left on device" in _stream_error(answer)


def test_a_container_fills_its_disk_and_only_its_own_write_fails(daemon: Daemon) -> None:
    container = _run(
        daemon, "sh", "-c", "out=$(dd if=/dev/zero of=/big bs=1M count=64 2>&1); rm /big; echo $out"
    )
    assert b"No space left on device" in daemon.logs(container)

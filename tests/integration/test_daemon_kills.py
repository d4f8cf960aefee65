"""`kill -9` of a real daemon amid a load, an import and a removal: nothing half stored is left."""

import contextlib
import gzip
import http.client
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, UnixConnection, running_daemon
from tests.integration.killkit import registry_process
from tests.integration.test_storage_images import archive_of, config_of, layer_tar

pytestmark = pytest.mark.root

PIECES = 40


def _layer(number: int) -> bytes:
    noise = random.Random(number)  # noqa: S311
    return layer_tar(**{f"file{number}-{index}": noise.randbytes(40_000) for index in range(20)})


LAYERS = [_layer(number) for number in range(3)]
CONFIG = config_of(*LAYERS)


def _archive() -> bytes:
    layers = {f"{number}.tar": layer for number, layer in enumerate(LAYERS)}
    manifest = [{"Config": "c.json", "RepoTags": ["killed:1"], "Layers": list(layers)}]
    return archive_of({"c.json": CONFIG, **layers, "manifest.json": json.dumps(manifest).encode()})


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


def _fsck(daemon: Daemon) -> tuple[int, str]:
    command = [str(Path(sys.executable).parent / "compatd"), "fsck", "--deep", "--data-root"]
    done = subprocess.run(
        [*command, str(daemon.data_root)], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def _kill_while_sending(daemon: Daemon, path: str, body: bytes, pieces: int) -> None:
    """Send so many of PIECES parts of the body, then kill the daemon."""
    connection = UnixConnection(daemon.socket)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", "application/x-tar")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body[: len(body) * pieces // PIECES])
    daemon.kill()
    connection.close()


def _settle(daemon: Daemon) -> None:
    """Start it again, stop it in order, and let fsck look."""
    daemon.start()
    daemon.stop()
    code, text = _fsck(daemon)
    assert code == 0, text
    daemon.start()


@pytest.mark.parametrize("pieces", [1, 15, 30, 39, 40])
def test_load(daemon: Daemon, pieces: int) -> None:
    _kill_while_sending(daemon, "/images/load", _archive(), pieces)
    _settle(daemon)
    daemon.call("POST", "/images/load", data=_archive())
    image = daemon.call("GET", "/images/killed:1/json")
    assert image["RootFS"]["Layers"] == json.loads(CONFIG)["rootfs"]["diff_ids"]
    daemon.call("DELETE", "/images/killed:1")


@pytest.mark.parametrize("pieces", [1, 20, 40])
def test_import(daemon: Daemon, pieces: int) -> None:
    path = "/images/create?fromSrc=-&repo=imported&tag=1"
    _kill_while_sending(daemon, path, LAYERS[0], pieces)
    _settle(daemon)
    daemon.call("POST", path, data=LAYERS[0])
    assert daemon.call("GET", "/images/imported:1/json")["RootFS"]["Layers"]
    daemon.call("DELETE", "/images/imported:1")


@pytest.mark.parametrize("lines", [1, 3, 5, 8, 12])
def test_pull(daemon: Daemon, lines: int) -> None:
    """Killed after so many lines of progress."""
    packed = [gzip.compress(layer, 1) for layer in LAYERS]
    with registry_process(lambda made: made.add(packed, CONFIG, tag="1"), daemon.name) as host:
        path = f"/images/create?fromImage={host}/a/b&tag=1"
        connection = UnixConnection(daemon.socket)
        connection.request("POST", path)
        answer = connection.getresponse()
        for _ in range(lines):
            answer.readline()
        daemon.kill()
        connection.close()
        _settle(daemon)
        daemon.call("POST", path)
        image = daemon.call("GET", f"/images/{host}/a/b:1/json")
        assert image["RootFS"]["Layers"] == json.loads(CONFIG)["rootfs"]["diff_ids"]
        daemon.call("DELETE", f"/images/{host}/a/b:1")


def test_removal(daemon: Daemon) -> None:
    daemon.call("POST", "/images/load", data=_archive())
    connection = UnixConnection(daemon.socket)
    connection.request("DELETE", "/images/killed:1")
    daemon.kill()
    connection.close()
    _settle(daemon)

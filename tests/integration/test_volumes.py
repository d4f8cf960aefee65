"""Volumes over a killed daemon, and on a file system of their own."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


def volumes(daemon: Daemon) -> dict[str, Any]:
    return {volume["Name"]: volume for volume in daemon.call("GET", "/volumes")["Volumes"]}


def test_after_a_kill(daemon: Daemon) -> None:
    """All are there with all their fields; who uses them still does; half removed ones are gone."""
    daemon.call("POST", "/volumes/create", {"Name": "named", "Labels": {"a": "b"}})
    daemon.call("POST", "/volumes/create", {"Name": "plain", "DriverOpts": {}})
    daemon.call(
        "POST", "/volumes/create", {"Name": "memory", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}
    )
    host = {"Binds": ["named:/n", "memory:/m"], "NetworkMode": "none"}
    script = "echo kept >/n/f; echo there >/m/f; exec sleep 1000"
    box = daemon.run(["sh", "-c", script], Volumes={"/anonymous": {}}, HostConfig=host)
    wait_until((daemon.data_root / "volumes/memory/_data/f").exists, "the container's files")
    before = volumes(daemon)
    assert len(before) == 4
    daemon.kill()
    half = daemon.data_root / "volumes/.gone-0123"
    (half / "_data").mkdir(parents=True)
    (half / "_data/f").write_text("x")
    found = daemon.data_root / "volumes/by-hand/_data"
    found.mkdir(parents=True)
    daemon.start()
    after = volumes(daemon)
    by_hand = after.pop("by-hand")
    assert after == before
    assert (by_hand["Mountpoint"], by_hand["Labels"], by_hand["Options"]) == (str(found), None, None)
    for name in ("named", "memory"):
        with pytest.raises(ApiError) as error:
            daemon.call("DELETE", f"/volumes/{name}?force=1")
        assert error.value.args == (409, f"remove {name}: volume is in use - [{box}]")
    wait_until(lambda: not half.exists(), "the rest of the removal")
    assert daemon.call("GET", f"/containers/{box}/json")["State"]["Running"]
    assert (daemon.data_root / "volumes/memory/_data/f").read_text() == "there\n"
    daemon.call("DELETE", f"/containers/{box}?force=1&v=1")
    assert set(volumes(daemon)) == {"named", "plain", "memory", "by-hand"}
    assert not any("/volumes/memory/" in line for line in daemon.mounts())
    daemon.call("POST", '/volumes/prune?filters={"all":["true"]}')
    assert set(volumes(daemon)) == {"memory"}  # it has options
    daemon.call("DELETE", "/volumes/memory")
    daemon.kill()
    daemon.start()
    assert volumes(daemon) == {}
    assert list((daemon.data_root / "volumes").iterdir()) == []


def test_on_a_file_system_of_their_own() -> None:
    daemon = Daemon(Path(tempfile.mkdtemp(prefix="compatd-it-")))
    place = daemon.data_root / "volumes"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=711", "volumes", str(place)], check=True)
    try:
        daemon.start()
        folder = Path(daemon.call("POST", "/volumes/create", {"Name": "vol"})["Mountpoint"])
        (folder / "deep/er").mkdir(parents=True)
        daemon.call("DELETE", "/volumes/vol")
        assert not folder.parent.exists() and volumes(daemon) == {}
        wait_until(lambda: not list(place.iterdir()), "its files to go")
    finally:
        with contextlib.suppress(Exception):
            daemon.kill()
        subprocess.run(["umount", "-l", str(place)], check=True)
        daemon.destroy()


def test_nothing_of_a_mounted_volume_is_removed(daemon: Daemon, tmp_path: Path) -> None:
    """Whatever a killed daemon has left mounted: a removal is of the folder, not of what lies over it."""
    (tmp_path / "treasure").write_text("x")
    options = {"type": "none", "device": str(tmp_path), "o": "bind"}
    folder = daemon.call("POST", "/volumes/create", {"Name": "bound", "DriverOpts": options})["Mountpoint"]
    subprocess.run(["mount", "--bind", str(tmp_path), folder], check=True)
    try:
        daemon.call("DELETE", "/volumes/bound")
        assert not any("/volumes/bound/" in line for line in daemon.mounts())
    finally:
        subprocess.run(["umount", folder], check=False, capture_output=True)
    tmp = daemon.data_root / "compatd/tmp"
    wait_until(lambda: not list(tmp.glob("gone-*")), "its folder to go")
    assert (tmp_path / "treasure").read_text() == "x"

"""Mounts that a Docker 20.10 lacks, or that need the host's side looked at: trees, images, shared volumes."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
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


@pytest.fixture(params=["compatd", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Runtimes that must do the same."""
    if request.param != "compatd" and not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def nested() -> Iterator[Path]:
    """A folder of the host with a tmpfs mounted inside of it, `below`."""
    folder = Path(tempfile.mkdtemp(prefix="compatd-nested-"))
    (folder / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", str(folder / "below")], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder / "below")], check=True)
    shutil.rmtree(folder)


def run(daemon: Daemon, script: str, runtime: str = "compatd", prefix: str = "", **host: Any) -> str:
    """What a shell script in a container says, and nothing left of the container."""
    body = {
        "Image": "box:latest",
        "Cmd": ["sh", "-c", f"({script}) 2>&1"],
        "HostConfig": {"Runtime": runtime, "NetworkMode": "none", **host},
    }
    container = daemon.call("POST", f"{prefix}/containers/create", body)["Id"]
    try:
        daemon.call("POST", f"/containers/{container}/start")
        daemon.call("POST", f"/containers/{container}/wait")
        return daemon.logs(container).decode().strip()
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1&v=1")


TOUCH = "touch /m/x && echo top; touch /m/below/x && echo below; true"


def test_read_only_reaches_the_mounts_below(daemon: Daemon, runtime: str, nested: Path) -> None:
    mount = {"Type": "bind", "Source": str(nested), "Target": "/m", "ReadOnly": True}
    found = {}
    for name, options in (
        ("default", None),
        ("forced", {"ReadOnlyForceRecursive": True}),
        ("alone", {"ReadOnlyNonRecursive": True}),
    ):
        mounts = [{**mount, "BindOptions": options} if options else mount]
        found[name] = run(daemon, TOUCH, runtime, Mounts=mounts).splitlines()[-1]
    assert "Read-only file system" in found["default"]
    assert "Read-only file system" in found["forced"]
    assert found["alone"] == "below"
    assert "Read-only" in run(daemon, TOUCH, runtime, Binds=[f"{nested}:/m:ro"]).splitlines()[-1]
    # An old client's read-only mounts are what they were.
    assert run(daemon, TOUCH, runtime, "/v1.43", Binds=[f"{nested}:/m:ro"]).endswith("below")
    assert run(daemon, TOUCH, runtime, "/v1.43", Mounts=[mount]).endswith("below")


def test_non_recursive_bind(daemon: Daemon, runtime: str, nested: Path) -> None:
    (nested / "below/inside").touch()
    mount = {"Type": "bind", "Source": str(nested), "Target": "/m"}
    assert run(daemon, "ls /m/below", runtime, Mounts=[mount]) == "inside"
    mount["BindOptions"] = {"NonRecursive": True}  # type: ignore[assignment]
    assert run(daemon, "ls /m/below", runtime, Mounts=[mount]) == ""


@pytest.mark.parametrize(
    ("options", "read_only", "text"),
    [
        ({"ReadOnlyNonRecursive": True}, False, "!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        ({"ReadOnlyForceRecursive": True}, False, "!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
        (
            {"ReadOnlyForceRecursive": True, "ReadOnlyNonRecursive": True},
            True,
            "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        ),
    ],
)
def test_read_only_options_that_conflict(
    daemon: Daemon, options: dict[str, bool], read_only: bool, text: str
) -> None:
    mount = {"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": options, "ReadOnly": read_only}
    with pytest.raises(ApiError) as error:
        run(daemon, "true", Mounts=[mount])
    assert error.value.args == (500, f"mount options conflict: {text}")


def test_a_missing_source_is_made_when_asked_for(daemon: Daemon, tmp_path: Path) -> None:
    mount = {"Type": "bind", "Source": f"{tmp_path}/a/b", "Target": "/m"}
    with pytest.raises(ApiError):
        run(daemon, "true", Mounts=[mount])
    mount["BindOptions"] = {"CreateMountpoint": True}  # type: ignore[assignment]
    assert run(daemon, "echo hi >/m/f", Mounts=[mount]) == ""
    assert (tmp_path / "a/b/f").read_text() == "hi\n"


# Images --------------------------------------------------------------------------------------------------


def test_image_mount(daemon: Daemon, runtime: str) -> None:
    before = daemon.mounts()
    mount = {"Type": "image", "Source": "box:latest", "Target": "/m"}
    script = "cat /m/etc/group; touch /m/x; ls /m/etc; grep -c ' /m' /proc/mounts"
    out = run(daemon, script, runtime, Mounts=[mount]).splitlines()
    assert out[:1] == ["root:x:0:"]
    assert any("Read-only file system" in line for line in out)
    assert "hosts" not in out, "what a container gets is no part of an image"
    assert out[-1] == "1"
    mount["ImageOptions"] = {"Subpath": "etc"}  # type: ignore[assignment]
    assert run(daemon, "ls /m; grep -c ' /m' /proc/mounts", runtime, Mounts=[mount]) == "group\npasswd\n1"
    mount["ImageOptions"] = {"Subpath": "etc/passwd"}  # type: ignore[assignment]
    assert "root:x:0:0" in run(daemon, "cat /m", runtime, Mounts=[mount])
    assert daemon.mounts() == before


def test_image_mount_of_several_layers(daemon: Daemon, runtime: str) -> None:
    daemon.image("other:latest")
    container = daemon.run(["sh", "-c", "mkdir /made; ln -s / /made/out; ln -s ../etc /made/in"])
    daemon.call("POST", f"/containers/{container}/wait")
    try:
        daemon.call("POST", f"/commit?container={container}&repo=layered", {})
    except ApiError as error:
        if error.args[0] == 501:
            pytest.skip("commit is not built yet")
        raise
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")
    mount: dict[str, Any] = {"Type": "image", "Source": "layered", "Target": "/m"}
    assert run(daemon, "ls /m/made; ls /m/etc/group", runtime, Mounts=[mount]) == "in\nout\n/m/etc/group"
    mount["ImageOptions"] = {"Subpath": "made/in"}
    assert run(daemon, "ls /m", runtime, Mounts=[mount]) == "group\npasswd"
    mount["ImageOptions"] = {"Subpath": "made/out"}
    with pytest.raises(ApiError) as error:
        run(daemon, "ls /m", runtime, Mounts=[mount])
    assert "escapes the base directory" in error.value.args[1]


def test_an_image_that_is_mounted_stays(daemon: Daemon) -> None:
    daemon.image("kept:latest")
    with_mount = {"HostConfig": {"Mounts": [{"Type": "image", "Source": "kept:latest", "Target": "/m"}]}}
    container = daemon.create(["cat", "/m/etc/group"], **with_mount)
    (shown,) = daemon.inspect(container)["Mounts"]
    assert (shown["Type"], shown["Name"], shown["Destination"], shown["RW"], shown["Propagation"]) == (
        "image",
        "kept:latest",
        "/m",
        False,
        "rprivate",
    )
    with pytest.raises(ApiError) as error:
        daemon.call("DELETE", "/images/kept:latest")
    assert error.value.args[0] == 409
    daemon.call("DELETE", "/images/kept:latest?force=1")
    daemon.call("POST", f"/containers/{container}/start")
    daemon.call("POST", f"/containers/{container}/wait")
    assert daemon.logs(container).startswith(b"root:x:0:")
    daemon.call("DELETE", f"/containers/{container}")


def test_image_mounts_that_cannot_be(daemon: Daemon) -> None:
    for mount, prefix, answer in (
        ({"Source": "nope"}, "", (404, "No such image: nope:latest")),
        ({"Source": ""}, "", (400, 'invalid mount config for type "image": field Source must not be empty')),
        ({"Source": "box"}, "/v1.47", (400, 'Mount type "Image" needs API v1.48 or newer')),
        (
            {"Source": "box", "ImageOptions": {"Subpath": "../etc"}},
            "",
            (
                400,
                'invalid mount config for type "image": subpath must be a relative path within the volume',
            ),
        ),
    ):
        with pytest.raises(ApiError) as error:
            run(daemon, "true", prefix=prefix, Mounts=[{"Type": "image", "Target": "/m", **mount}])
        assert error.value.args == answer


# Volumes with options ------------------------------------------------------------------------------------


def make_volume(daemon: Daemon, name: str, **options: str) -> None:
    mount = {
        "Type": "volume",
        "Source": name,
        "Target": "/m",
        "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": options}},
    }
    container = daemon.create(["true"], HostConfig={"Mounts": [mount]})
    daemon.call("DELETE", f"/containers/{container}")


def sleeper(daemon: Daemon, bind: str, runtime: str = "compatd") -> str:
    return daemon.run(
        ["sleep", "1000"], HostConfig={"Binds": [bind], "Runtime": runtime, "NetworkMode": "none"}
    )


def remove(daemon: Daemon, *containers: str) -> None:
    for container in containers:
        daemon.call("DELETE", f"/containers/{container}?force=1")


def mounted(daemon: Daemon, name: str) -> int:
    return sum(f"/volumes/{name}/_data " in line for line in daemon.mounts())


def test_a_tmpfs_volume_is_shared_while_it_is_used(daemon: Daemon, runtime: str) -> None:
    name = f"shared-{runtime}"
    make_volume(daemon, name, type="tmpfs", device="tmpfs", o="size=1m,mode=700")
    assert mounted(daemon, name) == 0
    first, second = sleeper(daemon, f"{name}:/m", runtime), sleeper(daemon, f"{name}:/m:ro")
    assert mounted(daemon, name) == 1
    pid = daemon.inspect(first)["State"]["Pid"]
    Path(f"/proc/{pid}/root/m/f").write_text("shared")
    other = daemon.inspect(second)["State"]["Pid"]
    assert Path(f"/proc/{other}/root/m/f").read_text() == "shared"
    line = run(daemon, "grep ' /m ' /proc/mounts", runtime, Binds=[f"{name}:/m"])
    assert line.split()[2] == "tmpfs"
    assert {"size=1024k", "mode=700"} <= set(line.split()[3].split(","))
    remove(daemon, first)
    assert mounted(daemon, name) == 1
    remove(daemon, second)
    assert mounted(daemon, name) == 0
    assert run(daemon, "ls /m", runtime, Binds=[f"{name}:/m"]) == ""


def test_a_volume_that_is_a_bind_or_cannot_be_mounted(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("host")
    make_volume(daemon, "bound", type="none", device=str(tmp_path), o="bind,ro")
    assert run(daemon, "cat /m/f; touch /m/x", Binds=["bound:/m"]).startswith("host")
    assert not (tmp_path / "x").exists()
    make_volume(daemon, "broken", type="none", device="/nonexistent", o="bind")
    folder = f"{daemon.data_root}/volumes/broken/_data"
    with pytest.raises(ApiError) as error:
        run(daemon, "true", Binds=["broken:/m"])
    assert error.value.args[1].endswith(
        f"error while mounting volume '{folder}': failed to mount local volume: "
        f"mount /nonexistent:{folder}, flags: 0x1000: no such file or directory"
    )
    make_volume(daemon, "secret", type="nosuchfs", device="x", o="password=hush,addr=127.0.0.1")
    with pytest.raises(ApiError) as error:
        run(daemon, "true", Binds=["secret:/m"])
    assert "hush" not in error.value.args[1]
    assert "data: password=********,addr=127.0.0.1: no such device" in error.value.args[1]
    for name in ("bound", "broken", "secret"):
        assert mounted(daemon, name) == 0


def test_what_a_killed_daemon_left_mounted(daemon: Daemon) -> None:
    make_volume(daemon, "left", type="tmpfs", device="tmpfs")
    make_volume(daemon, "stays", type="tmpfs", device="tmpfs")
    gone, stays = sleeper(daemon, "left:/m"), sleeper(daemon, "stays:/m")
    Path(f"/proc/{daemon.inspect(stays)['State']['Pid']}/root/m/f").write_text("kept")
    pid = daemon.inspect(gone)["State"]["Pid"]
    daemon.kill()
    os.kill(pid, 9)
    daemon.start()
    wait_until(lambda: mounted(daemon, "left") == 0, "the unused volume is unmounted")
    assert mounted(daemon, "stays") == 1
    assert run(daemon, "cat /m/f", Binds=["stays:/m"]) == "kept"
    remove(daemon, gone, stays)
    assert mounted(daemon, "stays") == 0


# Paths inside of volumes -----------------------------------------------------------------------------------


def subpath(volume: str, path: str) -> dict[str, Any]:
    return {"Type": "volume", "Source": volume, "Target": "/m", "VolumeOptions": {"Subpath": path}}


def test_subpath_of_a_volume(daemon: Daemon, runtime: str) -> None:
    name = f"sub-{runtime}"
    script = "mkdir -p /v/a/b; echo deep >/v/a/b/f; ln -s a /v/in; ln -s / /v/out; ln -s ../.. /v/up"
    run(daemon, script, Binds=[f"{name}:/v"])
    assert run(daemon, "cat /m/f", runtime, Mounts=[subpath(name, "a/b")]) == "deep"
    assert run(daemon, "cat /m", runtime, Mounts=[subpath(name, "a/b/f")]) == "deep"
    assert run(daemon, "cat /m/b/f", runtime, Mounts=[subpath(name, "in")]) == "deep"
    data = f"{daemon.data_root}/volumes/{name}/_data"
    for path, status, text in (
        ("out", 400, f"path concatenation escapes the base directory, base: {data}, subpath: out"),
        ("up", 400, f"path concatenation escapes the base directory, base: {data}, subpath: up"),
        ("nope", 404, f"cannot access path {data}/nope: lstat {data}/nope: no such file or directory"),
    ):
        with pytest.raises(ApiError) as error:
            run(daemon, "true", runtime, Mounts=[subpath(name, path)])
        assert error.value.args == (status, text)


def test_a_container_that_swaps_a_subpath_for_a_link_gets_nothing_of_the_host(
    daemon: Daemon, runtime: str
) -> None:
    """The class of CVE-2021-30465: between the look at a path and its mount it is made a link to `/`."""
    name = f"race-{runtime}"
    secret = Path(tempfile.mkdtemp(prefix="compatd-secret-"))
    (secret / "mark").write_text("of the host")
    make = f"mkdir /v/dir; echo of the volume >/v/dir/mark; ln -s {secret} /v/link; ln -s dir /v/cur"
    run(daemon, make, Binds=[f"{name}:/v"])
    data = daemon.data_root / "volumes" / name / "_data"
    stop = threading.Event()

    def swap() -> None:
        """As a process in a container would, through the volume."""
        (data / "cur").unlink()
        (data / "cur").mkdir()
        (data / "cur/mark").write_text("of the volume")
        while not stop.is_set():
            with contextlib.suppress(OSError):
                (data / "cur").rename(data / "aside")
                (data / "link").rename(data / "cur")
                (data / "cur").rename(data / "link")
                (data / "aside").rename(data / "cur")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = []
    try:
        wait_until(lambda: (data / "aside").exists() or (data / "cur/mark").exists(), "the swapping")
        for _ in range(15):
            with contextlib.suppress(ApiError):  # it was a link, or not there, at the moment
                seen.append(run(daemon, "cat /m/mark", runtime, Mounts=[subpath(name, "cur")]))
    finally:
        stop.set()
        thread.join()
        shutil.rmtree(secret)
    assert set(seen) <= {"of the volume"}, json.dumps(seen)

"""The storage driver vfs: everything that looks at a container's root, and both drivers on one data root."""

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.images import Image, Tar, busybox_root, docker_archive
from tests.integration.daemon import ApiError, Daemon, running_daemon

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon("--storage-driver", "vfs") as daemon:
        daemon.image()
        yield daemon


def ran(daemon: Daemon, script: str, image: str = "box:latest", **fields: Any) -> tuple[str, str]:
    """(container, stdout) of a script that has run to its end."""
    body = {"Image": image, "Cmd": ["sh", "-c", script], **fields}
    container = str(daemon.call("POST", "/containers/create", body)["Id"])
    daemon.call("POST", f"/containers/{container}/start")
    daemon.call("POST", f"/containers/{container}/wait")
    return container, daemon.logs(container).decode()


def test_it_says_what_it_is(daemon: Daemon) -> None:
    info = daemon.call("GET", "/info")
    assert (info["Driver"], info["DriverStatus"]) == ("vfs", None)
    assert daemon.call("GET", "/v1.44/images/box:latest/json")["GraphDriver"] == {"Name": "vfs", "Data": None}
    container = daemon.create(["true"])
    assert daemon.call("GET", f"/v1.44/containers/{container}/json")["GraphDriver"] == {
        "Name": "vfs",
        "Data": None,
    }


def test_layers_are_merged_as_overlay_would(daemon: Daemon) -> None:
    below = (
        Tar()
        .add("d", mode=0o750, uid=1, gid=2)
        .add("d/gone", "x")
        .add("d/kept", "kept")
        .link("d/hard", "d/kept", tarfile.LNKTYPE)
        .add("o")
        .add("o/old", "x")
        .add("becomes", "file")
        .add("was")
        .add("was/inner", "x")
        .add("n", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    )
    above = (
        Tar()
        .add("d", mode=0o700, uid=3, gid=4)
        .add("d/.wh.gone", "")
        .add("o")
        .add("o/.wh..wh..opq", "")
        .add("o/new", "x")
        .add("becomes")
        .add("becomes/inner", "y")
        .add("was", "file")
    )
    image = Image([busybox_root(), below.bytes(), above.bytes()], {})
    daemon.call("POST", "/images/load", data=docker_archive({"merged:1": image}))
    script = (
        "ls -A /d /o; stat -c '%a %u %g' /d; cat /was /becomes/inner /d/hard; stat -c ' %h' /d/kept;"
        "stat -c '%t:%T' /n"
    )
    _, out = ran(daemon, script, "merged:1")
    assert out.split() == [
        *("/d:", "hard", "kept", "/o:", "new", "700", "3", "4"),
        *("fileykept", "2", "1:3"),
    ]


def test_diff_size_commit_and_export(daemon: Daemon) -> None:
    container, _ = ran(daemon, "echo 123 > /new; rm /etc/group; mkdir /dir; touch /dir/f; chmod 700 /root")
    changes = daemon.call("GET", f"/containers/{container}/changes")
    assert [(change["Path"], change["Kind"]) for change in changes] == [
        ("/dir", 1),
        ("/dir/f", 1),
        ("/etc", 0),
        ("/etc/group", 2),
        ("/new", 1),
        ("/root", 0),
    ]
    assert daemon.call("GET", f"/containers/{container}/json?size=1")["SizeRw"] == 4
    daemon.call("POST", f"/commit?container={container}&repo=committed&tag=1", {})
    _, out = ran(daemon, "ls /new /dir; ls /etc/group; stat -c %a /root", "committed:1")
    assert out.split() == ["/new", "/dir:", "f", "700"]
    exported = tarfile.open(fileobj=io.BytesIO(daemon.call("GET", f"/containers/{container}/export")))
    assert "new" in exported.getnames() and "etc/group" not in exported.getnames()


def test_a_folder_made_anew_is_opaque_in_the_layer(daemon: Daemon) -> None:
    image = Image([busybox_root(), Tar().add("d").add("d/old", "x").bytes()], {})
    daemon.call("POST", "/images/load", data=docker_archive({"opaque:0": image}))
    container, _ = ran(daemon, "rm -r /d; mkdir /d; echo 1 > /d/new; echo 2 > /root/more", "opaque:0")
    daemon.call("POST", f"/commit?container={container}&repo=opaque&tag=1", {})
    saved = tarfile.open(fileobj=io.BytesIO(daemon.call("GET", "/images/opaque:1/get")))
    manifest = saved.extractfile("manifest.json")
    assert manifest is not None
    layer = saved.extractfile(json.loads(manifest.read())[0]["Layers"][-1])
    assert layer is not None
    with tarfile.open(fileobj=io.BytesIO(layer.read())) as tar:
        names = tar.getnames()
    assert names == ["d", "d/.wh..wh..opq", "d/new", "root", "root/more"]
    _, out = ran(daemon, "ls /d; cat /root/more", "opaque:1")
    assert out.split() == ["new", "2"]


def test_copies_volumes_and_image_mounts(daemon: Daemon) -> None:
    mounts = [{"Type": "image", "Source": "box:latest", "Target": "/img"}]
    host = {"Mounts": mounts}
    container, out = ran(
        daemon, "ls /img/bin/sh; ls /v; pwd", Volumes={"/v": {}}, WorkingDir="/made/here", HostConfig=host
    )
    assert out.split() == ["/img/bin/sh", "/made/here"]
    other = daemon.create(["true"], Volumes={"/etc": {}})
    copied = daemon.call("GET", f"/containers/{other}/archive?path=/etc/passwd")
    assert tarfile.open(fileobj=io.BytesIO(copied)).getnames() == ["passwd"]
    data = Tar().add("sent", "here").bytes()
    daemon.call("PUT", f"/containers/{container}/archive?path=/", data=data)
    found = daemon.call("GET", f"/containers/{container}/archive?path=/sent")
    assert tarfile.open(fileobj=io.BytesIO(found)).getnames() == ["sent"]


def test_containers_do_not_share_and_leave_nothing(daemon: Daemon) -> None:
    one, _ = ran(daemon, "echo one > /etc/passwd")
    two, out = ran(daemon, "head -c 4 /etc/passwd")
    assert out == "root"
    daemon.call("DELETE", f"/containers/{one}")
    daemon.call("DELETE", f"/containers/{two}")
    left = {path.name for path in (daemon.data_root / "compatd/rw").iterdir()}
    assert not left & {one, two}


@pytest.mark.parametrize(("first", "second"), [("overlay2", "vfs"), ("vfs", "overlay2")])
def test_another_driver_keeps_images_and_containers(first: str, second: str) -> None:
    with running_daemon("--storage-driver", first) as daemon:
        daemon.image()
        old, _ = ran(daemon, "echo old > /mark")
        daemon.stop()
        daemon.options = ("--storage-driver", second)
        daemon.start()
        assert daemon.call("GET", "/info")["Driver"] == second
        assert [image["RepoTags"] for image in daemon.call("GET", "/images/json")] == [["box:latest"]]
        assert "/mark" in json.dumps(daemon.call("GET", f"/containers/{old}/changes"))
        new, out = ran(daemon, "echo new")
        assert out == "new\n"
        daemon.call("POST", f"/containers/{old}/start")
        daemon.call("POST", f"/containers/{old}/wait")
        for container in (old, new):
            daemon.call("DELETE", f"/containers/{container}")
        with pytest.raises(ApiError):
            daemon.call("GET", f"/containers/{old}/json")


OVER_OVERLAY = """
cd "$0" && mkdir -p below above work data
mount -t overlay overlay -o lowerdir=below,upperdir=above,workdir=work data
exec "$@"
"""
"""Runs a daemon in a mount namespace of its own whose data root is an overlay: that can hold no other one."""


@pytest.fixture
def without_overlay() -> Iterator[Daemon]:
    """A daemon, not started yet, whose data root cannot be used by overlay2."""
    daemon = Daemon(Path(tempfile.mkdtemp(prefix="compatd-it-")))
    daemon.prefix = [
        "unshare",
        "--mount",
        "--propagation",
        "slave",
        "sh",
        "-ec",
        OVER_OVERLAY,
        str(daemon.folder),
    ]
    try:
        yield daemon
    finally:
        daemon.destroy()


def test_where_overlay_cannot_be_mounted_it_is_vfs(without_overlay: Daemon) -> None:
    daemon = without_overlay
    daemon.start()
    assert daemon.call("GET", "/info")["Driver"] == "vfs"
    log = daemon.log.read_text()
    assert 'level=error msg="failed to mount overlay: invalid argument" storage-driver=overlay2' in log
    assert 'level=warning msg="using the storage driver vfs' in log
    daemon.image()
    container, out = ran(daemon, "echo 1 > /new; cat /new")
    assert out == "1\n"
    assert daemon.call("GET", f"/containers/{container}/changes") == [{"Path": "/new", "Kind": 1}]
    assert daemon.stop() == 0
    (daemon.folder / "above/compatd/rw" / ("a" * 64) / "diff").mkdir(parents=True)
    with pytest.raises(AssertionError, match="error initializing graphdriver: driver not supported\n"):
        daemon.start()  # a container made with overlay2 would be lost
    assert (
        "[graphdriver] prior storage driver overlay2 failed: driver not supported" in daemon.log.read_text()
    )


def test_a_driver_that_was_asked_for_is_not_replaced(without_overlay: Daemon) -> None:
    without_overlay.options = ("--storage-driver", "overlay2")
    with pytest.raises(
        AssertionError, match="error initializing graphdriver: driver not supported: overlay2"
    ):
        without_overlay.start()

"""Hostile requests, volumes and names: what a client sends never becomes a path or a setting of the host."""

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from runtime.init.errors import InitError
from runtime.init.options import WITHIN
from runtime.init.sysctls import check
from runtime.shim import worker
from tests.integration.daemon import ApiError, Daemon, UnixConnection, busybox_tar, running_daemon, wait_until
from tests.integration.initkit import Box, box

__all__ = ["box"]
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


def request(daemon: Daemon, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = UnixConnection(daemon.socket)
    try:
        connection.request(method, target, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def refused(daemon: Daemon, **fields: Any) -> str:
    """The error of creating or starting a container so; it is removed."""
    try:
        container = daemon.create(["true"], **fields)
    except ApiError as error:
        return str(error)
    try:
        daemon.call("POST", f"/containers/{container}/start")
    except ApiError as error:
        return str(error)
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")
    return ""


def held(daemon: Daemon) -> dict[str, Any]:
    """What containers hold of the machine, but for processes that are about to end."""
    return {name: value for name, value in daemon.census().items() if name != "processes"}


def settled(daemon: Daemon) -> dict[str, Any]:
    """`held` when no container is left; the kernel removes links of its own accord, a little later."""
    wait_until(lambda: not any(name.startswith("veth") for name in daemon.links()), "the links removed")
    return held(daemon)


def test_cve_2021_41091_modes_of_what_is_ours(daemon: Daemon) -> None:
    container = daemon.run(["sleep", "1000"], Env=["SECRET=1"])
    bundle = daemon.exec_root / "compatd/c" / container
    expected = {
        Path(daemon.socket): 0o660,
        daemon.data_root: 0o711,
        daemon.data_root / "compatd": 0o711,
        daemon.data_root / "compatd/layers": 0o710,
        daemon.data_root / "compatd/rw": 0o710,
        daemon.data_root / "compatd/rw" / container: 0o710,
        daemon.data_root / "compatd/blobs": 0o710,
        daemon.data_root / "compatd/state.db": 0o600,
        daemon.data_root / "containers": 0o710,
        daemon.data_root / "containers" / container: 0o710,
        daemon.data_root / "containers" / container / f"{container}-json.log": 0o640,
        daemon.data_root / "volumes": 0o711,
        daemon.exec_root: 0o711,
        bundle: 0o700,
        bundle / "shim.sock": 0o600,
        daemon.exec_root / "compatd/zygote.log": 0o600,
    }
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in expected}
    assert {str(path): oct(mode) for path, mode in found.items()} == {
        str(path): oct(mode) for path, mode in expected.items()
    }
    daemon.call("DELETE", f"/containers/{container}?force=1")


@pytest.mark.parametrize(
    "name", ["../x", "a/../../b", "..", "/etc", "x\n", "x\0y", "\u00e9\u00e9", "a" * 3 + "/"]
)
def test_names_are_no_paths(daemon: Daemon, name: str) -> None:
    before = settled(daemon)
    with pytest.raises(ApiError, match=r"invalid characters|Invalid"):
        daemon.call("POST", "/volumes/create", {"Name": name})
    body = {"Image": "box:latest", "Cmd": ["true"]}
    with pytest.raises(ApiError, match="Invalid container name"):
        daemon.call("POST", f"/containers/create?name={quote('/' + name, safe='')}", body)
    with pytest.raises(ApiError):
        daemon.create(["true"], HostConfig={"Mounts": [{"Type": "volume", "Source": name, "Target": "/x"}]})
    wait_until(lambda: held(daemon) == before, "nothing made")
    assert list((daemon.data_root / "volumes").iterdir()) == []


@pytest.mark.parametrize(
    "target",
    [
        "/containers/{0}/json", "/containers/{0}/logs?stdout=1", "/exec/{0}/json", "/volumes/{0}",
        "/networks/{0}", "/images/{0}/json", "/images/{0}/get",
    ],
)  # fmt: skip
def test_references_are_no_paths(daemon: Daemon, target: str) -> None:
    for name in ("../../etc/passwd", "..", "/etc/passwd", "x\0", "%2e%2e%2f", "a" * 5000, "\u2028"):
        status, body = request(daemon, "GET", target.format(quote(name, safe="")))
        assert status in (301, 400, 404), body
        assert b"root:" not in body


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000, b'{"Labels":' + b'{"a":' * 100_000, b'{"HostConfig":{"Memory":1e400}}', b"\xff\xfe",
        b"nul", b'{"HostConfig":{"Memory":99999999999999999999999}}', b'{"Cmd":[' + b'"x",' * 100_000,
        b'{"Image":' + b"9" * 100_000 + b"}", b'{"Image":NaN}',
    ],
    ids=range(9),
)  # fmt: skip
def test_json_that_is_none_is_refused(daemon: Daemon, body: bytes) -> None:
    status, answer = request(daemon, "POST", "/containers/create", body)
    assert (status, set(json.loads(answer))) == (400, {"message"})


def test_nul_bytes_and_newlines_end_as_errors_that_leave_nothing(daemon: Daemon) -> None:
    before = settled(daemon)
    nul = "a\0b"
    for fields in (
        {"WorkingDir": f"/{nul}"},
        {"User": nul},
        {"Hostname": "h" * 65},
        {"HostConfig": {"Binds": [f"/tmp/{nul}:/x"]}},
        {"HostConfig": {"Binds": [f"/tmp:/{nul}"]}},
        {"HostConfig": {"Tmpfs": {f"/{nul}": ""}}},
        {"HostConfig": {"CgroupParent": f"/{nul}"}},
        {"HostConfig": {"NetworkMode": f"container:{nul}"}},
        {"HostConfig": {"Sysctls": {f"net.{nul}": "1"}}},
        {"HostConfig": {"Mounts": [{"Type": "bind", "Source": f"/tmp/{nul}", "Target": "/x"}]}},
        {"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": nul}}}},
    ):
        assert refused(daemon, **fields), fields
    assert refused(daemon, Hostname="a\n0.0.0.0 evil", Labels={"a": "b\n\0"}) == ""  # its own files only
    wait_until(lambda: held(daemon) == before, "all freed")


def test_a_cgroup_parent_stays_in_the_hierarchy(daemon: Daemon) -> None:
    name = daemon.name + "/evil"
    for parent in (f"/../../../../../../..{daemon.folder}/cg", f"../../../../{name}"):
        refused(daemon, HostConfig={"CgroupParent": parent})
    assert not (daemon.folder / "cg").exists()


def test_sysctls_of_the_whole_machine_are_refused(daemon: Daemon) -> None:
    pattern = (
        Path("/proc/sys/kernel/core_pattern").read_text().rstrip("\n")
    )  # what a hole would write is there
    for key in ("kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern", "vm.swappiness"):
        value = pattern if "core" in key else Path("/proc/sys/vm/swappiness").read_text().strip()
        assert "is not in a separate kernel namespace" in refused(
            daemon, HostConfig={"Sysctls": {key: value}}
        )
    host: dict[str, Any] = {"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"}
    assert "not allowed in host network namespace" in refused(daemon, HostConfig=host)
    shmmax = Path("/proc/sys/kernel/shmmax").read_text().strip()
    host = {"Sysctls": {"kernel.shmmax": shmmax}, "IpcMode": "host"}
    assert "is not allowed in the hosts ipc namespace" in refused(daemon, HostConfig=host)
    own = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "100000"}
    assert refused(daemon, HostConfig={"Sysctls": own}) == ""


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("kernel.msgmax", True), ("fs.mqueue.msg_max", True), ("net.ipv4.conf.eth0/1.forwarding", True),
        ("net/ipv4/conf/eth0.1/forwarding", True), ("kernel.domainname", True), ("kernel.hostname", False),
        ("user.max_user_namespaces", False), ("fs.suid_dumpable", False), ("net//x", False),
        ("net/./x", False), ("net.//.x", False), ("", False), ("kernel", False), ("kernel.modprobe", False),
    ],
)  # fmt: skip
def test_which_sysctls_are_a_container_s(key: str, fits: bool) -> None:
    spaces = {"mount": "", "ipc": "", "uts": "", "network": ""}
    if fits:
        check([key], spaces, None)
        return
    with pytest.raises(InitError):
        check([key], spaces, None)


def image_with(daemon: Daemon, name: str, *entries: tuple[str, bytes, str]) -> None:
    """An image of busybox with these beside (name, type, link)."""
    buffer = BytesIO(busybox_tar())
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        for path, kind, link in entries:
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname, entry.devmajor, entry.devminor, entry.mode = kind, link, 1, 5, 0o777
            archive.addfile(entry)
    daemon.call("POST", f"/images/create?fromSrc=-&repo={name}", data=buffer.getvalue())


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.REGTYPE])
def test_a_volume_over_what_is_no_folder_hangs_nothing(daemon: Daemon, kind: bytes) -> None:
    """A FIFO of the image was opened, and waited for; a device node was opened by root."""
    image_with(daemon, "special", ("data", kind, ""))
    with pytest.raises(ApiError, match="cannot mount volume over existing file, file exists"):
        daemon.create(["true"], Image="special", Volumes={"/data": {}})
    assert not daemon.call("GET", "/volumes")["Volumes"]


@pytest.mark.parametrize(
    "link", ["{0}", "../../../../../../../../../..{0}", "/proc/self/root{0}", "/proc/1/root{0}"]
)
def test_a_volume_takes_no_files_of_the_host(daemon: Daemon, link: str) -> None:
    secret = daemon.folder / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "key").write_text("secret")
    image_with(daemon, "linking", ("data", tarfile.SYMTYPE, link.format(secret)))
    try:
        container = daemon.create(["true"], Image="linking", Volumes={"/data": {}, "/data/../data/x": {}})
    except ApiError:
        return
    for point in daemon.inspect(container)["Mounts"]:
        assert list(Path(point["Source"]).iterdir()) == []
    daemon.call("DELETE", f"/containers/{container}?v=1")


def test_a_volume_that_others_change_is_filled_by_no_link(tmp_path: Path) -> None:
    """A folder that was made is a link to the host when a hard link into it is to be made."""
    from runtime.storage.copyup import Copier

    secret, image, volume = tmp_path / "secret", tmp_path / "image", tmp_path / "volume"
    for folder in (secret, image, volume, image / "d"):
        folder.mkdir()
    (secret / "file").write_text("secret")
    (image / "d/file").write_text("mine")
    (image / "z").hardlink_to(image / "d/file")
    source, target = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (image, volume))
    copier = Copier()
    copier._root = target
    copier._entry(source, target, b"d")
    (volume / "d").rename(volume / "gone")
    (volume / "d").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        copier._entry(source, target, b"z")
    assert (secret / "file").stat().st_nlink == 1


def test_a_subpath_is_mounted_by_no_link(daemon: Daemon) -> None:
    secret = daemon.folder / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "key").write_text("secret")
    volume = Path(daemon.call("POST", "/volumes/create", {"Name": "parts"})["Mountpoint"])
    (volume / "real").mkdir()
    (volume / "out").symlink_to(secret)
    (volume / "in").symlink_to("real")
    point = {"Type": "volume", "Source": "parts", "Target": "/x"}

    def mount(path: str) -> str:
        return refused(daemon, HostConfig={"Mounts": [{**point, "VolumeOptions": {"Subpath": path}}]})

    assert mount("out") != ""
    assert mount("../..") != ""
    assert mount("/etc") != ""
    assert mount("real") == mount("in") == ""
    daemon.call("DELETE", "/volumes/parts")


@pytest.mark.parametrize("part", ["part", "part/below", "folder"])
def test_a_subpath_that_becomes_a_link_after_it_was_checked(box: Box, part: str) -> None:
    volume, secret = box.base / "volume", box.base / "secret"
    for folder in (volume, secret, secret / "below", volume / "folder"):
        folder.mkdir()
    (volume / "part").symlink_to(secret)
    box.mount(volume / part, "/x", "rbind", f"{WITHIN}{volume}")
    result = box.run("echo", "mounted")
    assert (result.out == "mounted\n") == (part == "folder")
    assert ("too many levels of symbolic links" in result.error) == (part != "folder")


def test_a_volume_of_any_depth_can_be_removed(daemon: Daemon) -> None:
    volume = Path(daemon.call("POST", "/volumes/create", {"Name": "deep"})["Mountpoint"])
    fd = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    daemon.call("DELETE", "/volumes/deep")
    assert not volume.parent.exists()
    tmp = daemon.data_root / "compatd/tmp"
    wait_until(lambda: not list(tmp.glob("gone-*")), "its files removed", seconds=60)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "runtime.client.zygote:Zygote",
        "runtime.storage.untar:_times",
        "runtime.storage.untar:os.system",
        "",
    ],
)
def test_workers_run_only_what_they_are_for(name: str) -> None:
    with pytest.raises(worker.Refused):
        worker.find(name)

"""`--storage-opt size`: project quotas of xfs and ext4, on file systems made here."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.storage.quota import Quotas, project_of
from tests.integration.daemon import ApiError, Daemon
from tests.vm.machine import Machine, run

pytestmark = pytest.mark.root

MB = 1 << 20
REFUSED = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
FILE_SYSTEMS = {
    "xfs": (["mkfs.xfs", "-q"], "pquota"),
    "ext4": (["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"], "prjquota"),
}
FILL = (
    "head -c 40000000 /dev/zero >/f; echo $?; stat -c %s /f; rm /f; "
    "head -c 1000000 /dev/zero >/f && echo fits"
)


@contextlib.contextmanager
def mounted(folder: Path, kind: str, *, quotas: bool = True) -> Iterator[Path]:
    """A file system of that kind in a file."""
    make, option = FILE_SYSTEMS[kind]
    image, place = folder / f"{kind}.img", folder / kind
    with image.open("wb") as file:
        file.truncate(400 * MB)
    run(*make, str(image))
    place.mkdir()
    run("mount", "-o", f"loop,{option}" if quotas else "loop", str(image), str(place))
    try:
        yield place
    finally:
        _unmount(place)
        image.unlink()


def _unmount(place: Path) -> None:
    """Shims may hold it for a moment."""
    deadline = time.monotonic() + 120
    while run("umount", str(place), check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not place.is_mount()


@contextlib.contextmanager
def daemon_on(place: Path, *options: str) -> Iterator[Daemon]:
    """One whose data root lies there."""
    daemon = Daemon(place, *options)
    try:
        daemon.start()
        daemon.image()
        yield daemon
    except BaseException:
        print(daemon.log.read_text()[-4000:])
        raise
    finally:
        daemon.destroy()


def ended(daemon: Daemon, script: str, **host: object) -> list[str]:
    """What a script said, in a container that is kept."""
    container = daemon.run(["sh", "-c", script], HostConfig={"NetworkMode": "none", **host})
    daemon.call("POST", f"/containers/{container}/wait")
    return daemon.logs(container).decode().split()


@pytest.mark.parametrize("kind", list(FILE_SYSTEMS))
@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_a_containers_size(service: Machine, tmp_path: Path, kind: str, driver: str) -> None:
    with mounted(tmp_path, kind) as place, daemon_on(place, "--storage-driver", driver) as daemon:
        code, size, fits = ended(daemon, FILL, StorageOpt={"size": "20M"})
        assert (code, fits) == ("1", "fits")
        assert 10 * MB < int(size) <= 20 * MB
        code, size, fits = ended(daemon, FILL)
        assert (code, size, fits) == ("0", "40000000", "fits")
        container = daemon.call("GET", "/containers/json?all=1")[1]["Id"]
        assert daemon.inspect(container)["HostConfig"]["StorageOpt"] == {"size": "20M"}
        folder = daemon.data_root / "compatd/rw" / container
        limit, used = Quotas(folder.parent, []).limit_of(folder)
        assert limit == 20 * MB
        assert 1_000_000 <= used <= limit
        with pytest.raises(ApiError, match="invalid size: 'what'"):
            daemon.create(["true"], HostConfig={"StorageOpt": {"size": "what"}})


def test_all_containers_size(service: Machine, tmp_path: Path) -> None:
    """`overlay2.size`, which a container's own wins over; IDs go on after a restart of the daemon."""
    with mounted(tmp_path, "xfs") as place, daemon_on(place, "--storage-opt", "overlay2.size=20M") as daemon:
        assert ended(daemon, FILL)[0] == "1"
        assert ended(daemon, FILL, StorageOpt={"size": "100M"})[0] == "0"
        before = {project_of(folder) for folder in (daemon.data_root / "compatd/rw").iterdir()}
        assert len(before) == 2
        daemon.stop()
        daemon.start()
        quotas = Quotas(daemon.data_root / "compatd/rw", [])
        limits = {quotas.limit_of(folder)[0] for folder in (daemon.data_root / "compatd/rw").iterdir()}
        assert limits == {20 * MB, 100 * MB}
        container = daemon.create(["true"])
        assert project_of(daemon.data_root / "compatd/rw" / container) > max(before) > 0


def test_without_quotas(service: Machine, tmp_path: Path) -> None:
    with mounted(tmp_path, "xfs", quotas=False) as place:
        with daemon_on(place) as daemon:
            with pytest.raises(ApiError) as error:
                daemon.create(["true"], HostConfig={"StorageOpt": {"size": "20M"}})
            assert error.value.args == (500, REFUSED)
            command = [*_command(daemon, place), "--storage-opt", "overlay2.size=1G"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 1
        text = "Storage option overlay2.size not supported. Filesystem does not support Project Quota"
        assert f"error initializing graphdriver: {text}" in done.stderr


def _command(daemon: Daemon, place: Path) -> list[str]:
    assert daemon.process is not None
    program = str(Path(daemon.process.args[2]))  # type: ignore[index]
    other = place / "other"
    other.mkdir()
    roots = ["--data-root", f"{other}/data", "--exec-root", f"{other}/exec", "--pidfile", f"{other}/pid"]
    return ["nsenter", f"--net=/run/netns/{daemon.name}", program, "-H", f"unix://{other}/sock", *roots]

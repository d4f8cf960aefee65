"""Mounts that a container and the host show each other, on a host whose mounts are shared (as systemd's)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, wait_until
from tests.integration.test_mounts import runtime

__all__ = ["runtime"]
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(Path(tempfile.mkdtemp(prefix="compatd-it-")))
    daemon.prefix = ["unshare", "--mount", "--propagation", "shared"]
    try:
        daemon.start()
        daemon.image()
        yield daemon
    finally:
        daemon.destroy()


def seen(daemon: Daemon, what: str) -> int:
    """How many mounts of the daemon's mount namespace say so."""
    return sum(what in line for line in Path(f"/proc/{daemon.pid}/mountinfo").read_text().splitlines())


SCRIPT = "mkdir -p /m/in; mount -t tmpfs {name} /m/in && echo mounted; sleep 1000"


@pytest.mark.parametrize("propagation", ["rshared", "rslave", "rprivate"])
def test_what_a_container_mounts(daemon: Daemon, runtime: str, propagation: str, tmp_path: Path) -> None:
    name = f"inner-{runtime}-{propagation}"
    host = {
        "Binds": [f"{tmp_path}:/m:{propagation}"],
        "CapAdd": ["SYS_ADMIN"],
        "SecurityOpt": ["seccomp=unconfined"],
        "Runtime": runtime,
        "NetworkMode": "none",
    }
    container = daemon.run(["sh", "-c", SCRIPT.format(name=name)], HostConfig=host)
    wait_until(lambda: b"mounted" in daemon.logs(container), "the container's mount")
    assert seen(daemon, f" - tmpfs {name} ") == (1 if propagation == "rshared" else 0)
    # The container's own root and its files are nobody else's.
    assert seen(daemon, " - overlay ") == seen(daemon, f"/c/{container}/") == 0
    daemon.call("DELETE", f"/containers/{container}?force=1")
    assert seen(daemon, f" - tmpfs {name} ") == (1 if propagation == "rshared" else 0)
    assert seen(daemon, " - overlay ") == 0

"""The second boot: what has come back; then removal and purge."""

from pathlib import Path

import pytest

from tests.vm_deb.user import sh, state, wait_until

pytestmark = pytest.mark.root


def test_containers_are_back() -> None:
    wait_until(lambda: state() == "active", "the daemon")
    status = "docker inspect -f '{{.State.Status}}' "
    wait_until(lambda: sh(status + "always", check=False) == "running", "the container with --restart always")
    assert sh(status + "never") == "exited"
    assert (
        sh("docker run --rm -v kept:/v hello-world sh -c 'while read l; do echo $l; done </v/file'") == "data"
    )


def test_remove_keeps_the_data() -> None:
    sh("DEBIAN_FRONTEND=noninteractive apt-get remove -y compatd")
    assert state() in ("inactive", "failed", "unknown")
    assert not Path("/run/docker.sock").exists() or state("docker.socket") != "active"
    assert Path("/var/lib/docker/compatd/state.db").exists()
    assert not Path("/usr/lib/compatd").exists()
    assert not Path("/usr/lib/systemd/system/docker.service").exists()
    assert not sh("ps -eo args | grep '[c]ompatd-'", check=False)
    assert not sh("nft list tables | grep compatd", check=False)
    assert not sh("ip -o link show type bridge", check=False)


def test_purge_leaves_nothing() -> None:
    sh("DEBIAN_FRONTEND=noninteractive apt-get purge -y compatd")
    root = Path("/var/lib/docker")
    if (root / "overlay2").exists():  # docker.io has run here: what is its own stays
        assert not (root / "compatd").exists()
        assert not list((root / "containers").iterdir())
    else:
        assert not root.exists()
    for path in (
        *("/run/docker", "/run/docker.sock", "/run/docker.pid"),
        *("/etc/default/docker", "/etc/init.d/docker", "/usr/lib/compatd"),
        "/etc/systemd/system/multi-user.target.wants/docker.service",
    ):
        assert not Path(path).exists(), path
    assert "/var/lib/docker" not in Path("/proc/mounts").read_text()

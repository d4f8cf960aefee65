"""Other OCI runtimes, as daemon.json names them."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import ApiError, Daemon

pytestmark = pytest.mark.root

RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
CRUN = shutil.which("crun", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    if not RUNC:
        pytest.skip("runc is not installed")
    folder = Path(tempfile.mkdtemp(prefix="compatd-it-"))
    wrapper = folder / "noting-runc"
    wrapper.write_text(f'#!/bin/sh\necho "$*" >>{folder}/calls\nexec {RUNC} "$@"\n')
    wrapper.chmod(0o755)
    runtimes = {
        "noting": {"path": str(wrapper), "runtimeArgs": ["--debug"]},
        "by-type": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": str(wrapper)}},
        "alien": {"runtimeType": "io.containerd.alien.v1"},
        "missing": {"path": "/nonexistent/runtime"},
    }
    config = folder / "daemon.json"
    config.write_text(json.dumps({"runtimes": runtimes, "default-runtime": "runc"}))
    daemon = Daemon(folder, "--config-file", str(config))
    try:
        daemon.start()
        daemon.image()
        yield daemon
    finally:
        daemon.destroy()


def ended(daemon: Daemon, runtime: str) -> str:
    """What a container of that runtime says."""
    container = daemon.create(["echo", "hello"], HostConfig={"Runtime": runtime})
    try:
        daemon.call("POST", f"/containers/{container}/start")
        daemon.call("POST", f"/containers/{container}/wait")
        return daemon.logs(container).decode().strip()
    finally:
        daemon.call("DELETE", f"/containers/{container}?force=1")


def test_the_default_and_the_built_in_one(daemon: Daemon) -> None:
    container = daemon.create(["true"])
    assert daemon.inspect(container)["HostConfig"]["Runtime"] == "runc"
    daemon.call("DELETE", f"/containers/{container}")
    assert ended(daemon, "") == "hello"
    assert ended(daemon, "compatd") == "hello"


def test_a_runtime_with_arguments(daemon: Daemon) -> None:
    calls = daemon.folder / "calls"
    calls.unlink(missing_ok=True)
    assert ended(daemon, "noting") == "hello"
    lines = calls.read_text().splitlines()
    commands = [line.split() for line in lines if " create " in line or " start " in line]
    assert len(commands) == 2
    for words in commands:
        command = next(word for word in words if word in ("create", "start"))
        assert "--debug" in words[: words.index(command)]


def test_a_runtime_by_its_type(daemon: Daemon) -> None:
    calls = daemon.folder / "calls"
    calls.unlink(missing_ok=True)
    assert ended(daemon, "by-type") == "hello"
    assert " create " in calls.read_text()
    assert "--debug" not in calls.read_text()


def test_runtimes_that_are_not_there(daemon: Daemon) -> None:
    for name in ("nobody", "alien"):
        with pytest.raises(ApiError) as error:
            ended(daemon, name)
        assert error.value.args == (400, f"unknown or invalid runtime name: {name}")
    with pytest.raises(ApiError) as error:
        ended(daemon, "missing")
    assert "/nonexistent/runtime: no such file or directory" in error.value.args[1]


def test_cruns_own_words_arrive(daemon: Daemon) -> None:
    """crun 1.8 refuses cgroups in hybrid mode: it says so, without runc's name."""
    if not CRUN:
        pytest.skip("crun is not installed")
    try:
        assert ended(daemon, "crun") == "hello"
    except ApiError as error:
        text = error.args[1]
        assert "cgroups in hybrid mode not supported" in text
        assert "runc" not in text


@pytest.fixture(scope="module")
def pure() -> Iterator[Daemon]:
    """A daemon that sees no cgroup v2 hierarchy beside v1's, with crun for all."""
    if not CRUN:
        pytest.skip("crun is not installed")
    daemon = Daemon(Path(tempfile.mkdtemp(prefix="compatd-it-")), "--default-runtime", "crun")
    script = 'if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec "$@"'
    daemon.prefix = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh"]
    try:
        daemon.start()
        daemon.image()
        yield daemon
    finally:
        daemon.destroy()


def test_crun(pure: Daemon) -> None:
    assert ended(pure, "") == "hello"
    before = pure.at_rest()
    container = pure.run(["sleep", "1000"], HostConfig={"Memory": 64 << 20, "PidsLimit": 9})
    pid = pure.inspect(container)["State"]["Pid"]
    assert container in Path(f"/proc/{pid}/cgroup").read_text()
    pure.call("POST", f"/containers/{container}/pause")
    assert pure.inspect(container)["State"]["Status"] == "paused"
    pure.call("DELETE", f"/containers/{container}?force=1")
    assert pure.at_rest() == before


def test_the_hosts_network_is_named_by_its_path(pure: Daemon) -> None:
    """As dockerd names it: crun then takes sysctls for it, which it refuses without."""
    host = {"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_default_ttl": "77"}}
    container = pure.run(["cat", "/proc/sys/net/ipv4/ip_default_ttl"], HostConfig=host)
    try:
        pure.call("POST", f"/containers/{container}/wait")
        assert pure.logs(container) == b"77\n"
    finally:
        pure.call("DELETE", f"/containers/{container}?force=1")

"""The units of the .deb under a systemd that is pid 1 of its own namespaces."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon, wait_until
from tests.integration.systemdkit import CGROUPS, Booted, a_machine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def booted() -> Iterator[Booted]:
    with a_machine() as machine:
        machine.boot()
        yield machine


@pytest.fixture(autouse=True)
def _no_start_limit(request: pytest.FixtureRequest) -> None:
    """Quick tests must not count as a service that starts too often (StartLimitBurst)."""
    if "booted" in request.fixturenames:
        request.getfixturevalue("booted").sh("systemctl reset-failed docker.service", check=False)


def main_pid(machine: Booted) -> int:
    return int(machine.property("MainPID"))


def state(machine: Booted) -> str:
    return machine.sh("systemctl is-active docker.service", check=False)


def test_the_socket_starts_the_daemon(booted: Booted) -> None:
    assert state(booted) == "inactive"
    assert booted.sh("stat -c %a:%U:%G /run/docker.sock") == "660:root:docker"
    assert booted.api("/_ping") == "OK"
    # Type=notify: it is active by its own word only
    wait_until(lambda: state(booted) == "active", "the service")
    assert booted.property("Type") == "notify"
    assert main_pid(booted) > 0


def test_the_journal_has_fields(booted: Booted) -> None:
    booted.api("/_ping")
    wait_until(lambda: booted.said("Daemon has completed initialization"), "the journal")
    entry = next(e for e in booted.journal() if "completed initialization" in str(e["MESSAGE"]))
    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == "dockerd"
    assert entry["DOCKERD_MESSAGE"] == "Daemon has completed initialization"
    assert (entry["CODE_FILE"].endswith("app.py"), entry["CODE_FUNC"]) == (True, "_answer")
    assert entry["CODE_LINE"].isdigit()
    assert entry["_SYSTEMD_UNIT"] == "docker.service"


def test_reload(booted: Booted) -> None:
    booted.api("/_ping")
    before = main_pid(booted)
    booted.configure({"labels": ["colour=blue"]})
    booted.sh("systemctl reload docker")
    wait_until(lambda: booted.said("Reloaded configuration"), "the reload")
    assert json.loads(booted.api("/info"))["Labels"] == ["colour=blue"]
    assert (main_pid(booted), state(booted)) == (before, "active")


def test_a_killed_daemon_comes_back_and_its_container_lives_on(booted: Booted) -> None:
    booted.image()
    body = json.dumps({"Image": "box", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "none"}})
    (booted.folder / "body.json").write_text(body)
    header = "-H 'Content-Type: application/json'"
    made = json.loads(booted.api("/containers/create", "-X POST", header, f"-d @{booted.folder}/body.json"))
    name = made["Id"]
    assert booted.api(f"/containers/{name}/start", "-X POST") == ""
    inside = json.loads(booted.api(f"/containers/{name}/json"))["State"]["Pid"]
    before = main_pid(booted)
    booted.sh(f"kill -KILL {before}")
    # Restart=always, and KillMode=process: only the daemon is gone
    wait_until(lambda: main_pid(booted) not in (0, before) and state(booted) == "active", "the restart")
    assert json.loads(booted.api(f"/containers/{name}/json"))["State"]["Pid"] == inside
    booted.api(f"/containers/{name}?force=1", "-X DELETE")


def test_restart_and_stop(booted: Booted) -> None:
    booted.api("/_ping")
    before = main_pid(booted)
    booted.sh("systemctl restart docker")
    assert main_pid(booted) not in (0, before)
    assert booted.api("/_ping") == "OK"
    booted.sh("systemctl stop docker")
    assert state(booted) == "inactive"
    assert booted.property("Result") == "success"
    assert booted.sh("systemctl is-active docker.socket") == "active"
    assert booted.api("/_ping") == "OK"


def test_idle_exit_and_the_watchdog() -> None:
    with a_machine() as machine:
        machine.configure({"idle-exit": 1})
        machine.drop_in("[Service]\nWatchdogSec=10\nTimeoutAbortSec=2\nLimitCORE=0\n")
        machine.boot()
        # More often than StartLimitBurst: these are no starts that fail.
        for _ in range(4):
            assert machine.api("/_ping") == "OK"  # the socket wakes it
            wait_until(lambda: state(machine) == "inactive", "leaving when idle")
            assert machine.property("ExecMainStatus") == "80"
            assert machine.sh("systemctl is-active docker.socket") == "active"
        assert machine.api("/_ping") == "OK"
        machine.configure({})
        machine.sh("systemctl restart docker")
        before = main_pid(machine)
        machine.sh(f"kill -STOP {before}")  # it hangs so that no SIGABRT comes through
        wait_until(lambda: main_pid(machine) not in (0, before), "the watchdog")
        assert machine.property("NRestarts") == "1"
        assert machine.api("/_ping") == "OK"


def test_nothing_is_left(tmp_path: Path) -> None:
    with a_machine() as machine:
        machine.boot()
        machine.api("/_ping")
        folder, name, pid = machine.folder, machine.name, machine.pid
    assert not folder.exists()
    assert not (CGROUPS / name).exists()
    assert not Path(f"/proc/{pid}").exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def ours() -> Iterator[Daemon]:
    with running_daemon() as started:
        yield started


def test_systemd_socket_activate(ours: Daemon) -> None:
    """systemd's own program for trying sockets out: another one than pid 1, without Type=notify."""
    assert ours.stop() == 0
    activate = ["systemd-socket-activate", f"--listen={ours.socket}"]
    with ours.log.open("ab") as log:
        ours.process = subprocess.Popen(
            [*activate, *ours.command("fd://")], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    wait_until(lambda: Path(ours.socket).exists(), "the socket")
    assert ours.call("GET", "/_ping") == b"OK"
    assert ours.process.poll() is None
    ours.process.send_signal(signal.SIGTERM)
    assert ours.process.wait(120) == 0

"""Containers over the end of their daemon, orderly and not: live-restore, health checks, restart policies."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.daemon import Daemon, UnixConnection, running_daemon, wait_until
from tests.integration.loadkit import NO_NETWORK

pytestmark = pytest.mark.root

LINES = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done"
SECOND = 1_000_000_000


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """One that reads its options from a file, which is `{}` at first."""
    with running_daemon(config={}) as daemon:
        daemon.image()
        yield daemon


def configure(folder: Path, **options: Any) -> None:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    (folder / "daemon.json").write_text(json.dumps(named))


def restart(daemon: Daemon, how: str) -> None:
    """End the daemon by `stop` or `kill`, and start it."""
    if how == "stop":
        assert daemon.stop() == 0
    else:
        daemon.kill()
    daemon.start()


def state(daemon: Daemon, container: str) -> Any:
    return daemon.inspect(container)["State"]


def policy(name: str, most: int = 0) -> dict[str, Any]:
    return {**NO_NETWORK, "RestartPolicy": {"Name": name, "MaximumRetryCount": most}}


def events(daemon: Daemon, container: str, since: float) -> list[str]:
    """The container's actions from a moment on; a daemon remembers those of its own life."""
    filters = quote(json.dumps({"container": [container], "type": ["container"]}))
    connection = UnixConnection(daemon.socket)
    try:
        connection.request("GET", f"/events?since={since:.9f}&until={time.time():.9f}&filters={filters}")
        lines = connection.getresponse().read().splitlines()
    finally:
        connection.close()
    return [json.loads(line)["Action"] for line in lines]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_live_restore(daemon: Daemon, how: str) -> None:
    configure(daemon.folder, live_restore=True)
    restart(daemon, "stop")
    assert daemon.call("GET", "/info")["LiveRestoreEnabled"] is True
    lines = daemon.run(["sh", "-c", LINES], HostConfig=NO_NETWORK)
    paused = daemon.run(["sleep", "10000"], HostConfig=NO_NETWORK)
    daemon.call("POST", f"/containers/{paused}/pause")
    ends = daemon.run(["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 9"], HostConfig=NO_NETWORK)
    before = {container: daemon.inspect(container) for container in (lines, paused, ends)}
    (daemon.stop if how == "stop" else daemon.kill)()
    assert all(Path(f"/proc/{one['State']['Pid']}").exists() for one in before.values())
    Path(f"/proc/{before[ends]['State']['Pid']}/root/go").touch()
    wait_until(lambda: not Path(f"/proc/{before[ends]['State']['Pid']}").exists(), "the end of one")
    daemon.start()
    for container in (lines, paused):
        found = daemon.inspect(container)
        assert found["State"]["Pid"] == before[container]["State"]["Pid"]
        assert found["State"]["StartedAt"] == before[container]["State"]["StartedAt"]
    assert (state(daemon, lines)["Status"], state(daemon, paused)["Status"]) == ("running", "paused")
    assert (state(daemon, ends)["Status"], state(daemon, ends)["ExitCode"]) == ("exited", 9)
    count = len(daemon.logs(lines).splitlines())
    wait_until(lambda: len(daemon.logs(lines).splitlines()) > count, "more lines")
    found_lines = daemon.logs(lines).decode().splitlines()
    assert found_lines == [f"line {number}" for number in range(len(found_lines))]
    daemon.call("POST", f"/containers/{paused}/unpause")
    daemon.call("POST", f"/containers/{lines}/stop?t=0")
    assert state(daemon, lines)["ExitCode"] == 137


def test_without_live_restore_an_orderly_stop_ends_all(daemon: Daemon) -> None:
    """Also what is paused, and what does not listen; each with the end that it chooses."""
    trap = ["sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.05; done"]
    listens = daemon.run(trap, HostConfig=NO_NETWORK)
    paused = daemon.run(trap, HostConfig=NO_NETWORK)
    daemon.call("POST", f"/containers/{paused}/pause")
    deaf = daemon.run(["sleep", "10000"], HostConfig=NO_NETWORK, StopTimeout=1)
    pids = [state(daemon, container)["Pid"] for container in (listens, paused, deaf)]
    restart(daemon, "stop")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    found = [state(daemon, container) for container in (listens, paused, deaf)]
    assert [one["Status"] for one in found] == ["exited"] * 3
    assert [one["ExitCode"] for one in found] == [6, 6, 137]


def test_live_restore_is_reloaded(daemon: Daemon) -> None:
    """SIGHUP, as with dockerd: the next orderly stop leaves containers alone."""
    container = daemon.run(["sleep", "10000"], HostConfig=NO_NETWORK)
    configure(daemon.folder, live_restore=True)
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: daemon.call("GET", "/info")["LiveRestoreEnabled"], "the new option")
    pid = state(daemon, container)["Pid"]
    restart(daemon, "stop")
    assert (state(daemon, container)["Running"], state(daemon, container)["Pid"]) == (True, pid)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_health_checks_go_on(daemon: Daemon, how: str) -> None:
    configure(daemon.folder, live_restore=True)
    restart(daemon, "stop")
    check = {"Test": ["CMD-SHELL", "test ! -e /ill"], "Interval": SECOND // 5, "Retries": 2}
    container = daemon.run(["sleep", "10000"], HostConfig=NO_NETWORK, Healthcheck=check)

    def health() -> Any:
        return state(daemon, container)["Health"]

    wait_until(lambda: health()["Status"] == "healthy", "the first probe")
    last = health()["Log"][-1]["Start"]
    restart(daemon, how)
    since = time.time() - 60
    wait_until(lambda: health()["Status"] == "healthy" and health()["Log"][-1]["Start"] > last, "a probe")
    Path(f"/proc/{state(daemon, container)['Pid']}/root/ill").touch()
    wait_until(lambda: health()["Status"] == "unhealthy", "probes that fail")
    assert health()["FailingStreak"] >= 2
    told = [one for one in events(daemon, container, since) if one.startswith("health_status")]
    assert told[-2:] == ["health_status: healthy", "health_status: unhealthy"]


def test_what_ended_while_no_daemon_ran_is_started_by_its_policy(daemon: Daemon) -> None:
    command = ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 3"]
    names = ("no", "always", "unless-stopped", "on-failure")
    containers = {name: daemon.run(command, HostConfig=policy(name)) for name in names}
    pids = {name: state(daemon, container)["Pid"] for name, container in containers.items()}
    daemon.kill()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for pid in pids.values():
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "the end")  # type: ignore[misc]
    daemon.start()
    for name in names[1:]:
        wait_until(lambda name=name: state(daemon, containers[name])["Running"], name)  # type: ignore[misc]
        assert state(daemon, containers[name])["Pid"] != pids[name]
    assert (state(daemon, containers["no"])["Status"], state(daemon, containers["no"])["ExitCode"]) == (
        "exited",
        137,
    )


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_was_stopped_by_hand(daemon: Daemon, how: str) -> None:
    """`always` comes back with the daemon; `unless-stopped` and `on-failure` after code 0 do not."""
    trap = ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"]
    containers = {
        name: daemon.run(trap, HostConfig=policy(name)) for name in ("always", "unless-stopped", "on-failure")
    }
    for container in containers.values():
        wait_until(lambda one=container: daemon.logs(one), "the trap")  # type: ignore[misc]
        daemon.call("POST", f"/containers/{container}/stop?t=60")
        assert state(daemon, container)["Status"] == "exited"
    restart(daemon, how)
    wait_until(lambda: state(daemon, containers["always"])["Running"], "`always`")
    for name in ("unless-stopped", "on-failure"):
        assert state(daemon, containers[name])["Status"] == "exited"


def test_tries_are_counted_over_a_killed_daemon(daemon: Daemon) -> None:
    """Of three tries one is used up before: two are left, and the pauses begin anew."""
    script = 'n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n >/n; while [ ! -e /go$n ]; do sleep 0.02; done; exit 4'  # noqa: E501 # fmt: skip
    container = daemon.run(["sh", "-c", script], HostConfig=policy("on-failure", 3))

    def let_go(number: int) -> None:
        def runs() -> int:
            found = daemon.inspect(container)
            ready = found["State"]["Status"] == "running" and found["RestartCount"] == number - 1
            return int(found["State"]["Pid"]) if ready else 0

        pid = wait_until(runs, f"run {number}")
        Path(f"/proc/{pid}/root/go{number}").touch()

    let_go(1)
    wait_until(lambda: daemon.inspect(container)["RestartCount"] == 1, "the first restart")
    wait_until(lambda: state(daemon, container)["Status"] == "running", "the second run")
    daemon.kill()
    daemon.start()
    assert daemon.inspect(container)["RestartCount"] == 1
    for number in (2, 3, 4):
        let_go(number)
    wait_until(lambda: state(daemon, container)["Status"] == "exited", "the end of all tries")
    found = daemon.inspect(container)
    assert (found["RestartCount"], found["State"]["ExitCode"]) == (3, 4)
    restart(daemon, "stop")
    assert state(daemon, container)["Status"] == "exited"


def test_one_that_waits_for_its_next_start(daemon: Daemon) -> None:
    """A daemon that is killed meanwhile: the next starts it, with no tries counted (as in dockerd)."""
    script = "n=$(cat /n 2>/dev/null || echo 0); echo $((n+1)) >/n; [ -e /stay ] && exec sleep 10000; exit 1"
    container = daemon.run(["sh", "-c", script], HostConfig=policy("always"))

    def waits() -> bool:
        found = daemon.inspect(container)
        return found["State"]["Status"] == "restarting" and found["RestartCount"] >= 6

    old = daemon.call("GET", f"/v1.45/containers/{container}/json")
    upper = Path(old["GraphDriver"]["Data"]["UpperDir"])
    wait_until(waits, "a pause of some seconds")
    daemon.kill()
    (upper / "stay").touch()
    daemon.start()
    wait_until(lambda: state(daemon, container)["Status"] == "running", "its start")
    assert daemon.inspect(container)["RestartCount"] == 0

"""What a killed daemon, a killed shim and a vanished client leave: nothing lost, nothing leaked."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import ApiError, Daemon, UnixConnection, running_daemon, wait_until

pytestmark = pytest.mark.root

LOOP = ["sh", "-c", "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.05; done"]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        daemon.image()
        yield daemon


def _shim_pid(container: str) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if b"shim" in words and container.encode() in words:
                    return int(entry.name)
    raise AssertionError("no shim found")


def test_killed_daemon_finds_all_its_containers_again(daemon: Daemon) -> None:
    before = daemon.census()
    ports = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}}}
    containers = [daemon.run(LOOP, f"loop{number}", **ports) for number in range(10)]
    pids = {container: daemon.inspect(container)["State"]["Pid"] for container in containers}
    published = {c: daemon.inspect(c)["NetworkSettings"]["Ports"] for c in containers}
    stop = threading.Event()
    created: list[str] = []

    def keep_creating() -> None:
        while not stop.is_set():
            with contextlib.suppress(Exception):
                created.append(daemon.create(["sleep", "1000"]))

    maker = threading.Thread(target=keep_creating)
    maker.start()
    wait_until(lambda: created, "the first creation")
    daemon.kill()
    stop.set()
    maker.join()
    os.kill(pids[containers[3]], signal.SIGKILL)  # one ends while no daemon looks
    daemon.start()

    for container in containers:
        document = daemon.inspect(container)
        if container == containers[3]:
            wait_until(lambda: not daemon.inspect(containers[3])["State"]["Running"], "the dead one's state")
            assert daemon.inspect(container)["State"]["ExitCode"] == 137
            continue
        assert document["State"]["Running"], document["State"]
        assert document["State"]["Pid"] == pids[container]
        assert document["NetworkSettings"]["Ports"] == published[container]
        lines = daemon.logs(container).split()[1::2]
        assert lines == [str(number).encode() for number in range(len(lines))], "a line was lost"
    known = {c["Id"] for c in daemon.call("GET", "/containers/json?all=1")}
    assert set(created) <= known, "an acknowledged container was lost"
    assert len(known - set(containers) - set(created)) <= 1
    for container in known:
        daemon.inspect(container)
        daemon.call("DELETE", f"/containers/{container}?force=1")
    _settles(daemon, before)


def _settles(daemon: Daemon, before: dict[str, Any]) -> None:
    """The census comes back to what it was; the daemon's own process IDs may have changed."""

    def rest() -> dict[str, Any]:
        now = daemon.census()
        return {k: (now[k], before[k]) for k in now if k != "processes" and now[k] != before[k]}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not rest(), "everything freed", seconds=10)
    assert rest() == {}
    wait_until(lambda: len(daemon.processes()) <= len(before["processes"]), "all processes gone")


def test_daemon_killed_between_start_and_answer(daemon: Daemon) -> None:
    before = daemon.census()
    for _ in range(5):
        container = daemon.create(["sleep", "1000"])
        connection = UnixConnection(daemon.socket)
        connection.request("POST", f"/containers/{container}/start")
        daemon.kill()
        connection.close()
        daemon.start()
        state = daemon.inspect(container)["State"]
        assert state["Status"] in ("running", "created", "exited")
        if state["Running"]:
            assert Path(f"/proc/{state['Pid']}").exists()
        daemon.call("DELETE", f"/containers/{container}?force=1")
    _settles(daemon, before)


def test_killed_shim_is_a_dead_container(daemon: Daemon) -> None:
    before = daemon.census()
    container = daemon.run(["sleep", "1000"])
    pid = daemon.inspect(container)["State"]["Pid"]
    os.kill(_shim_pid(container), signal.SIGKILL)
    wait_until(lambda: not daemon.inspect(container)["State"]["Running"], "the container's end")
    state = daemon.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    wait_until(lambda: _dead(pid), "the process's end")
    daemon.call("POST", f"/containers/{container}/start")
    assert daemon.inspect(container)["State"]["Running"]
    daemon.call("DELETE", f"/containers/{container}?force=1")
    _settles(daemon, before)


def _dead(pid: int) -> bool:
    """Gone, or waiting for the machine's init to collect it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_shim_killed_while_no_daemon_runs(daemon: Daemon) -> None:
    before = daemon.census()
    container = daemon.run(["sleep", "1000"])
    shim = _shim_pid(container)
    daemon.kill()
    os.kill(shim, signal.SIGKILL)
    daemon.start()
    state = daemon.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    daemon.call("DELETE", f"/containers/{container}?force=1")
    _settles(daemon, before)


def test_killed_zygote_is_replaced(daemon: Daemon) -> None:
    daemon.run(["sleep", "1000"], "first")
    zygotes = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _parent(entry) == daemon.pid
    ]
    assert zygotes
    for pid in zygotes:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _starts(daemon), "a start after the zygote's end")
    assert daemon.inspect("first")["State"]["Running"]


def _parent(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _starts(daemon: Daemon) -> bool:
    try:
        daemon.run(["sleep", "1000"])
    except ApiError:
        return False
    return True


def test_a_run_leaves_nothing(daemon: Daemon) -> None:
    """Run, exec, attach and failures, many times; then everything is as before, open files too."""
    daemon.call("DELETE", f"/containers/{daemon.run(['true'])}?force=1")  # the first makes what stays
    before, files = daemon.at_rest(), daemon.descriptors()
    for number in range(8):
        container = daemon.run(["sleep", "1000"], HostConfig={"PortBindings": {"80/tcp": [{"HostPort": ""}]}})
        made = daemon.call("POST", f"/containers/{container}/exec", {"Cmd": ["true"], "AttachStdout": True})
        daemon.call("POST", f"/exec/{made['Id']}/start", {"Detach": number % 2 == 0})
        failing = daemon.create(["/does/not/exist"])
        with pytest.raises(ApiError, match="no such file or directory"):
            daemon.call("POST", f"/containers/{failing}/start")
        daemon.call("DELETE", f"/containers/{failing}")
        daemon.call("DELETE", f"/containers/{container}?force=1")
    _settles(daemon, before)
    wait_until(lambda: daemon.descriptors() <= files + 2, "the daemon's files closed")


def test_vanished_clients_leave_nothing(daemon: Daemon) -> None:
    container = daemon.run(LOOP)
    paths = [
        f"/containers/{container}/logs?stdout=1&follow=1",
        "/events",
        f"POST /containers/{container}/wait",
        f"POST /containers/{container}/attach?stream=1&stdout=1",
    ]
    files = daemon.descriptors()
    for number in range(100):
        path = paths[number % len(paths)]
        method, _, rest = path.rpartition(" ")
        connection = UnixConnection(daemon.socket)
        connection.request(method or "GET", rest, headers={"Connection": "Upgrade", "Upgrade": "tcp"})
        assert connection.sock is not None
        connection.sock.close()
    wait_until(lambda: daemon.descriptors() <= files + 2, "the clients' files closed", seconds=30)
    assert daemon.call("GET", "/_ping") == b"OK"


def test_orderly_stop_ends_containers_and_keeps_their_state(daemon: Daemon) -> None:
    container = daemon.run(["sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.1; done"])
    again = daemon.run(["sleep", "1000"], HostConfig={"RestartPolicy": {"Name": "always"}})
    assert daemon.stop() == 0
    assert [group for group in daemon.cgroups() if container in group or again in group] == []
    daemon.start()
    state = daemon.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    wait_until(lambda: daemon.inspect(again)["State"]["Running"], "the restart of `always`")

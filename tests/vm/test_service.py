"""compatd as a systemd service: restarts, killed parts, inherited sockets, the network."""

import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.vm.machine import CGROUPS, PATIENCE, UNIT, Machine, run, shim_of, wait_until

pytestmark = pytest.mark.root


def test_a_published_port(machine: Machine) -> None:
    command = ("box", "httpd", "-f", "-p", "80", "-h", "/etc")
    name = machine.background("-p", "127.0.0.1::80", "-p", "8099:80", *command)
    port = machine.docker("port", name, "80/tcp").stdout.splitlines()[0].rpartition(":")[2]
    address = machine.inspect(name)["NetworkSettings"]["IPAddress"]
    assert address.startswith("172.17.")
    for where in (f"127.0.0.1:{port}", "127.0.0.1:8099", f"{address}:80"):
        wait_until(lambda where=where: _fetch(where), f"an answer of {where}")  # type: ignore[misc]


def _fetch(where: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{where}/passwd", timeout=60) as answer:
            return b"root:x:0:0" in answer.read()
    except OSError:
        return False


def test_containers_reach_each_other(machine: Machine) -> None:
    name = machine.background("box", "httpd", "-f", "-p", "80", "-h", "/etc")
    address = machine.inspect(name)["NetworkSettings"]["IPAddress"]
    script = f"for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://{address}/passwd && break; sleep 1; done"
    assert "root:x:0:0" in machine.sh(script)


def test_stop(machine: Machine) -> None:
    name = machine.background("box", "sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
    wait_until(lambda: machine.docker("logs", name).stdout == "up\n", "the trap")
    folder = machine.cgroup(name)
    machine.docker("stop", "-t", "200", name)
    assert machine.inspect(name)["State"]["ExitCode"] == 3
    assert not folder.exists()
    machine.docker("start", name)
    assert machine.cgroup(name) == folder
    machine.docker("kill", name)
    wait_until(lambda: machine.inspect(name)["State"]["ExitCode"] == 137, "the end")


def test_a_killed_shim(machine: Machine) -> None:
    name = machine.background("box", "sh", "-c", "sleep 1000 & sleep 1000")
    folder, pid = machine.cgroup(name), machine.inspect(name)["State"]["Pid"]
    os.kill(shim_of(name), signal.SIGKILL)
    wait_until(lambda: machine.inspect(name)["State"]["Status"] == "exited", "the container's end")
    assert machine.inspect(name)["State"]["ExitCode"] == 137
    wait_until(lambda: not folder.exists() and not Path(f"/proc/{pid}").exists(), "its group's end")


def test_containers_outlive_a_killed_daemon(machine: Machine) -> None:
    loop = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"
    names = [machine.background("box", "sh", "-c", loop) for _ in range(3)]
    pids = [machine.inspect(name)["State"]["Pid"] for name in names]
    machine.docker("pause", names[2])
    run("systemctl", "kill", "-s", "KILL", "--kill-who=main", UNIT)
    wait_until(lambda: run("systemctl", "is-active", UNIT, check=False).stdout != "active\n", "its end")
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    os.kill(pids[1], signal.SIGKILL)
    run("systemctl", "reset-failed", UNIT, check=False)
    run("systemctl", "start", UNIT)
    machine.await_answer()
    states = [machine.inspect(name)["State"] for name in names]
    assert [state["Status"] for state in states] == ["running", "exited", "paused"]
    assert [states[0]["Pid"], states[2]["Pid"]] == [pids[0], pids[2]]
    assert states[1]["ExitCode"] == 137
    lines = machine.docker("logs", names[0]).stdout.splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert machine.docker("exec", names[0], "echo", "hello").stdout == "hello\n"
    machine.docker("unpause", names[2])


def test_an_orderly_restart(machine: Machine) -> None:
    """Containers end with the daemon and `always` comes back, all groups cleared in between."""
    name = machine.background("box", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    always = machine.background("--restart", "always", "--stop-signal", "KILL", "box", "sleep", "1000")
    run("systemctl", "stop", UNIT)
    assert [folder for folder in (name, always) if (CGROUPS / "docker" / folder).exists()] == []
    run("systemctl", "start", UNIT)
    machine.await_answer()
    assert machine.inspect(name)["State"]["ExitCode"] == 5
    wait_until(lambda: machine.inspect(always)["State"]["Running"], "the restart")


def test_an_inherited_socket(machine: Machine, tmp_path: Path) -> None:
    socket = "/run/compatd-inherited.sock"
    command = [
        *("systemd-socket-activate", "-l", socket, machine.program, "-H", "fd://"),
        *("--data-root", str(tmp_path / "data"), "--exec-root", str(tmp_path / "exec")),
        *("--pidfile", str(tmp_path / "pid"), "--bridge", "none"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_until(Path(socket).exists, "the socket")
        assert run("docker", "-H", f"unix://{socket}", "info", "-f", "{{.CgroupVersion}}").stdout == "2\n"
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert process.returncode in (0, -signal.SIGTERM)

"""The daemon leaves by itself and its containers run on: an upgrade's SIGUSR2; idle-exit, and the socket."""

import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, running_daemon, wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def ours() -> Iterator[Daemon]:
    with running_daemon() as started:
        yield started


def state(ours: Daemon, name: str) -> tuple[str, int]:
    found = ours.call("GET", f"/containers/{name}/json")["State"]
    return found["Status"], found["Pid"]


def test_an_upgrade_keeps_containers(ours: Daemon) -> None:
    ours.image()
    name = ours.create(["sh", "-c", "while :; do echo line; sleep 0.1; done"])
    ours.call("POST", f"/containers/{name}/start")
    before = state(ours, name)
    assert ours.process is not None
    ours.process.send_signal(signal.SIGUSR2)
    assert ours.process.wait(120) == 80
    assert Path(f"/proc/{before[1]}").exists()
    ours.start()
    assert state(ours, name) == before
    ours.call("POST", f"/containers/{name}/kill")
    wait_until(lambda: state(ours, name)[0] == "exited", "the end")


def activate(ours: Daemon, listener: socket.socket) -> subprocess.Popen[bytes]:
    """What systemd does when somebody connects: the program with the socket as fd 3."""
    assert select.select([listener], [], [], 120)[0]
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_FDS='1', "
        "LISTEN_PID=str(os.getpid())); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    command = [sys.executable, "-c", script, str(listener.fileno()), *ours.prefix]
    with ours.log.open("ab") as log:
        ours.process = subprocess.Popen(
            [*command, *ours.command("fd://"), "--idle-exit", "2"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
    return ours.process


def test_the_socket_wakes_a_daemon_that_left(ours: Daemon) -> None:
    ours.image()
    ours.stop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(ours.socket)
        listener.listen(16)
        first = _ask(ours, listener, "POST", "/containers/create?name=on")
        ours.call("POST", "/containers/on/start")
        before = state(ours, "on")
        assert first.wait(120) == 80
        assert Path(f"/proc/{before[1]}").exists()
        # Whoever asks next waits for the daemon, and finds all as it was.
        second = _ask(ours, listener, "GET", "/_ping")
        assert state(ours, "on") == before
        # A restart policy needs a daemon that is there when the container ends.
        ours.call("POST", "/containers/on/update", {"RestartPolicy": {"Name": "always"}})
        wait_until(lambda: "staying: on has a restart policy" in ours.log.read_text(), "why it stays")
        ours.call("POST", "/containers/on/update", {"RestartPolicy": {"Name": "no"}})
        assert second.wait(120) == 80
        _ask(ours, listener, "DELETE", "/containers/on?force=1")


def _ask(ours: Daemon, listener: socket.socket, method: str, path: str) -> subprocess.Popen[bytes]:
    """A request to the socket while no daemon runs, which starts one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(120)
        client.connect(ours.socket)
        body = b'{"Image":"box:latest","Cmd":["sleep","1000"]}' if method == "POST" else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        process = activate(ours, listener)
        assert client.recv(65536).startswith(b"HTTP/1.1 20"), ours.log.read_text()[-3000:]
    return process


def test_the_process_is_called_dockerd(ours: Daemon) -> None:
    ours.stop()
    ours.program = "dockerd"
    ours.start()
    words = Path(f"/proc/{ours.pid}/cmdline").read_bytes().split(b"\0")
    assert words[0].endswith(b"/dockerd")
    assert words[1:3] == [b"-H", ours.host.encode()]
    assert Path(f"/proc/{ours.pid}/comm").read_text() == "dockerd\n"

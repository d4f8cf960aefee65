"""SIGHUP, signals, exit codes and what is in the log, on a daemon of our own."""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon, UnixConnection, running_daemon, wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "daemon.json"
        path.write_text("{}")
        yield path


class Reloads:
    """Counts what the daemon says about reloads."""

    def __init__(self, daemon: Daemon, file: Path) -> None:
        self.daemon, self.file = daemon, file

    def __call__(self, text: str | dict[str, Any], expected: str = "Reloaded configuration") -> None:
        before = self.daemon.log.read_text().count(expected)
        self.file.write_text(text if isinstance(text, str) else json.dumps(text))
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.daemon.log.read_text().count(expected) > before, expected)


def test_what_is_reloaded_and_the_event(file: Path) -> None:
    with running_daemon("--config-file", str(file), "--live-restore") as daemon:
        reload = Reloads(daemon, file)
        assert recommended(daemon) == "2"
        reload(
            {
                "debug": True,
                "labels": ["a=b"],
                "insecure-registries": ["r.test:5000"],
                "registry-mirrors": ["https://m.test"],
                "shutdown-timeout": 99,
                "max-concurrent-downloads": 7,
                "default-shm-size": "32m",
                "runtimes": {"mine": {"path": "/bin/true"}},
                "default-runtime": "mine",
                "features": {"buildkit": False},
                "mtu": 1234,
            }
        )
        info = daemon.call("GET", "/info")
        assert (info["Debug"], info["Labels"], info["DefaultRuntime"]) == (True, ["a=b"], "mine")
        assert info["Runtimes"]["mine"]["path"] == "/bin/true"
        assert info["RegistryConfig"]["Mirrors"] == ["https://m.test"]
        assert not info["RegistryConfig"]["IndexConfigs"]["r.test:5000"]["Secure"]
        assert info["LiveRestoreEnabled"]
        assert recommended(daemon) == "1"
        soon = int(time.time()) + 1
        events = daemon.call("GET", f'/events?since=1&until={soon}&filters={{"type":["daemon"]}}')
        event = json.loads(events.splitlines()[-1]) if isinstance(events, bytes) else events
        assert (event["Type"], event["Action"]) == ("daemon", "reload")
        assert event["Actor"]["ID"] == info["ID"]
        attributes = event["Actor"]["Attributes"]
        assert attributes == {
            "debug": "true",
            "default-cgroupns-mode": cgroupns(),
            "default-ipc-mode": "private",
            "default-runtime": "mine",
            "default-shm-size": str(32 << 20),
            "features": "map[buildkit:false]",
            "insecure-registries": '["r.test:5000"]',
            "labels": '["a=b"]',
            "live-restore": "true",
            "max-concurrent-downloads": "7",
            "max-concurrent-uploads": "5",
            "max-download-attempts": "5",
            "name": info["Name"],
            "registry-mirrors": '["https://m.test"]',
            "runtimes": "mine:/bin/true",
            "shutdown-timeout": "99",
        }
        reload({"debug": False, "default-runtime": "compatd"})
        info = daemon.call("GET", "/info")
        assert (info["Debug"], info["Labels"], info["DefaultRuntime"]) == (False, ["a=b"], "compatd")


def recommended(daemon: Daemon) -> str | None:
    """The builder that clients are told to take."""
    connection = UnixConnection(daemon.socket)
    connection.request("GET", "/_ping")
    answer = connection.getresponse().headers["Builder-Version"]
    connection.close()
    return answer


def cgroupns() -> str:
    """The default on this machine."""
    return "private" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "host"


def test_a_wrong_file_changes_nothing(file: Path) -> None:
    with running_daemon("--config-file", str(file), "--mtu", "1400") as daemon:
        reload = Reloads(daemon, file)
        where = f"unable to configure the Docker daemon with file {file}: "
        for text, expected in (
            ("{", "unexpected end of JSON input"),
            ('{"nope": 1}', "the following directives don't match any configuration option: nope"),
            ('{"debug": 1, "labels": ["a=b"]}', "cannot unmarshal number"),
            ('{"mtu": 1300, "labels": ["a=b"]}', "mtu: (from flag: 1400, from file: 1300)"),
        ):
            reload(text, expected)
            assert where in daemon.log.read_text()
        reload('{"log-level": "x"}', "file configuration validation failed: invalid logging level: x")
        reload(
            '{"default-runtime": "none", "labels": ["a=b"]}',
            "specified default runtime 'none' does not exist",
        )
        assert "Error reconfiguring the daemon" in daemon.log.read_text()
        info = daemon.call("GET", "/info")
        assert (info["Labels"], info["DefaultRuntime"], info["Debug"]) == ([], "compatd", False)


def test_systemd_is_told(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{folder}/notify")
        heard.settimeout(120)
        said: list[str] = []

        def listen() -> None:
            while "STOPPING=1" not in said:
                said.append(heard.recv(4096).decode())

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        daemon = Daemon(Path(tempfile.mkdtemp(prefix="compatd-it-")), "--config-file", str(file))
        daemon.prefix = ["env", f"NOTIFY_SOCKET={folder}/notify"]
        try:
            daemon.start()
            wait_until(lambda: "READY=1" in said, "READY=1")
            Reloads(daemon, file)({})
            wait_until(lambda: said.count("READY=1") == 2, "READY=1 again")
            assert any(text.startswith("RELOADING=1\nMONOTONIC_USEC=") for text in said)
            assert daemon.stop() == 0
            listener.join(60)
            assert "STOPPING=1" in said
        finally:
            daemon.destroy()


def test_the_log_has_dockerd_s_lines(file: Path) -> None:
    with running_daemon("--config-file", str(file), "--selinux-enabled") as daemon:
        assert daemon.stop() == 0
        log = daemon.log.read_text()
        lines = ["Starting up", "Daemon has completed initialization", f"API listen on {daemon.socket}"]
        lines += ["Processing signal 'terminated'", "Daemon shutdown complete"]
        places = [log.index(f'level=info msg="{line}"') for line in lines]
        assert places == sorted(places)
        assert log.count("option selinux-enabled has no effect") == 1
        assert log.startswith('time="20')
        assert not Path(daemon.socket).exists()
        assert not (daemon.folder / "docker.pid").exists()


def test_the_log_as_json(file: Path) -> None:
    with running_daemon("--config-file", str(file), "--log-format", "json") as daemon:
        entries = [json.loads(line) for line in daemon.log.read_text().splitlines()]
        assert {"level": "info", "msg": "Starting up", "time": entries[0]["time"]} == entries[0]


def test_a_second_daemon_is_refused(file: Path) -> None:
    with running_daemon("--config-file", str(file)) as daemon:
        command = [
            str(Path(sys.executable).parent / "compatd"),
            *("--config-file", str(file), "-H", f"unix://{daemon.folder}/2.sock"),
            *("--pidfile", str(daemon.folder / "docker.pid"), "--data-root", str(daemon.folder / "2")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            f"failed to start daemon, ensure docker is not running or delete {daemon.folder}/docker.pid: "
            f"process with PID {daemon.pid} is still running"
        )
        assert daemon.call("GET", "/_ping") == b"OK"


def test_an_address_that_is_taken(file: Path) -> None:
    with running_daemon("--config-file", str(file)) as daemon:
        command = [
            str(Path(sys.executable).parent / "compatd"),
            *("--config-file", str(file), "-H", daemon.host, "--pidfile", str(daemon.folder / "2.pid")),
            *("--data-root", str(daemon.folder / "2"), "--exec-root", str(daemon.folder / "e2")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("failed to load listeners: can't create unix socket")
        assert not (daemon.folder / "2.pid").exists()


def test_old_clients_are_refused_when_told(file: Path) -> None:
    file.write_text('{"min-api-version": "1.41"}')
    with running_daemon("--config-file", str(file)) as daemon:
        assert daemon.call("GET", "/version")["MinAPIVersion"] == "1.41"
        with pytest.raises(Exception, match=r"client version 1\.40 is too old") as error:
            daemon.call("GET", "/v1.40/info")
        assert error.value.args[0] == 400


def test_containers_stop_in_the_daemon_s_default_time(file: Path) -> None:
    with running_daemon("--config-file", str(file), "--default-stop-timeout", "0") as daemon:
        daemon.image()
        stubborn = daemon.run(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        daemon.call("POST", f"/containers/{stubborn}/stop")
        assert daemon.inspect(stubborn)["State"]["ExitCode"] == 137

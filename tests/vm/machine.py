"""The guest as the checks see it: compatd as a systemd service, the real command line, cgroup files."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
UNIT = "compatd-checks.service"
PATIENCE = 300
"""Seconds; an emulated machine on a busy host is slow beyond belief."""

_SERVICE = """\
[Unit]
Description=compatd under test
[Service]
ExecStart={program} -H unix://{socket} --data-root /var/lib/compatd-checks --exec-root /run/compatd-checks \\
    --pidfile /run/compatd-checks.pid --add-runtime compat={runtime} \\
    {flags}
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=65536
StandardOutput=append:{log}
StandardError=inherit
TimeoutSec=300
"""


def run(*command: str, input: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command with its output as text. With `check` an exit code other than 0 is an AssertionError."""
    done = subprocess.run(command, input=input, capture_output=True, timeout=PATIENCE, check=False)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    __tracebackhide__ = True
    assert not check or done.returncode == 0, f"{command} gave {done.returncode}: {out}{err}"
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until `condition` is true and give its value; AssertionError after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.1)
    return value


class Machine:
    """compatd as a service, in the guest's own network namespace."""

    def __init__(self) -> None:
        self.socket = "/run/compatd-checks.sock"
        self.log = Path("/var/log/compatd-checks.log")
        self.program = str(Path(sys.executable).parent / "compatd")
        # What most tests look at lies in /docker then; test_systemd_cgroups.py has the default driver.
        self.flags = "--exec-opt native.cgroupdriver=cgroupfs"

    def start(self) -> None:
        """Write the unit, start it, wait for an answer."""
        runtime = Path(self.program).with_name("compat-runtime")
        text = _SERVICE.format(
            program=self.program, socket=self.socket, log=self.log, runtime=runtime, flags=self.flags
        )
        Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
        Path(f"/run/systemd/system/{UNIT}").write_text(text)
        run("systemctl", "daemon-reload")
        run("systemctl", "start", UNIT)
        self.await_answer()

    def await_answer(self) -> None:
        """Until the daemon answers; AssertionError with its log when it has ended."""
        wait_until(self._answers, "the daemon's first answer")

    def _answers(self) -> bool:
        if self.docker("version", check=False).returncode == 0:
            return True
        state = run("systemctl", "is-active", UNIT, check=False).stdout.strip()
        assert state in ("active", "activating"), f"the daemon is {state}: {self.log.read_text()[-3000:]}"
        return False

    def stop(self) -> None:
        """Whatever state it is in; containers that still run are taken away first."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.remove_all()
        run("systemctl", "stop", UNIT, check=False)

    def remove_all(self) -> None:
        """Remove every container."""
        if names := self.docker("ps", "-aq").stdout.split():
            self.docker("rm", "-f", *names)

    def docker(
        self, *words: str, input: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """The real command line against our socket."""
        return run("docker", "-H", f"unix://{self.socket}", *words, input=input, check=check)

    def sh(self, script: str, *options: str, check: bool = True) -> str:
        """`docker run --rm OPTIONS box sh -c SCRIPT`: the standard output, stripped."""
        return self.docker("run", "--rm", *options, "box", "sh", "-c", script, check=check).stdout.strip()

    def background(self, *words: str) -> str:
        """`docker run -d`: the ID."""
        return self.docker("run", "-d", *words).stdout.strip()

    def inspect(self, name: str) -> Any:
        """The inspect document of a container."""
        return json.loads(self.docker("inspect", name).stdout)[0]

    def cgroup(self, name: str) -> Path:
        """The folder of a running container's cgroup on the host."""
        return cgroup_of(self.inspect(name)["State"]["Pid"])


def cgroup_of(pid: int) -> Path:
    """The v2 folder of a process, as the host sees it."""
    text = Path(f"/proc/{pid}/cgroup").read_text().strip()
    number, controllers, path = text.split(":", 2)
    assert (number, controllers) == ("0", ""), text
    return CGROUPS / path.strip("/")


def shim_of(container: str) -> int:
    """The PID of a container's shim, by its process title."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cmdline").read_bytes().startswith(f"compatd-shim {container}".encode()):
                    return int(entry.name)
    raise AssertionError(f"no shim of {container}")


@contextlib.contextmanager
def started() -> Iterator[Machine]:
    """compatd with the image `box` (busybox)."""
    from tests.integration.daemon import busybox_tar

    machine = Machine()
    try:
        machine.start()
        machine.docker("import", "-", "box", input=busybox_tar())
        yield machine
    except BaseException:
        if machine.log.exists():
            print(machine.log.read_text()[-6000:])
        raise
    finally:
        machine.stop()

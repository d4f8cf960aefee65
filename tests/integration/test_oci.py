"""compat-runtime, used as containerd or podman would; and the same calls to runc."""

import json
import os
import shutil
import signal
import socket
import time
import uuid
from pathlib import Path
from typing import Any, cast

import pytest

from runtime import cgroups, syscalls
from runtime.external import External
from runtime.init import NEW_CONSOLE, InitError
from runtime.spec import Process, Spec
from tests.integration.initkit import Box
from tests.integration.ocikit import Runtime, box, runtime

__all__ = ["box", "runtime"]
pytestmark = pytest.mark.root


def read_line(fd: int) -> bytes:
    """Up to a newline: a terminal may give a line in pieces."""
    line = b""
    while not line.endswith(b"\n") and (piece := os.read(fd, 100)):
        line += piece
    return line


def test_the_life_of_a_container(runtime: Runtime) -> None:
    runtime.create("sh", "-c", "echo started; exec sleep 1000")
    out = runtime.box.base / "out"
    state = runtime.state()
    assert state["status"] == "created"
    assert state["pid"] == runtime.pid
    assert state["bundle"] == str(runtime.bundle)
    assert out.read_text() == ""
    runtime("start", runtime.id)
    runtime.wait("running")
    while not out.read_text():
        time.sleep(0.01)
    assert out.read_text() == "started\n"
    again = runtime("start", runtime.id, ok=False)
    assert "cannot start an already running container" in again.stderr
    runtime("pause", runtime.id)
    assert runtime.state()["status"] == "paused"
    runtime("resume", runtime.id)
    assert runtime("exec", runtime.id, "sh", "-c", "exit 5", ok=False).returncode == 5
    assert runtime("exec", runtime.id, "nope", ok=False).returncode == 1
    assert runtime.error().startswith('exec failed: unable to start container process: exec: "nope": ')
    assert runtime.pid in json.loads(runtime("ps", "--format", "json", runtime.id).stdout)
    refused = runtime("delete", runtime.id, ok=False)
    assert f"cannot delete container {runtime.id} that is not stopped: running" in refused.stderr
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")
    assert runtime("kill", runtime.id, "TERM", ok=False).returncode == 1
    assert runtime.error().endswith("container not running")
    assert "cannot exec in a stopped container" in runtime("exec", runtime.id, "true", ok=False).stderr
    assert json.loads(runtime("list", "--format", "json").stdout)[0]["id"] == runtime.id
    runtime("delete", runtime.id)
    assert json.loads(runtime("list", "--format", "json").stdout) == []
    assert not any(
        Path(folder).exists() for folder in cgroups.open_cgroup(f"{runtime.box.group}/c").folders()
    )


def test_a_program_that_is_missing_fails_create(runtime: Runtime) -> None:
    assert runtime.create("nope", ok=False).returncode == 1
    expected = 'unable to start container process: exec: "nope": executable file not found in $PATH'
    assert runtime.error() == f"compat-runtime create failed: {expected}"
    assert "container does not exist" in runtime("state", runtime.id, ok=False).stderr


def test_an_id_is_taken_once(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    assert runtime.create("sleep", "1000", ok=False).returncode == 1
    assert runtime.error().endswith("container with given ID already exists")
    assert runtime.state()["status"] == "created"
    runtime("delete", runtime.id)  # a created one may be deleted


def test_run_gives_the_exit_code(runtime: Runtime) -> None:
    runtime.box.spec["process"]["args"] = ["sh", "-c", "echo out; exit 42"]
    (runtime.bundle / "config.json").write_text(json.dumps(runtime.box.spec))
    result = runtime("run", "--bundle", str(runtime.bundle), runtime.id, ok=False)
    assert (result.returncode, result.stdout) == (42, "out\n")
    assert json.loads(runtime("list", "--format", "json").stdout) == []


def test_a_console_is_handed_over(runtime: Runtime) -> None:
    runtime.box.spec["process"]["terminal"] = True
    path = runtime.box.base / "tty.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        runtime.create("tty", more=["--console-socket", str(path)])
        link, _ = listener.accept()
        _, fds, _, _ = socket.recv_fds(link, 100, 1)
        link.close()
    runtime("start", runtime.id)
    assert read_line(fds[0]) == b"/dev/pts/0\r\n"
    os.close(fds[0])


def test_a_console_needs_a_socket(runtime: Runtime) -> None:
    runtime.box.spec["process"]["terminal"] = True
    runtime.create("tty", ok=False)
    assert "without setting console socket" in runtime.error()


def test_hooks_see_the_container_before_it_starts(runtime: Runtime) -> None:
    seen = runtime.box.base / "seen"
    script = f"cat > {seen}; readlink /proc/self/ns/mnt >> {seen}.ns"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    runtime.box.spec["hooks"] = {"createRuntime": [hook]}
    runtime.create("sleep", "1000")
    state = json.loads(seen.read_text())
    assert (state["id"], state["status"], state["pid"]) == (runtime.id, "creating", runtime.pid)
    assert Path(f"{seen}.ns").read_text().strip() == str(Path("/proc/self/ns/mnt").readlink())


def test_a_hook_that_fails_fails_create(runtime: Runtime) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"]}
    runtime.box.spec["hooks"] = {"prestart": [hook]}
    assert runtime.create("sleep", "1000", ok=False).returncode == 1
    assert runtime.error().endswith("error running prestart hook #0: exit status 3, stdout: , stderr: no\n")


def test_a_container_whose_process_died_before_start(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    os.kill(runtime.pid, signal.SIGKILL)
    runtime.wait("stopped")
    assert "cannot start a container that has stopped" in runtime("start", runtime.id, ok=False).stderr


@pytest.mark.skipif(not shutil.which("runc"), reason="no runc here")
class TestExternal:
    """In a child that is a subreaper with a mount namespace to change, as a shim is."""

    def inside(self, box: Box, body: Any) -> Any:
        box.spec["linux"]["cgroupsPath"] = f"{box.group}/c"
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            answer: Any = None
            try:
                os.close(read_end)
                syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
                runtime = External(
                    shutil.which("runc") or "", [], f"ext-{uuid.uuid4().hex[:8]}", str(box.base / "ext")
                )
                try:
                    answer = body(runtime)
                finally:
                    runtime.delete()
            except BaseException as error:
                answer = f"{type(error).__name__}: {error}"
            finally:
                os.write(write_end, json.dumps(answer).encode())
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as file:
            text = file.read()
        os.waitpid(pid, 0)
        return json.loads(text)

    def spawn(self, runtime: External, box: Box, *args: str, console: int | None = None) -> Any:
        box.spec["process"].update(args=list(args), terminal=console is not None)
        out = os.open(box.base / "out", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        spec, root = cast(Spec, box.spec), cast(Any, box.root)
        child = runtime.spawn(spec, root, stdio=(out, out, out), console=console)
        child.wait_ready()
        child.go()
        return child

    def test_run(self, box: Box) -> None:
        def body(runtime: External) -> Any:
            child = self.spawn(runtime, box, "sh", "-c", "echo out; echo x > /new; exit 7")
            return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])

        assert self.inside(box, body) == 7
        assert (box.base / "out").read_text() == "out\n"
        assert (box.upper / "new").exists()

    def test_error_text(self, box: Box) -> None:
        def body(runtime: External) -> Any:
            try:
                self.spawn(runtime, box, "nope")
            except InitError as error:
                return str(error)
            return ""

        expected = 'unable to start container process: exec: "nope": executable file not found in $PATH'
        assert self.inside(box, body) == expected

    def test_console_exec_and_kill(self, box: Box) -> None:
        def body(runtime: External) -> Any:
            child = self.spawn(runtime, box, "sh", "-c", "tty; exec sleep 1000", console=NEW_CONSOLE)
            first = read_line(child.console_master).decode()
            null = os.open("/dev/null", os.O_RDWR)
            process = cast(Process, box.process("sh", "-c", "exit 9"))
            other = runtime.enter(process, stdio=(null, null, null))
            code = os.waitstatus_to_exitcode(os.waitpid(other.pid, 0)[1])
            runtime.pause()
            runtime.resume()
            runtime.kill(signal.SIGKILL)
            return [first, code, os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])]

        assert self.inside(box, body) == ["/dev/pts/0\r\n", 9, -9]

"""OCI runtime spec 1.1, "Operations" and "State": what each operation does, and when it must refuse."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from runtime import cgroups
from tests.integration.ocikit import Runtime, box, runtime

__all__ = ["box", "runtime"]
pytestmark = pytest.mark.root


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete", "pause", "resume", "ps", "exec"])
def test_a_container_that_is_not_there(runtime: Runtime, command: str) -> None:
    more = ["true"] if command == "exec" else []
    assert runtime.refused(command, "nobody", *more).endswith("container does not exist")


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete", "create"])
def test_without_an_id(runtime: Runtime, command: str) -> None:
    runtime.write("true")
    more = ["--bundle", str(runtime.bundle)] if command == "create" else []
    assert runtime.refused(command, *more).endswith("container id cannot be empty")


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "ä", "a\n"])
def test_ids_that_are_not_valid(runtime: Runtime, name: str) -> None:
    runtime.write("true")
    refused = runtime.refused("create", "--bundle", str(runtime.bundle), name)
    assert refused.endswith("invalid container ID format")
    assert list(runtime.root.glob("*")) == []


@pytest.mark.parametrize("status", ["created", "running", "stopped"])
def test_create_with_an_id_that_is_taken(runtime: Runtime, status: str) -> None:
    runtime.create("sleep", "1000")
    if status != "created":
        runtime("start", runtime.id)
    if status == "stopped":
        runtime("kill", runtime.id, "KILL")
    runtime.wait(status)
    before = runtime.state()
    assert runtime.create("sleep", "1000", ok=False).returncode == 1
    assert runtime.error().endswith("container with given ID already exists")
    assert runtime.state() == before


def test_start(runtime: Runtime) -> None:
    runtime.create("sh", "-c", "echo once; exec sleep 1000")
    assert runtime.out.read_text() == ""  # the program does not run before start
    runtime("start", runtime.id)
    assert "cannot start an already running container" in runtime.refused("start", runtime.id)
    assert runtime.state()["status"] == "running"
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")
    assert "cannot start a container that has stopped" in runtime.refused("start", runtime.id)
    assert runtime.out.read_text().count("once") <= 1


def test_start_returns_when_the_program_runs(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    assert b"sleep" not in Path(f"/proc/{runtime.pid}/cmdline").read_bytes()
    runtime("start", runtime.id)
    assert Path(f"/proc/{runtime.pid}/cmdline").read_bytes() == b"sleep\x001000\x00"


def test_state(runtime: Runtime) -> None:
    runtime.spec["annotations"] = {"org.example.a": "1", "": "of an empty name"}
    runtime.create("sleep", "1000")
    state = runtime.state()
    assert {key: state[key] for key in ("ociVersion", "id", "status", "pid", "bundle", "annotations")} == {
        "ociVersion": "1.1.0",
        "id": runtime.id,
        "status": "created",
        "pid": runtime.pid,
        "bundle": str(runtime.bundle),
        "annotations": runtime.spec["annotations"],
    }
    assert Path(state["bundle"]).is_absolute()
    runtime("start", runtime.id)
    assert (runtime.state()["status"], runtime.state()["pid"]) == ("running", state["pid"])
    runtime("pause", runtime.id)
    assert runtime.state()["status"] == "paused"
    runtime("resume", runtime.id)
    assert runtime.state()["status"] == "running"
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")
    assert runtime.state()["pid"] == 0


def test_no_annotations_is_fine(runtime: Runtime) -> None:
    runtime.create("true")
    assert not runtime.state().get("annotations")


def test_a_relative_bundle(runtime: Runtime) -> None:
    runtime.write("sleep", "1000")
    os.chdir(runtime.box.base)
    relative = os.path.relpath(runtime.bundle)
    with runtime.out.open("w") as out:
        runtime("create", "--bundle", relative, runtime.id, stdout=out, stderr=out)
    assert runtime.state()["bundle"] == str(runtime.bundle)


def test_the_pid_file(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    assert (runtime.box.base / "pid").read_text() == str(runtime.state()["pid"])


@pytest.mark.parametrize("name", ["TERM", "SIGUSR1", "10", "HUP"])
def test_kill_sends_the_signal(runtime: Runtime, name: str) -> None:
    script = (
        'for s in TERM USR1 HUP; do trap "echo $s; exit" $s; done; echo ready; while :; do sleep 0.1; done'
    )
    runtime.create("sh", "-c", script)
    runtime("start", runtime.id)
    runtime.until(lambda: "ready" in runtime.out.read_text())
    runtime("kill", runtime.id, name)
    runtime.wait("stopped")
    expected = "USR1" if name == "10" else name.removeprefix("SIG")
    assert runtime.out.read_text().split() == ["ready", expected]


def test_kill_of_a_created_one(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")


def test_kill_of_a_stopped_one(runtime: Runtime) -> None:
    runtime.script("true")
    before = runtime.state()
    assert runtime.refused("kill", runtime.id, "KILL").endswith("container not running")
    assert runtime.state() == before


def test_kill_with_an_unknown_signal(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    runtime("start", runtime.id)
    assert 'unknown signal "NOPE"' in runtime.refused("kill", runtime.id, "NOPE")
    assert runtime.state()["status"] == "running"


@pytest.mark.parametrize("status", ["running", "paused"])
def test_delete_of_one_that_is_not_stopped(runtime: Runtime, status: str) -> None:
    runtime.create("sleep", "1000")
    runtime("start", runtime.id)
    if status == "paused":
        runtime("pause", runtime.id)
    assert f"that is not stopped: {status}" in runtime.refused("delete", runtime.id)
    assert runtime.state()["status"] == status
    assert Path(f"/proc/{runtime.pid}").exists()
    runtime("delete", "--force", runtime.id)
    assert "does not exist" in runtime.refused("state", runtime.id)


def test_delete_removes_what_create_made_and_no_more(runtime: Runtime) -> None:
    parent = cgroups.open_cgroup(f"{runtime.box.group}")
    beside = Path(parent.folders()[0]) / "beside"
    runtime.create("sleep", "1000")
    beside.mkdir()
    group = cgroups.open_cgroup(f"{runtime.box.group}/c")
    assert all(Path(folder).exists() for folder in group.folders())
    runtime("start", runtime.id)
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")
    runtime("delete", runtime.id)
    assert not any(Path(folder).exists() for folder in group.folders())
    assert not (runtime.root / runtime.id).exists()
    assert beside.exists()
    assert (runtime.bundle / "config.json").exists()
    assert "does not exist" in runtime.refused("delete", runtime.id)


def test_an_id_may_be_used_again(runtime: Runtime) -> None:
    for _ in range(2):
        assert runtime.script("echo $$") == "1\n"
        runtime("delete", runtime.id)


def test_changes_of_the_file_after_create(runtime: Runtime) -> None:
    runtime.create("sh", "-c", "echo as created; hostname")
    runtime.spec["hostname"] = "other"
    runtime.write("echo", "changed")
    runtime("start", runtime.id)
    runtime.wait("stopped")
    assert runtime.out.read_text() == "as created\nbox\n"


def test_delete_ends_what_the_program_left(runtime: Runtime) -> None:
    """Without a PID namespace of its own, nothing else does."""
    spaces = runtime.spec["linux"]["namespaces"]
    spaces[:] = [space for space in spaces if space["type"] != "pid"]
    runtime.script("sleep 1000 & exit 0")
    group = cgroups.open_cgroup(f"{runtime.box.group}/c")
    assert group.pids()
    runtime("delete", runtime.id)
    assert not any(Path(folder).exists() for folder in group.folders())


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no version": ({"ociVersion": ""}, 'unknown version specified: ""'),
    "a version to come": ({"ociVersion": "2.0.0"}, 'unknown version specified: "2.0.0"'),
    "not a version": ({"ociVersion": "latest"}, 'unknown version specified: "latest"'),
    "no process": ({"process": None}, "process property must not be empty"),
    "no root": ({"root": None}, "root must be specified"),
    "no root path": ({"root": {}}, "root must be specified"),
    "a root that is not there": ({"root": {"path": "nowhere"}}, "root filesystem does not exist"),
    "a root that is a file": ({"root": {"path": "config.json"}}, "not a directory"),
    "no mount destination": ({"mounts": [{"type": "tmpfs"}]}, "mount destination must not be empty"),
    "mounts of another type": ({"mounts": "x"}, "malformed spec file"),
    "process of another type": ({"process": ["true"]}, "malformed spec file"),
}
INVALID_PROCESS: dict[str, tuple[dict[str, Any], str]] = {
    "no cwd": ({"cwd": ""}, "Cwd property must not be empty"),
    "a relative cwd": ({"cwd": "tmp"}, "Cwd must be an absolute path"),
    "no arguments": ({"args": []}, "args must not be empty"),
    "an unknown limit": (
        {"rlimits": [{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]},
        "wrong rlimit value: RLIMIT_TEST",
    ),
    "a user below zero": ({"user": {"uid": -1, "gid": 0}}, "uids and gids must be in range"),
}
INVALID_LINUX: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown namespace": ({"namespaces": [{"type": "fancy"}]}, 'namespace "fancy" does not exist'),
    "a namespace twice": ({"namespaces": [{"type": "mount"}] * 2}, 'duplicated ns "mount"'),
    "hostname of the host": ({"namespaces": [{"type": "mount"}]}, "unable to set hostname without"),
    "propagation": ({"rootfsPropagation": "often"}, "rootfsPropagation=often is not supported"),
    "a foreign sysctl": ({"sysctl": {"kernel.panic": "1"}}, 'sysctl "kernel.panic" is not in a separate'),
}


def refused(runtime: Runtime, text: str) -> None:
    (runtime.bundle / "config.json").write_text(json.dumps(runtime.spec))
    assert text in runtime.refused("create", "--bundle", str(runtime.bundle), runtime.id)
    assert "does not exist" in runtime.refused("state", runtime.id)


@pytest.mark.parametrize("case", INVALID)
def test_invalid_configs(runtime: Runtime, case: str) -> None:
    changes, text = INVALID[case]
    runtime.spec["process"]["args"] = ["true"]
    runtime.spec.update(changes)
    for key in [key for key, value in runtime.spec.items() if value is None]:
        del runtime.spec[key]
    refused(runtime, text)


@pytest.mark.parametrize("case", INVALID_PROCESS)
def test_invalid_processes(runtime: Runtime, case: str) -> None:
    changes, text = INVALID_PROCESS[case]
    runtime.spec["process"].update({"args": ["true"], **changes})
    refused(runtime, text)


@pytest.mark.parametrize("case", INVALID_LINUX)
def test_invalid_linux_parts(runtime: Runtime, case: str) -> None:
    changes, text = INVALID_LINUX[case]
    runtime.spec["process"]["args"] = ["true"]
    runtime.spec["linux"].update(changes)
    refused(runtime, text)


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "\x00"])
def test_files_that_are_no_spec(runtime: Runtime, content: str) -> None:
    (runtime.bundle / "config.json").write_text(content)
    assert "malformed spec file" in runtime.refused("create", "--bundle", str(runtime.bundle), runtime.id)


def test_no_file(runtime: Runtime) -> None:
    text = runtime.refused("create", "--bundle", str(runtime.bundle), runtime.id)
    assert text.endswith("JSON specification file config.json not found")


def test_a_process_killed_before_start(runtime: Runtime) -> None:
    runtime.create("sleep", "1000")
    os.kill(runtime.pid, signal.SIGKILL)
    runtime.wait("stopped")
    assert "cannot start a container that has stopped" in runtime.refused("start", runtime.id)

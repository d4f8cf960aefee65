"""OCI runtime spec 1.1, "Lifecycle" and "POSIX-platform Hooks", rule by rule."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ocikit import Runtime, box, runtime

__all__ = ["box", "runtime"]
pytestmark = pytest.mark.root

RUNTIME_SIDE = ("prestart", "createRuntime", "poststart", "poststop")


def hook(script: str, **fields: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], **fields}


@pytest.fixture
def order(runtime: Runtime) -> Path:
    """A file that every hook and the program add their names to; in the container it is /order/file."""
    folder = runtime.box.base / "order"
    folder.mkdir()
    runtime.box.mount(folder, "/order", "bind", "rw")
    return folder / "file"


def test_the_order_of_all_hooks(runtime: Runtime, order: Path) -> None:
    hooks: dict[str, Any] = {}
    for name in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        file = "/order/file" if name == "startContainer" else order
        hooks[name] = [hook(f"echo {name}{number} >> {file}") for number in (1, 2)]
    runtime.spec["hooks"] = hooks
    runtime.create("sh", "-c", "echo program >> /order/file; exec sleep 1000")
    created = [f"{name}{n}" for name in ("prestart", "createRuntime", "createContainer") for n in (1, 2)]
    assert order.read_text().split() == created
    runtime("start", runtime.id)
    runtime.until(lambda: "program" in order.read_text())
    started = order.read_text().split()[len(created) :]
    # The program and poststart run at the same time: only what comes before the program is in order.
    assert started[:2] == ["startContainer1", "startContainer2"]
    assert sorted(started[2:]) == ["poststart1", "poststart2", "program"]
    assert [name for name in started if name.startswith("poststart")] == ["poststart1", "poststart2"]
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")
    assert "poststop" not in order.read_text()
    runtime("delete", runtime.id)
    assert order.read_text().split()[-2:] == ["poststop1", "poststop2"]


def test_the_state_on_stdin(runtime: Runtime, order: Path) -> None:
    runtime.spec["annotations"] = {"org.example.key": "value"}
    runtime.spec["hooks"] = {
        name: [
            hook(
                f"cat > /order/{name}; echo >> /order/{name}"
                if name == "startContainer"
                else f"cat > {order.parent}/{name}"
            )
        ]
        for name in (*RUNTIME_SIDE, "createContainer", "startContainer")
    }
    runtime.create("sleep", "1000")
    pid = runtime.pid
    runtime("start", runtime.id)
    runtime("kill", runtime.id, "KILL")
    runtime.wait("stopped")
    runtime("delete", runtime.id)
    expected = {
        "prestart": ("creating", pid),
        "createRuntime": ("creating", pid),
        "createContainer": ("creating", 1),  # as the hook sees it, in the container's PID namespace
        "startContainer": ("created", 1),
        "poststart": ("running", pid),
        "poststop": ("stopped", 0),
    }
    for name, (status, number) in expected.items():
        state = json.loads((order.parent / name).read_text())
        assert (state["status"], state["pid"]) == (status, number), name
        assert (state["id"], state["bundle"]) == (runtime.id, str(runtime.bundle)), name
        assert state["annotations"] == {"org.example.key": "value"}, name
        assert state["ociVersion"] == "1.1.0", name


def test_the_namespaces_they_run_in(runtime: Runtime, order: Path) -> None:
    kinds = ("mnt", "uts", "pid", "net", "ipc")
    show = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    runtime.spec["hooks"] = {name: [hook(f"({show}) > {order.parent}/{name}")] for name in RUNTIME_SIDE[:3]}
    inside = "for kind in mnt uts net ipc pid; do readlink /proc/self/ns/$kind; done"
    runtime.spec["hooks"]["startContainer"] = [hook(f"({inside}; hostname; echo $$) > /order/startContainer")]
    runtime.create("sleep", "1000")
    theirs = {kind: str(Path(f"/proc/{runtime.pid}/ns/{kind}").readlink()) for kind in kinds}
    runtime("start", runtime.id)
    ours = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]
    for name in RUNTIME_SIDE[:3]:
        assert (order.parent / name).read_text().split() == ours, name
    lines = (order.parent / "startContainer").read_text().split()
    assert lines[:5] == [theirs[kind] for kind in ("mnt", "uts", "net", "ipc", "pid")]
    assert not set(lines[:5]) & set(ours)
    assert lines[5] == "box"
    assert int(lines[6]) < 100  # a PID of the container's own namespace


def test_create_container_is_in_the_container_s_namespaces(runtime: Runtime) -> None:
    """/proc is the runtime's still and does not know the hook: what it changes tells where it was."""
    del runtime.spec["hostname"]
    runtime.spec["hooks"] = {
        "createContainer": [hook("hostname hooked"), hook("echo 77 > /proc/sys/net/ipv4/ip_default_ttl")]
    }
    before = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text(), os.uname().nodename
    assert runtime.script("hostname; cat /proc/sys/net/ipv4/ip_default_ttl") == "hooked\n77\n"
    assert (Path("/proc/sys/net/ipv4/ip_default_ttl").read_text(), os.uname().nodename) == before


def test_create_container_sees_the_mounts_made(runtime: Runtime, order: Path) -> None:
    """It runs in the container's mount namespace, with the runtime's paths, and before the pivot."""
    rootfs = runtime.box.tree
    outside = f"test ! -e {rootfs}/order/mark"
    inside = f"touch {rootfs}/order/mark && test -e {rootfs}/proc/1/status"
    mount = f"mount -t tmpfs hooked {rootfs}/tmp && touch {rootfs}/tmp/by-the-hook"
    runtime.spec["hooks"] = {"createRuntime": [hook(outside)], "createContainer": [hook(inside), hook(mount)]}
    assert runtime.script("ls /tmp") == "by-the-hook\n"
    assert (order.parent / "mark").exists()
    assert not (rootfs / "tmp/by-the-hook").exists()


def test_start_container_is_as_restricted_as_the_program(runtime: Runtime, order: Path) -> None:
    order.parent.chmod(0o777)
    runtime.spec["process"]["user"] = {"uid": 1000, "gid": 1001}
    runtime.spec["process"]["noNewPrivileges"] = True
    runtime.spec["hooks"] = {
        "startContainer": [
            hook("id -u > /order/id; grep -E 'NoNewPrivs|CapBnd' /proc/self/status > /order/status")
        ]
    }
    program = runtime.script("grep -E 'NoNewPrivs|CapBnd' /proc/self/status")
    assert (order.parent / "id").read_text() == "1000\n"
    assert (order.parent / "status").read_text() == program != ""


def test_env_and_args(runtime: Runtime, order: Path) -> None:
    script = f'(echo "$0" "$1"; env) > {order}'
    entry = {
        "path": "/bin/sh",
        "args": ["sh", "-c", script, "zero", "one two"],
        "env": ["PATH=/bin", "A=b=c"],
    }
    runtime.spec["hooks"] = {"createRuntime": [entry]}
    runtime.create("sleep", "1000")
    lines = order.read_text().splitlines()
    assert lines[0] == "zero one two"
    names = {line.partition("=")[0] for line in lines[1:]} - {"PWD", "_", "SHLVL", "OLDPWD"}
    assert names == {"PATH", "A"}
    assert "A=b=c" in lines


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_at_create(runtime: Runtime, order: Path, name: str) -> None:
    runtime.spec["hooks"] = {
        name: [hook("true"), hook("echo no >&2; exit 3"), hook(f"echo never >> {order}")],
        "poststop": [hook(f"echo poststop >> {order}")],
    }
    text = runtime.refused_create("sleep", "1000")
    assert text.endswith(f"error running {name} hook #1: exit status 3, stdout: , stderr: no\n")
    # The container is stopped and destroyed, and then poststop runs.
    assert order.read_text() == "poststop\n"
    runtime.spec["hooks"] = {}
    runtime.create("true")  # the ID is free again


@pytest.mark.parametrize("name", ["startContainer", "poststart"])
def test_a_hook_that_fails_at_start(runtime: Runtime, order: Path, name: str) -> None:
    runtime.spec["hooks"] = {
        name: [hook("exit 4")],
        "poststop": [hook(f"echo poststop >> {order}")],
    }
    runtime.create("sh", "-c", "echo program >> /order/program; exec sleep 1000")
    pid = runtime.pid
    text = runtime.refused("start", runtime.id)
    assert f"error running {name} hook #0: exit status 4" in text
    assert "does not exist" in runtime.refused("state", runtime.id)
    assert not Path(f"/proc/{pid}/root/bin").exists()
    assert order.read_text() == "poststop\n"
    if name == "startContainer":
        assert not (order.parent / "program").exists()


def test_a_poststop_hook_that_fails_is_a_warning(runtime: Runtime, order: Path) -> None:
    runtime.spec["hooks"] = {"poststop": [hook("exit 5"), hook(f"echo second >> {order}")]}
    runtime.create("true")
    runtime("start", runtime.id)
    runtime.wait("stopped")
    runtime("delete", runtime.id)
    assert order.read_text() == "second\n"
    entries = [json.loads(line) for line in runtime.log.read_text().splitlines()]
    warnings = [entry["msg"] for entry in entries if entry["level"] == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("error running poststop hook #0: exit status 5")
    assert "does not exist" in runtime.refused("state", runtime.id)


@pytest.mark.parametrize("name", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_past_its_timeout(runtime: Runtime, name: str) -> None:
    runtime.spec["hooks"] = {name: [hook("exec sleep 1000", timeout=1)]}
    if name == "startContainer":
        runtime.create("true")
        text = runtime.refused("start", runtime.id)
    else:
        text = runtime.refused_create()
    assert text.endswith(f"error running {name} hook #0: hook ran past specified timeout of 1.0s")


@pytest.mark.parametrize("name", ["createRuntime", "createContainer"])
def test_a_hook_that_is_not_there(runtime: Runtime, name: str) -> None:
    runtime.spec["hooks"] = {name: [{"path": "/no/such"}]}
    text = runtime.refused_create()
    assert text.endswith(f"error running {name} hook #0: fork/exec /no/such: no such file or directory")


def test_paths_of_start_container_are_the_containers(runtime: Runtime) -> None:
    assert not Path("/only-inside").exists()
    (runtime.box.tree / "only-inside").write_text("#!/bin/sh\necho inside > /tmp/seen\n")
    (runtime.box.tree / "only-inside").chmod(0o755)
    runtime.spec["hooks"] = {"startContainer": [{"path": "/only-inside"}]}
    assert runtime.script("cat /tmp/seen") == "inside\n"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"path": "relative"}, "path must be absolute"),
        ({}, "path must be absolute"),
        ({"path": "/bin/true", "timeout": 0}, "timeout must be greater than zero"),
        ({"path": "/bin/true", "timeout": -1}, "timeout must be greater than zero"),
    ],
)
def test_invalid_hooks(runtime: Runtime, entry: dict[str, Any], text: str) -> None:
    runtime.spec["hooks"] = {"poststop": [entry]}
    assert f"poststop hook #0: {text}" in runtime.refused_create()


def test_a_hook_gets_no_descriptors_of_ours(runtime: Runtime, order: Path) -> None:
    count = "ls /proc/self/fd | wc -l > {}"
    runtime.spec["hooks"] = {
        "createRuntime": [hook(count.format(f"{order}.1"))],
        "createContainer": [hook(count.format(f"{order}.2").replace("/proc/self", "/proc/thread-self"))],
        "startContainer": [hook("echo /proc/self/fd/* > /order/3")],
    }
    runtime.create("true")
    runtime("start", runtime.id)
    assert int(Path(f"{order}.1").read_text()) == 4  # 0-2 and the folder that is read
    names = (order.parent / "3").read_text().split()
    assert {name for name in names if name.rpartition("/")[2] in "012"} == {
        f"/proc/self/fd/{n}" for n in "012"
    }
    assert len(names) <= 5  # what the shell itself has open beside

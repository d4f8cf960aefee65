"""exec: commands in a running container."""

import hashlib
import random
import threading

import pytest

from conformance import limits
from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until
from conformance.wire import Hijacked, demux

EXEC = ("ContainerExec", "ExecStart", "ExecInspect")


def start_exec(
    engine: Engine, container: str, *command: str, tty: bool = False, **config: object
) -> tuple[str, Hijacked]:
    body = {"AttachStdout": True, "AttachStderr": True, "Tty": tty, "Cmd": list(command), **config}
    exec_id = engine.wire.post(f"/containers/{container}/exec", body, status=201).json()["Id"]
    return exec_id, engine.wire.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty})


@pytest.mark.operation(*EXEC)
def test_exec(engine: Engine, box: str) -> None:
    done = engine.exec(box, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


@pytest.mark.operation(*EXEC)
def test_inspect(engine: Engine, box: str) -> None:
    exec_id, stream = start_exec(
        engine, box, "sh", "-c", "read x; exit 4", AttachStdin=True, Privileged=False, User="user"
    )
    with stream:
        until(lambda: engine.wire.get(f"/exec/{exec_id}/json")["Pid"] > 0)
        found = engine.wire.get(f"/exec/{exec_id}/json")
        assert found["ID"] == exec_id and len(exec_id) == 64
        assert found["ContainerID"] == box
        assert found["Running"] is True and found["ExitCode"] is None
        assert (found["OpenStdin"], found["OpenStdout"], found["OpenStderr"]) == (True, True, True)
        config = found["ProcessConfig"]
        assert config["entrypoint"] == "sh"
        assert config["arguments"] == ["-c", "read x; exit 4"]
        assert (config["tty"], config["privileged"], config["user"]) == (False, False, "user")
        assert exec_id in engine.inspect(box)["ExecIDs"]
        stream.send(b"\n")
        stream.read_all()
    found = engine.wire.get(f"/exec/{exec_id}/json")
    assert (found["Running"], found["ExitCode"]) == (False, 4)


@pytest.mark.operation(*EXEC)
def test_created_but_not_started(engine: Engine, box: str) -> None:
    answer = engine.wire.post(f"/containers/{box}/exec", {"Cmd": ["true"]}, status=201)
    found = engine.wire.get(f"/exec/{answer.json()['Id']}/json")
    assert (found["Running"], found["ExitCode"], found["Pid"]) == (False, None, 0)


@pytest.mark.operation(*EXEC)
@pytest.mark.parametrize("upgrade", [True, False])
def test_half_close(engine: Engine, box: str, upgrade: bool) -> None:
    body = {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Cmd": ["sh", "-c", "cat >/dev/null; sleep 0.2; echo after"],
    }
    exec_id = engine.wire.post(f"/containers/{box}/exec", body, status=201).json()["Id"]
    with engine.wire.hijack(f"/exec/{exec_id}/start", {"Detach": False}, upgrade=upgrade) as stream:
        assert stream.status == (101 if upgrade else 200)
        stream.send(b"x")
        stream.end_input()
        assert demux(stream.read_all()) == (b"after\n", b"")


@pytest.mark.operation(*EXEC)
def test_large_binary_both_ways(engine: Engine, box: str) -> None:
    data = random.Random(7).randbytes(10 << 20)  # noqa: S311
    _, stream = start_exec(engine, box, "cat", AttachStdin=True)
    with stream:

        def feed() -> None:
            stream.send(data)
            stream.end_input()

        feeder = threading.Thread(target=feed)
        feeder.start()
        out, err = demux(stream.read_all())
        feeder.join()
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    assert err == b""


@pytest.mark.operation(*EXEC)
def test_large_binary_by_cli(engine: Engine, cli: Cli, box: str) -> None:
    data = random.Random(8).randbytes(10 << 20)  # noqa: S311
    done = cli("exec", "-i", box, "cat", stdin=data)
    assert hashlib.sha256(done.raw_out).digest() == hashlib.sha256(data).digest()


@pytest.mark.operation(*EXEC)
def test_by_cli(engine: Engine, cli: Cli, box: str) -> None:
    done = cli("exec", box, "sh", "-c", "echo out; echo err >&2; exit 9", check=False)
    assert (done.code, done.out, done.err) == (9, "out\n", "err\n")
    assert cli("exec", "-i", box, "cat", stdin=b"piped\n").out == "piped\n"
    assert cli("exec", box, "cat", stdin=b"unseen").out == ""
    assert cli.text("exec", "-w", "/tmp", box, "pwd") == "/tmp"
    assert cli.text("exec", "-e", "A=b c", "-e", "D=", box, "sh", "-c", 'echo "$A${D-unset}"') == "b c"
    assert cli.text("exec", "-u", "user", box, "sh", "-c", "id -u; id -G") == "1000\n1000 2000"
    assert cli.text("exec", "-u", "12:34", box, "sh", "-c", "id -u; id -g") == "12\n34"


@pytest.mark.operation(*EXEC)
def test_terminal_by_cli(engine: Engine, cli: Cli, box: str) -> None:
    with cli.terminal("exec", "-it", box, "sh", rows=31, columns=101) as terminal:
        terminal.expect(b"# ")
        terminal.send(b"stty size; echo $TERM\n")
        terminal.expect(b"31 101\r\n")
        terminal.expect(b"xterm\r\n")
        terminal.send(b"exit 6\n")
        assert terminal.finish()[0] == 6


@pytest.mark.operation("ExecResize")
def test_resize_after_the_end(engine: Engine, box: str) -> None:
    exec_id = engine.exec(box, "true").id
    gone = f"process does not exist {exec_id}: not found"
    text = engine.pick({"1.24": "no such exec", "1.44": gone})
    # For a moment the process may be there and stopped.
    until(lambda: engine.wire.request("POST", f"/exec/{exec_id}/resize", h=10, w=20).message == text)
    assert engine.wire.request("POST", f"/exec/{exec_id}/resize", h=10, w=20).status == 404


@pytest.mark.operation(*EXEC, "ExecResize")
def test_resize_by_cli(engine: Engine, cli: Cli) -> None:
    box = engine.sleeper()
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.1; done"
    with cli.terminal("exec", "-it", box, "sh", "-c", script) as terminal:
        terminal.expect(b"up")
        terminal.resize_until(44, 144, b"44 144")


@pytest.mark.operation(*EXEC)
def test_detached(engine: Engine, cli: Cli, box: str) -> None:
    path = "/tmp/" + engine.name("file")
    assert cli.text("exec", "-d", box, "sh", "-c", f"echo done >{path}") == ""
    until(lambda: engine.exec(box, "cat", path).out == "done\n")


@pytest.mark.operation(*EXEC)
def test_detached_api(engine: Engine, box: str) -> None:
    exec_id = engine.wire.post(f"/containers/{box}/exec", {"Cmd": ["sh", "-c", "exit 5"]}, status=201).json()[
        "Id"
    ]
    answer = engine.wire.post(f"/exec/{exec_id}/start", {"Detach": True}, status=200)
    assert answer.body == b""
    until(lambda: engine.wire.get(f"/exec/{exec_id}/json")["ExitCode"] == 5)
    answer = engine.wire.post(f"/exec/{exec_id}/start", {"Detach": True}, status=409)
    assert "has already run" in answer.message or "is already running" in answer.message


@pytest.mark.operation(*EXEC)
def test_not_found_127(engine: Engine, cli: Cli, box: str) -> None:
    done = cli("exec", box, "no-such-command", check=False)
    assert done.code in {126, 127}
    words = engine.words(
        runc='exec: "no-such-command": executable file not found in $PATH',
        crun="executable file `no-such-command` not found in $PATH",
    )
    assert words in done.out + done.err
    assert done.code == (127 if engine.at_least("1.48") else 126) or cli.major >= 28


@pytest.mark.operation(*EXEC)
def test_not_executable_126(engine: Engine, cli: Cli, box: str) -> None:
    done = cli("exec", box, "/etc/passwd", check=False)
    assert done.code == 126
    words = engine.words(runc="permission denied", crun="open executable: Permission denied")
    assert words in done.out + done.err


@pytest.mark.operation(*EXEC)
def test_failed_start_is_told_in_the_stream(engine: Engine, box: str) -> None:
    exec_id, stream = start_exec(engine, box, "no-such-command")
    with stream:
        text = stream.read_all()
    words = engine.words(
        runc=b"executable file not found in $PATH",
        crun=b"executable file `no-such-command` not found in $PATH",
    )
    assert words in text
    code = until(lambda: engine.wire.get(f"/exec/{exec_id}/json")["ExitCode"])
    assert code == engine.pick({"1.24": 126, "1.48": 127})


@pytest.mark.operation("ContainerExec")
def test_errors(engine: Engine, box: str) -> None:
    stopped = engine.create("true")
    answer = engine.wire.post(f"/containers/{stopped}/exec", {"Cmd": ["true"]}, status=409)
    assert answer.message.lower() == f"container {stopped} is not running"
    answer = engine.wire.post(f"/containers/{box}/exec", {"Cmd": []}, status=400)
    assert answer.message == "No exec command specified"
    answer = engine.wire.post("/containers/no-such/exec", {"Cmd": ["true"]}, status=404)
    assert answer.message == "No such container: no-such"
    answer = engine.wire.post("/exec/no-such/start", {}, status=404)
    assert "no-such" in answer.message and "No such exec instance" in answer.message
    answer = engine.wire.request("GET", "/exec/no-such/json")
    assert (answer.status, "No such exec instance" in answer.message) == (404, True)


@pytest.mark.operation(*EXEC)
def test_runs_in_the_containers_namespaces(engine: Engine) -> None:
    container = engine.sleeper(
        host={"CapDrop": ["ALL"], "Memory": 64 << 20}, Env=["OF=container"], WorkingDir="/tmp", User="user"
    )
    script = "for p in self 1; do for n in pid mnt net ipc uts; do readlink /proc/$p/ns/$n; done; done"
    lines = engine.exec(container, "sh", "-c", script).out.split()
    assert len(lines) == 10 and lines[:5] == lines[5:]
    assert (
        engine.exec(container, "sh", "-c", "echo $OF; pwd; id -u; hostname").out
        == f"container\n/tmp\n1000\n{container[:12]}\n"
    )
    own, first = (engine.exec(container, "grep", "CapBnd", f"/proc/{p}/status").out for p in ("self", "1"))
    assert own == first and own.split()[1] == "0" * 16
    groups, others = (
        sorted(engine.exec(container, "cat", f"/proc/{p}/cgroup").out.splitlines()) for p in ("self", "1")
    )
    assert groups == others


@pytest.mark.operation(*EXEC)
def test_privileged(engine: Engine, box: str) -> None:
    plain = engine.exec(box, "grep", "CapEff", "/proc/self/status").out.split()[1]
    done = engine.exec(box, "grep", "CapEff", "/proc/self/status", Privileged=True)
    limits.skip_without_all_capabilities(done.out + done.err)
    full = done.out.split()[1]
    assert int(full, 16) & int(plain, 16) == int(plain, 16) and int(full, 16) > int(plain, 16)


@pytest.mark.operation(*EXEC)
def test_signal_code(engine: Engine, box: str) -> None:
    assert engine.exec(box, "sh", "-c", "kill -9 $$").code == 137
    assert engine.exec(box, "sh", "-c", "kill -15 $$").code == 143


@pytest.mark.operation(*EXEC)
def test_ends_with_the_container(engine: Engine) -> None:
    container = engine.sleeper()
    _, stream = start_exec(engine, container, "sh", "-c", "echo up; sleep 1000")
    with stream:
        stream.read_until(b"up\n")
        engine.wire.post(f"/containers/{container}/kill", status=204)
        assert stream.read_all() == b""
    assert engine.wait(container) == 137


@pytest.mark.operation(*EXEC)
def test_vanished_client(engine: Engine) -> None:
    """The command goes on without whoever started it."""
    container = engine.sleeper()
    _, stream = start_exec(
        engine,
        container,
        "sh",
        "-c",
        "echo up; while [ ! -e /go ]; do sleep 0.05; done; touch /done; sleep 100",
    )
    stream.read_until(b"up\n")
    stream.close()
    engine.exec(container, "touch", "/go")
    until(lambda: engine.exec(container, "test", "-e", "/done").code == 0)


@pytest.mark.operation(*EXEC)
def test_many_at_once(engine: Engine, box: str) -> None:
    outs: dict[int, str] = {}

    def work(i: int) -> None:
        outs[i] = engine.exec(box, "echo", str(i)).out

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outs == {i: f"{i}\n" for i in range(8)}

"""`docker run` and its options, by the real command line."""

import re
from pathlib import Path

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

RUN = ("ContainerCreate", "ContainerAttach", "ContainerWait", "ContainerStart")


@pytest.mark.operation(*RUN)
def test_run_rm(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    done = cli("run", "--rm", "--name", name, engine.image, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")
    assert engine.wire.request("GET", f"/containers/{name}/json").status == 404


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize("code", [0, 1, 42, 125, 126, 127, 128, 255])
def test_exit_code(engine: Engine, cli: Cli, code: int) -> None:
    assert cli("run", "--rm", engine.image, "sh", "-c", f"exit {code}", check=False).code == code


@pytest.mark.operation(*RUN)
def test_exit_code_of_a_killed_program(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", engine.image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?", check=False)
    assert done.code == 137


@pytest.mark.operation("ContainerCreate")
def test_125_when_the_engine_refuses(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", "--name", "a b", engine.image, "true", check=False)
    assert done.code == 125
    assert "Error response from daemon: Invalid container name (a b)" in done.err


@pytest.mark.operation(*RUN)
def test_127_command_not_found(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    done = cli("run", "--name", name, engine.image, "no-such-command", check=False)
    words = engine.words(
        runc='exec: "no-such-command": executable file not found in $PATH',
        crun="executable file `no-such-command` not found in $PATH",
    )
    assert done.code == engine.words(runc=127, crun=125)  # the command line goes by runc's words
    assert words in done.err
    state = engine.state(name)
    assert (state["Status"], state["ExitCode"]) == ("created", 127)
    assert words in state["Error"]


@pytest.mark.operation(*RUN)
def test_127_no_such_file(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", engine.image, "/no/such/file", check=False)
    assert done.code == engine.words(runc=127, crun=125)
    assert "no such file or directory" in done.err.lower()


@pytest.mark.operation(*RUN)
def test_126_not_executable(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", engine.image, "/etc/passwd", check=False)
    assert done.code == engine.words(runc=126, crun=125)
    assert "permission denied" in done.err.lower()


@pytest.mark.operation(*RUN)
def test_126_is_a_folder(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", engine.image, "/etc", check=False)
    assert done.code == engine.words(runc=126, crun=125)
    words = engine.words(
        runc=("permission denied", "is a directory"), crun=("open executable: Operation not permitted",)
    )
    assert any(word in done.err for word in words)


@pytest.mark.operation(*RUN)
def test_detached(engine: Engine, cli: Cli) -> None:
    container = cli.text("run", "-d", engine.image, "sleep", "1000")
    assert engine.state(container)["Running"]
    assert re.fullmatch("[0-9a-f]{64}", container)


@pytest.mark.operation(*RUN)
def test_cidfile(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    container = cli.text("run", "-d", "--cidfile", str(path), engine.image, "sleep", "1000")
    assert path.read_text() == container


@pytest.mark.operation(*RUN)
def test_environment(engine: Engine, cli: Cli) -> None:
    done = cli.text("run", "--rm", "-e", "A=1", "-e", "B=x y=z", "--hostname", "hh", engine.image, "env")
    found = dict(line.split("=", 1) for line in done.splitlines())
    assert found["A"] == "1" and found["B"] == "x y=z"
    assert found["HOSTNAME"] == "hh" and found["HOME"] == "/root"
    assert found["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert "TERM" not in found


@pytest.mark.operation(*RUN)
def test_environment_overrides_and_unsets(engine: Engine, cli: Cli) -> None:
    tag = engine.make_image("env", Env=["PATH=/bin", "KEPT=1", "CHANGED=1"])
    done = cli.text("run", "--rm", "-e", "CHANGED=2", tag, "env")
    assert {"PATH=/bin", "KEPT=1", "CHANGED=2"} <= set(done.splitlines())


@pytest.mark.operation(*RUN)
def test_term_with_a_terminal(engine: Engine, cli: Cli) -> None:
    with cli.terminal("run", "--rm", "-t", engine.image, "env") as terminal:
        code, text = terminal.finish()
    assert code == 0
    assert b"TERM=xterm\r" in text


@pytest.mark.operation(*RUN)
def test_workdir(engine: Engine, cli: Cli) -> None:
    assert cli.text("run", "--rm", "-w", "/tmp", engine.image, "pwd") == "/tmp"
    assert cli.text("run", "--rm", "-w", "/made/for/me", engine.image, "pwd") == "/made/for/me"
    failed = cli("run", "--rm", "-w", "relative", engine.image, "pwd", check=False)
    assert failed.code == 125
    assert "invalid" in failed.err and "relative" in failed.err


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("1234", "1234 0 0"),
        ("1234:55", "1234 55 55"),
        ("user", "1000 1000 1000 2000"),
        ("1000", "1000 1000 1000 2000"),
        ("user:daemon", "1000 1 1"),
        ("root", "0 0 0"),
    ],
)
def test_user(engine: Engine, cli: Cli, user: str, expected: str) -> None:
    script = "echo $(id -u) $(id -g) $(id -G)"
    assert cli.text("run", "--rm", "-u", user, engine.image, "sh", "-c", script) == expected


@pytest.mark.operation(*RUN)
def test_user_unknown(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", "-u", "nobody-here", engine.image, "true", check=False)
    assert done.code in {125, 126}
    assert "unable to find user nobody-here: no matching entries in passwd file" in done.err


@pytest.mark.operation(*RUN)
def test_user_home(engine: Engine) -> None:
    assert engine.sh("echo $HOME", User="user").out == "/home/user\n"
    # crun sets none for a user that the container does not know
    assert engine.sh("echo $HOME", User="4321").out == engine.words(runc="/\n", crun="\n")


@pytest.mark.operation(*RUN)
def test_group_add(engine: Engine) -> None:
    out = engine.sh("id -G", host={"GroupAdd": ["777", "daemon"]}).out.split()
    assert {"0", "777", "1"} <= set(out)


@pytest.mark.operation(*RUN)
def test_entrypoint(engine: Engine, cli: Cli) -> None:
    tag = engine.make_image("entry", Entrypoint=["echo", "entry"], Cmd=["default"])
    assert cli.text("run", "--rm", tag) == "entry default"
    assert cli.text("run", "--rm", tag, "given") == "entry given"
    # An entrypoint given by the user drops the image's command.
    assert cli.text("run", "--rm", "--entrypoint", "echo", tag) == ""
    assert cli.text("run", "--rm", "--entrypoint", "echo", tag, "x", "y") == "x y"
    assert cli.text("run", "--rm", "--entrypoint", "", tag, "echo", "bare") == "bare"


@pytest.mark.operation(*RUN)
def test_no_command(engine: Engine, cli: Cli) -> None:
    tag = engine.make_image("nocmd", Cmd=None)
    done = cli("run", "--rm", tag, check=False)
    assert done.code == 125
    assert "no command specified" in done.err.lower()


@pytest.mark.operation(*RUN)
def test_hostname(engine: Engine, cli: Cli) -> None:
    assert cli.text("run", "--rm", "--hostname", "given", engine.image, "hostname") == "given"
    done = cli.text(
        "run",
        "--rm",
        "--hostname",
        "given.example.org",
        engine.image,
        "sh",
        "-c",
        "hostname; cat /etc/hostname",
    )
    assert done == "given.example.org\ngiven.example.org"
    container = cli.text("run", "-d", engine.image, "sh", "-c", "hostname; cat /etc/hostname")
    engine.wait(container)
    assert engine.logs(container)[0] == f"{container[:12]}\n" * 2


@pytest.mark.operation(*RUN, "ContainerInspect")
def test_labels(engine: Engine, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("from=file\nempty=\n")
    container = cli.text("run", "-d", "--label", "a=b=c", "--label-file", str(file), engine.image, "true")
    labels = engine.inspect(container)["Config"]["Labels"]
    assert labels == {**engine.labels, "a": "b=c", "from": "file", "empty": ""}


@pytest.mark.operation(*RUN)
def test_init(engine: Engine, cli: Cli) -> None:
    done = cli.text("run", "--rm", "--init", engine.image, "sh", "-c", "cat /proc/1/comm; echo $$")
    comm, pid = done.splitlines()
    assert comm in {"docker-init", "init", "tini"}
    assert pid != "1"
    done = cli.text("run", "--rm", engine.image, "sh", "-c", "cat /proc/1/comm; echo $$")
    assert done == "sh\n1"


@pytest.mark.operation(*RUN)
def test_init_reaps_and_forwards(engine: Engine) -> None:
    container = engine.run(
        "sh", "-c", "trap 'exit 21' TERM; echo up; while :; do sleep 0.1; done", host={"Init": True}
    )
    until(lambda: "up" in engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/stop", status=204)
    assert engine.state(container)["ExitCode"] == 21


@pytest.mark.operation(*RUN)
def test_runtime_runc(engine: Engine, cli: Cli) -> None:
    if "runc" not in engine.info["Runtimes"]:
        pytest.skip("the engine lists no runtime runc")
    assert cli.text("run", "--rm", "--runtime", "runc", engine.image, "echo", "by runc") == "by runc"


@pytest.mark.operation("ContainerCreate")
def test_runtime_unknown(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", "--runtime", "no-such-runtime", engine.image, "true", check=False)
    assert done.code == 125
    assert re.search(
        "unknown or invalid runtime name: no-such-runtime|Unknown runtime specified no-such-runtime", done.err
    )


@pytest.mark.operation("ContainerCreate")
def test_missing_image(engine: Engine) -> None:
    answer = engine.wire.post("/containers/create", {"Image": engine.prefix + "/nope"}, status=404)
    assert answer.message == f"No such image: {engine.prefix}/nope:latest"


@pytest.mark.operation(*RUN)
def test_extra_hosts_and_dns(engine: Engine, cli: Cli) -> None:
    options = [
        "--add-host",
        "there:192.0.2.7",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:3",
    ]
    out = cli.text(
        "run", "--rm", *options, engine.image, "sh", "-c", "cat /etc/hosts; echo ---; cat /etc/resolv.conf"
    )
    hosts, _, resolv = out.partition("---\n")
    assert "192.0.2.7\tthere" in hosts.splitlines()
    lines = [line for line in resolv.splitlines() if line and not line.startswith("#")]
    assert sorted(lines) == ["nameserver 192.0.2.53", "options ndots:3", "search example.org"]


@pytest.mark.operation(*RUN)
def test_sysctl(engine: Engine, cli: Cli) -> None:
    done = cli.text(
        "run",
        "--rm",
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=77",
        engine.image,
        "cat",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    )
    assert done == "77"


@pytest.mark.operation(*RUN)
def test_ipc_and_pid_modes(engine: Engine) -> None:
    other = engine.sleeper()
    out = engine.sh("ps | grep -c 'sleep 100[0]'", host={"PidMode": f"container:{other}"}).out
    assert out == "1\n"
    out = engine.sh("readlink /proc/self/ns/ipc", host={"IpcMode": "host"}).out
    own = engine.sh("readlink /proc/self/ns/ipc").out
    assert out != own and out.startswith("ipc:[")


@pytest.mark.operation(*RUN, "ContainerInspect")
def test_pull_never(engine: Engine, cli: Cli) -> None:
    done = cli("run", "--rm", "--pull", "never", engine.prefix + "/nope", "true", check=False)
    assert done.code == 125
    assert "No such image" in done.err or "Unable to find image" in done.err


@pytest.mark.operation(*RUN)
def test_unconfined_system_paths(engine: Engine, cli: Cli) -> None:
    """The command line turns that into empty lists: nothing is masked or read-only for that."""
    script = "grep -c ' /proc/' /proc/mounts"
    assert int(cli.text("run", "--rm", engine.image, "sh", "-c", script)) > 5
    done = cli(
        "run",
        "--rm",
        "--security-opt",
        "systempaths=unconfined",
        engine.image,
        "sh",
        "-c",
        script,
        check=False,
    )
    assert (done.out, done.code) == ("0\n", 1)


@pytest.mark.operation(*RUN)
@pytest.mark.since("1.42")
def test_builtin_seccomp_profile(engine: Engine) -> None:
    for profile, mode in (("builtin", "2"), ("unconfined", "0")):
        out = engine.sh("grep Seccomp: /proc/self/status", {"SecurityOpt": [f"seccomp={profile}"]}).out
        assert out.split() == ["Seccomp:", mode]

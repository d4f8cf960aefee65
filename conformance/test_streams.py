"""attach, in all its forms: with a terminal or not, half-closed, binary, large, and clients that vanish."""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until
from conformance.wire import Hijacked, demux, frames

ATTACH = "ContainerAttach"
RUN = ("ContainerCreate", "ContainerAttach", "ContainerStart")
STDIN: dict[str, Any] = {
    "OpenStdin": True,
    "StdinOnce": True,
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
}
ALL: dict[str, Any] = {"stream": True, "stdin": True, "stdout": True, "stderr": True}


def noise(size: int) -> bytes:
    """Bytes of all values that do not repeat."""
    return random.Random(42).randbytes(size)  # noqa: S311


def attach(engine: Engine, container: str, **query: Any) -> Hijacked:
    return engine.wire.hijack(f"/containers/{container}/attach", **(query or ALL))


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize("upgrade", [True, False])
def test_hijack_headers(engine: Engine, upgrade: bool) -> None:
    container = engine.create("cat", **STDIN)
    with engine.wire.hijack(f"/containers/{container}/attach", upgrade=upgrade, **ALL) as stream:
        assert stream.status == (101 if upgrade else 200)
        kind = (
            "application/vnd.docker.multiplexed-stream"
            if engine.at_least("1.42")
            else "application/vnd.docker.raw-stream"
        )
        # Clients of 20.10 know one type only; without an upgrade it has always been this one.
        assert stream.headers["content-type"] == (kind if upgrade else "application/vnd.docker.raw-stream")
        if upgrade:
            assert stream.headers["upgrade"].lower() == "tcp"
            assert stream.headers["connection"].lower() == "upgrade"
        else:
            assert "transfer-encoding" not in stream.headers and "content-length" not in stream.headers
        engine.start(container)
        stream.send(b"ping\n")
        stream.end_input()
        assert demux(stream.read_all()) == (b"ping\n", b"")
    assert engine.wait(container) == 0


@pytest.mark.operation(*RUN)
@pytest.mark.since("1.42")
def test_content_type_with_a_terminal(engine: Engine) -> None:
    container = engine.create("cat", Tty=True, **STDIN)
    with attach(engine, container) as stream:
        assert stream.headers["content-type"] == "application/vnd.docker.raw-stream"


@pytest.mark.operation(*RUN)
def test_frames_keep_the_streams_apart(engine: Engine) -> None:
    container = engine.create("sh", "-c", "echo out; echo err >&2; printf last")
    with attach(engine, container, stream=True, stdout=True, stderr=True) as stream:
        engine.start(container)
        data = stream.read_all()
    assert {kind for kind, _ in frames(data)} == {1, 2}
    assert demux(data) == (b"out\nlast", b"err\n")


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize(("which", "expected"), [("stdout", (b"out\n", b"")), ("stderr", (b"", b"err\n"))])
def test_one_stream_only(engine: Engine, which: str, expected: tuple[bytes, bytes]) -> None:
    container = engine.create("sh", "-c", "echo out; echo err >&2")
    with attach(engine, container, stream=True, **{which: True}) as stream:
        engine.start(container)
        assert demux(stream.read_all()) == expected


@pytest.mark.operation(*RUN)
def test_half_close_does_not_cut_output(engine: Engine) -> None:
    """Output that comes after stdin has ended arrives."""
    container = engine.create(
        "sh", "-c", "cat >/dev/null; sleep 0.3; echo after; sleep 0.3; echo more", **STDIN
    )
    with attach(engine, container) as stream:
        engine.start(container)
        stream.send(b"x")
        stream.end_input()
        assert demux(stream.read_all()) == (b"after\nmore\n", b"")


@pytest.mark.operation(*RUN)
def test_large_binary_both_ways(engine: Engine) -> None:
    data = noise(10 << 20)
    container = engine.create("cat", **STDIN)
    with attach(engine, container) as stream:
        engine.start(container)

        def feed() -> None:
            stream.send(data)
            stream.end_input()

        feeder = threading.Thread(target=feed)
        feeder.start()
        out, err = demux(stream.read_all())
        feeder.join()
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    assert err == b""


@pytest.mark.operation(*RUN)
def test_large_binary_by_cli(engine: Engine, cli: Cli) -> None:
    data = noise(10 << 20)
    done = cli("run", "--rm", "-i", engine.image, "cat", stdin=data)
    assert hashlib.sha256(done.raw_out).digest() == hashlib.sha256(data).digest()


@pytest.mark.operation(*RUN)
def test_stdin_by_cli(engine: Engine, cli: Cli) -> None:
    assert cli("run", "--rm", "-i", engine.image, "cat", stdin=b"").raw_out == b""
    assert (
        cli(
            "run", "--rm", "-i", engine.image, "sh", "-c", "cat; exit 3", stdin=b"\x00\xff\n", check=False
        ).raw_out
        == b"\x00\xff\n"
    )
    # Without -i nothing reaches the program.
    assert cli("run", "--rm", engine.image, "cat", stdin=b"unseen").raw_out == b""


@pytest.mark.operation(*RUN)
def test_slow_reader_loses_nothing(engine: Engine) -> None:
    """The program waits for a client that does not read; all arrives when it does."""
    container = engine.create("sh", "-c", "dd if=/dev/zero bs=64k count=128 2>/dev/null; echo done >&2")
    with attach(engine, container, stream=True, stdout=True, stderr=True) as stream:
        engine.start(container)
        until(lambda: engine.state(container)["Running"] or engine.state(container)["Status"] == "exited")
        out, err = demux(stream.read_all())
    assert (len(out), err) == (128 << 16, b"done\n")
    assert not out.strip(b"\0")


@pytest.mark.operation(ATTACH)
def test_attach_to_the_running_with_logs(engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo early; while [ ! -e /go ]; do sleep 0.05; done; echo late")
    until(lambda: "early" in engine.logs(container)[0])
    with attach(engine, container, logs=True, stream=True, stdout=True) as stream:
        engine.exec(container, "touch", "/go")
        assert demux(stream.read_all())[0] == b"early\nlate\n"


@pytest.mark.operation(ATTACH)
def test_attach_without_stream_gives_the_logs(engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo out; echo err >&2")
    engine.wait(container)
    with attach(engine, container, logs=True, stdout=True, stderr=True) as stream:
        assert demux(stream.read_all()) == (b"out\n", b"err\n")


@pytest.mark.operation(ATTACH)
def test_two_clients_see_the_same(engine: Engine) -> None:
    container = engine.create("sh", "-c", "read x; echo $x; echo $x >&2", **STDIN)
    with (
        attach(engine, container) as first,
        attach(engine, container, stream=True, stdout=True, stderr=True) as second,
    ):
        engine.start(container)
        first.send(b"hello\n")
        assert demux(first.read_all()) == (b"hello\n", b"hello\n")
        assert demux(second.read_all()) == (b"hello\n", b"hello\n")


@pytest.mark.operation(ATTACH)
def test_many_clients_see_the_same(engine: Engine) -> None:
    """More than a pipe holds, to each of thirty."""
    script = "read x; seq 1 200000; echo end >&2"
    container = engine.create("sh", "-c", script, **STDIN)
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(attach(engine, container, stream=True, stdout=True, stderr=True))
            for _ in range(30)
        ]
        first = stack.enter_context(attach(engine, container))
        engine.start(container)
        first.send(b"go\n")
        expected = "".join(f"{number}\n" for number in range(1, 200001)).encode()
        with ThreadPoolExecutor(len(streams) + 1) as pool:  # at once: who does not read holds all others
            for answer in pool.map(lambda stream: stream.read_all(), [first, *streams]):
                assert demux(answer) == (expected, b"end\n")


@pytest.mark.operation(ATTACH)
def test_stdin_stays_open_without_stdin_once(engine: Engine) -> None:
    """The end of one client's input is not the end of the program's."""
    config = {**STDIN, "StdinOnce": False}
    container = engine.create("sh", "-c", "while read x; do echo got $x; done; echo end", **config)
    with attach(engine, container) as stream:
        engine.start(container)
        stream.send(b"one\n")
        stream.read_until(b"got one\n")
        stream.end_input()
    until(lambda: "got one" in engine.logs(container)[0])
    with attach(engine, container) as stream:
        stream.send(b"two\n")
        stream.read_until(b"got two\n")
    assert engine.state(container)["Running"]
    assert "end" not in engine.logs(container)[0]


@pytest.mark.operation(ATTACH)
def test_vanished_client_does_not_stop_the_program(engine: Engine) -> None:
    container = engine.create("sh", "-c", "while :; do echo 0123456789abcdef; [ -e /stop ] && exit 5; done")
    stream = attach(engine, container, stream=True, stdout=True)
    engine.start(container)
    stream.read_until(b"0123456789abcdef\n")
    stream.close()
    engine.exec(container, "touch", "/stop")  # it may be killed with the container's end before its own
    assert engine.wait(container) == 5


@pytest.mark.operation(ATTACH)
def test_many_vanished_clients(engine: Engine) -> None:
    container = engine.create("cat", **{**STDIN, "StdinOnce": False})
    engine.start(container)
    for _ in range(50):
        attach(engine, container).close()
    with attach(engine, container) as stream:
        stream.send(b"still here\n")
        stream.read_until(b"still here\n")


@pytest.mark.operation(ATTACH)
def test_attach_errors(engine: Engine) -> None:
    with engine.wire.hijack("/containers/no-such/attach", stream=True, stdout=True) as stream:
        assert stream.status == 404
        assert b"No such container: no-such" in stream.read_all()
    paused = engine.sleeper()
    engine.wire.post(f"/containers/{paused}/pause", status=204)
    with engine.wire.hijack(f"/containers/{paused}/attach", stream=True, stdout=True) as stream:
        assert stream.status == 409
        assert b"is paused" in stream.read_all()


@pytest.mark.operation(*RUN)
def test_terminal_merges_and_is_a_terminal(engine: Engine) -> None:
    container = engine.create(
        "sh", "-c", "tty; stty size; echo err >&2", Tty=True, host={"ConsoleSize": [33, 99]}
    )
    with attach(engine, container, stream=True, stdout=True, stderr=True) as stream:
        engine.start(container)
        text = stream.read_all()
    lines = text.split(b"\r\n")
    assert lines[0].startswith(b"/dev/pts/") or lines[0] == b"/dev/console"
    assert b"err" in lines
    if engine.at_least("1.42"):
        assert lines[1] == b"33 99"


@pytest.mark.operation(*RUN)
def test_terminal_by_cli(engine: Engine, cli: Cli) -> None:
    with cli.terminal("run", "--rm", "-it", engine.image, "sh") as terminal:
        terminal.expect(b"# ")
        terminal.send(b"echo $((40+2)); tty\n")
        terminal.expect(b"42\r\n")
        terminal.expect(b"/dev/")
        terminal.expect(b"# ")
        terminal.send(b"exit 9\n")
        code, _ = terminal.finish()
    assert code == 9


@pytest.mark.operation(*RUN)
def test_interrupt_by_cli(engine: Engine, cli: Cli) -> None:
    """Control-C goes through the terminal to the program."""
    with cli.terminal(
        "run",
        "--rm",
        "-it",
        engine.image,
        "sh",
        "-c",
        "trap 'exit 33' INT; echo up; while :; do sleep 0.1; done",
    ) as terminal:
        terminal.expect(b"up")
        terminal.send(b"\x03")
        assert terminal.finish()[0] == 33


@pytest.mark.operation(*RUN, "ContainerResize")
def test_window_size_by_cli(engine: Engine, cli: Cli) -> None:
    """The size is the terminal's, also after it changes."""
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.1; done"
    with cli.terminal(
        "run", "--rm", "-it", engine.image, "sh", "-c", script, rows=30, columns=100
    ) as terminal:
        terminal.expect(b"up")
        terminal.resize_until(41, 123, b"41 123")


@pytest.mark.operation(*RUN)
def test_detach_keys_by_cli(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    with cli.terminal("run", "-it", "--name", name, engine.image, "sh") as terminal:
        terminal.expect(b"# ")
        terminal.send(b"\x10")
        terminal.send(b"\x11")
        code, _ = terminal.finish()
    assert code == 0
    assert engine.state(name)["Running"]
    with cli.terminal("attach", "--detach-keys", "ctrl-a,d", name) as terminal:
        terminal.send(b"echo back $((1+1))\n")
        terminal.expect(b"back 2")
        terminal.send(b"\x01d")
        terminal.finish()
    assert engine.state(name)["Running"]


@pytest.mark.operation(ATTACH)
def test_attach_by_cli(engine: Engine, cli: Cli) -> None:
    container = engine.run("sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; echo late; exit 8")
    with cli.popen("attach", "--no-stdin", container, stdin=subprocess.DEVNULL) as process:
        # The program may go on when the client is attached; that is not told, so give it a container's time.
        first = engine.create("true")
        engine.start(first)
        engine.wait(first)
        engine.exec(container, "touch", "/go")
        out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == (b"late\n", 8)


@pytest.mark.operation(ATTACH, "ContainerKill")
def test_signals_are_passed_on_by_cli(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    script = "trap 'echo term; exit 44' TERM; echo up; while :; do sleep 0.1; done"
    with cli.popen(
        "run", "--name", name, engine.image, "sh", "-c", script, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 44


@pytest.mark.operation(*RUN)
def test_start_attached_by_cli(engine: Engine, cli: Cli) -> None:
    container = cli.text("create", "-i", engine.image, "sh", "-c", "cat; exit 3")
    done = cli("start", "-ai", container, stdin=b"fed\n", check=False)
    assert (done.code, done.out) == (3, "fed\n")


@pytest.mark.operation("ContainerResize")
def test_resize(engine: Engine) -> None:
    container = engine.create(
        "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; stty size", Tty=True, OpenStdin=True
    )
    with attach(engine, container) as stream:
        engine.start(container)
        engine.wire.post(f"/containers/{container}/resize", status=200, h=55, w=111)
        engine.exec(container, "touch", "/go")
        assert b"55 111" in stream.read_all()
    assert engine.wire.request("POST", f"/containers/{container}/resize", h=1, w=1).status == 409
    assert engine.wire.request("POST", f"/containers/{container}/resize", h="x", w=1).status == 400

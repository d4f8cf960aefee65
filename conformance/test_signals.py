"""Signals: their forms, how a container is told to stop, what an init does, and who passes them on."""

import re
import signal
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

TRAP = "trap 'echo got; exit 7' {0}; echo ready; while :; do sleep 0.05; done"


def trapping(engine: Engine, name: str, **config: Any) -> str:
    """A container that ends with 7 when that signal comes; ready when this returns."""
    container = engine.run("sh", "-c", TRAP.format(name), **config)
    until(lambda: engine.logs(container)[0] == "ready\n")
    return container


@pytest.mark.operation("ContainerKill")
@pytest.mark.parametrize("form", ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"])
def test_forms(engine: Engine, form: str) -> None:
    container = trapping(engine, "USR1")
    engine.wire.post(f"/containers/{container}/kill", status=204, signal=form)
    assert engine.wait(container) == 7


@pytest.mark.operation("ContainerKill")
@pytest.mark.parametrize("form", ["SIGRTMIN+3", "RTMIN+3", "rtmin+3", "37"])
def test_realtime(engine: Engine, form: str) -> None:
    container = trapping(engine, "37")
    engine.wire.post(f"/containers/{container}/kill", status=204, signal=form)
    assert engine.wait(container) == 7


@pytest.mark.operation("ContainerKill")
@pytest.mark.parametrize("form", ["NOPE", "0", "-1", "SIGRTMIN+99", "KILL "])
def test_bad_forms(engine: Engine, box: str, form: str) -> None:
    answer = engine.wire.request("POST", f"/containers/{box}/kill", signal=form)
    assert answer.status in {400, 500}
    assert engine.state(box)["Running"]


@pytest.mark.operation("ContainerStop", "ContainerCreate")
@pytest.mark.parametrize("form", ["SIGRTMIN+3", "QUIT", "12"])
def test_stop_signal(engine: Engine, form: str) -> None:
    number = {"SIGRTMIN+3": "37", "QUIT": "QUIT", "12": "USR2"}[form]
    container = trapping(engine, number, StopSignal=form)
    engine.wire.post(f"/containers/{container}/stop", status=204, t=50)
    assert engine.state(container)["ExitCode"] == 7
    assert engine.inspect(container)["Config"]["StopSignal"] == form


@pytest.mark.operation("ContainerCreate")
def test_bad_stop_signal(engine: Engine) -> None:
    body = {"Image": engine.image, "StopSignal": "NOPE"}
    answer = engine.wire.request("POST", "/containers/create", body)
    assert answer.status == 400 and "NOPE" in answer.message


@pytest.mark.operation("ContainerStop")
def test_without_a_timeout(engine: Engine) -> None:
    """-1 waits for ever: the program is not killed however long it takes."""
    script = "trap 'sleep 2; exit 6' TERM; echo ready; while :; do sleep 0.05; done"
    container = engine.run("sh", "-c", script, StopTimeout=1)
    until(lambda: engine.logs(container)[0] == "ready\n")
    engine.wire.post(f"/containers/{container}/stop", status=204, t=-1)
    assert engine.state(container)["ExitCode"] == 6


@pytest.mark.operation("ContainerStop")
def test_timeout_of_the_container(engine: Engine) -> None:
    container = engine.run("sh", "-c", "trap '' TERM; echo ready; sleep 1000", StopTimeout=1)
    until(lambda: engine.logs(container)[0] == "ready\n")
    engine.wire.post(f"/containers/{container}/stop", status=204)
    assert engine.state(container)["ExitCode"] == 137


@pytest.mark.operation("ContainerCreate", "ContainerStop")
def test_init(engine: Engine) -> None:
    """With an init, pid 1 reaps orphans and passes signals on; a shell without one does neither."""
    script = "trap 'exit 8' TERM; (sleep 0.1 & ) ; echo ready; while :; do sleep 0.05; done"
    container = engine.run("sh", "-c", script, host={"Init": True})
    until(lambda: engine.logs(container)[0] == "ready\n")
    first = engine.exec(container, "cat", "/proc/1/cmdline").out.split("\0")
    assert re.search(r"init|tini", first[0]) and first[1:5] == ["--", "sh", "-c", script]
    assert engine.exec(container, "readlink", "/proc/1/exe").out.strip().endswith(("init", "tini"))

    def zombies() -> str:
        # Whatever an exec leaves behind is given to pid 1, too.
        return engine.exec(container, "sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status").out

    engine.exec(container, "sh", "-c", "sleep 0.1 & sleep 0.1 & exec true")
    until(lambda: zombies() == "")
    engine.wire.post(f"/containers/{container}/stop", status=204, t=50)
    assert engine.state(container)["ExitCode"] == 8
    assert engine.inspect(container)["HostConfig"]["Init"] is True


@pytest.mark.operation("ContainerAttach")
def test_passed_on_by_cli(engine: Engine, cli: Cli) -> None:
    """`--sig-proxy`: what the client gets, the program gets."""
    container = trapping(engine, "HUP")
    with cli.popen("attach", "--no-stdin", container) as process:
        until(lambda: _attached(engine, container))
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 7
        assert process.stdout and b"got\n" in process.stdout.read()


@pytest.mark.operation("ContainerAttach")
def test_not_passed_on_by_cli(engine: Engine, cli: Cli) -> None:
    """`--sig-proxy=false`: the signal ends the client, and the program never hears of it."""
    container = trapping(engine, "HUP")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the client would ignore it, too
    try:
        with cli.popen("attach", "--no-stdin", "--sig-proxy=false", container) as process:
            try:
                until(lambda: _attached(engine, container))
                process.send_signal(signal.SIGHUP)
                assert process.wait(30) == -signal.SIGHUP
            finally:
                process.kill()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert engine.state(container)["Running"]
    assert "got" not in engine.logs(container)[0]


def _attached(engine: Engine, container: str) -> bool:
    """Whether somebody has attached so far."""
    from conformance.test_events import now, past

    return bool(past(engine, now(engine) - 3600, container=[container], event=["attach"]))

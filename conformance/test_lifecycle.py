"""create, start, wait, stop, kill, restart, pause, rename, rm: what a container's life looks like."""

import threading
import time

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until


def never(text: str) -> bool:
    return text == "0001-01-01T00:00:00Z"


@pytest.mark.operation("ContainerCreate", "ContainerInspect")
def test_created(engine: Engine) -> None:
    answer = engine.wire.post("/containers/create", {"Image": engine.image}, status=201)
    found = answer.json()
    assert len(found["Id"]) == 64 and set(found["Id"]) <= set("0123456789abcdef")
    assert found["Warnings"] == []
    state = engine.state(found["Id"])
    assert state["Status"] == "created"
    assert (state["Running"], state["Paused"], state["Restarting"], state["Dead"]) == (False,) * 4
    assert (state["Pid"], state["ExitCode"], state["Error"]) == (0, 0, "")
    assert never(state["StartedAt"]) and never(state["FinishedAt"])
    name = engine.inspect(found["Id"])["Name"]
    adjective, _, surname = name.removeprefix("/").partition("_")
    assert adjective.isalpha() and surname.rstrip("0123456789").isalpha(), name


@pytest.mark.operation("ContainerStart", "ContainerWait", "ContainerInspect")
def test_run_to_the_end(engine: Engine) -> None:
    container = engine.create("sh", "-c", "exit 7")
    assert engine.wire.request("POST", f"/containers/{container}/start").body == b""
    assert engine.wait(container) == 7
    state = engine.state(container)
    assert (state["Status"], state["Running"], state["ExitCode"], state["Pid"]) == ("exited", False, 7, 0)
    assert not never(state["StartedAt"]) and not never(state["FinishedAt"])
    assert state["OOMKilled"] is False


@pytest.mark.operation("ContainerStart", "ContainerInspect")
def test_running(engine: Engine) -> None:
    container = engine.sleeper()
    state = engine.state(container)
    assert (state["Status"], state["Running"], state["Paused"]) == ("running", True, False)
    assert state["Pid"] > 0 and never(state["FinishedAt"])


@pytest.mark.operation("ContainerStart")
def test_start_of_the_running_is_not_modified(engine: Engine) -> None:
    container = engine.sleeper()
    before = engine.state(container)["StartedAt"]
    answer = engine.wire.post(f"/containers/{container}/start", status=304)
    assert answer.body == b""
    assert engine.state(container)["StartedAt"] == before


@pytest.mark.operation("ContainerStart")
def test_start_again_keeps_files(engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo x >>/n; wc -l </n")
    engine.wait(container)
    engine.start(container)
    engine.wait(container)
    assert engine.logs(container)[0] == "1\n2\n"


@pytest.mark.operation("ContainerStop")
def test_stop_sends_sigterm(engine: Engine) -> None:
    container = engine.run("sh", "-c", "trap 'echo term; exit 15' TERM; echo up; while :; do sleep 0.1; done")
    until(lambda: "up" in engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/stop", status=204)
    assert engine.state(container)["ExitCode"] == 15
    assert engine.logs(container)[0] == "up\nterm\n"
    assert engine.wire.post(f"/containers/{container}/stop", status=304).body == b""


@pytest.mark.operation("ContainerStop")
def test_stop_kills_after_the_timeout(engine: Engine) -> None:
    container = engine.sleeper()  # sleep as PID 1 does not listen to SIGTERM
    start = time.monotonic()
    engine.wire.post(f"/containers/{container}/stop", status=204, t=1)
    assert time.monotonic() - start >= 0.9
    state = engine.state(container)
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)


@pytest.mark.operation("ContainerStop", "ContainerCreate")
def test_stop_signal_and_timeout_of_the_container(engine: Engine) -> None:
    script = "trap 'exit 11' USR1; echo up; while :; do sleep 0.1; done"
    container = engine.run("sh", "-c", script, StopSignal="SIGUSR1", StopTimeout=20)
    until(lambda: "up" in engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/stop", status=204)
    assert engine.state(container)["ExitCode"] == 11


@pytest.mark.operation("ContainerStop")
@pytest.mark.since("1.42")
def test_stop_with_another_signal(engine: Engine) -> None:
    container = engine.run("sh", "-c", "trap 'exit 12' USR2; echo up; while :; do sleep 0.1; done")
    until(lambda: "up" in engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/stop", status=204, signal="SIGUSR2")
    assert engine.state(container)["ExitCode"] == 12


@pytest.mark.operation("ContainerKill")
@pytest.mark.parametrize(("signal", "code"), [("", 137), ("KILL", 137), ("SIGKILL", 137), ("9", 137)])
def test_kill(engine: Engine, signal: str, code: int) -> None:
    container = engine.sleeper()
    query = {"signal": signal} if signal else {}
    engine.wire.post(f"/containers/{container}/kill", status=204, **query)
    assert engine.wait(container) == code


@pytest.mark.operation("ContainerKill")
def test_kill_with_a_handled_signal(engine: Engine) -> None:
    container = engine.run("sh", "-c", "trap 'echo hup' HUP; echo up; while :; do sleep 0.1; done")
    until(lambda: "up" in engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/kill", status=204, signal="SIGHUP")
    until(lambda: "hup" in engine.logs(container)[0])
    assert engine.state(container)["Running"] is True


@pytest.mark.operation("ContainerKill")
def test_kill_errors(engine: Engine) -> None:
    container = engine.create("true")
    answer = engine.wire.post(f"/containers/{container}/kill", status=409)
    assert "is not running" in answer.message and container in answer.message
    running = engine.sleeper()
    answer = engine.wire.request("POST", f"/containers/{running}/kill", signal="NOPE")
    assert answer.status == 400
    assert answer.message.lower().endswith("invalid signal: nope")
    assert engine.state(running)["Running"] is True


@pytest.mark.operation("ContainerRestart")
def test_restart(engine: Engine) -> None:
    container = engine.sleeper()
    before = engine.state(container)
    engine.wire.post(f"/containers/{container}/restart", status=204, t=0)
    after = engine.state(container)
    assert after["Running"] and after["StartedAt"] > before["StartedAt"] and after["Pid"] != before["Pid"]
    assert engine.inspect(container)["RestartCount"] == 0


@pytest.mark.operation("ContainerRestart")
def test_restart_starts_the_stopped(engine: Engine) -> None:
    container = engine.create("sleep", "1000")
    engine.wire.post(f"/containers/{container}/restart", status=204, t=0)
    assert engine.state(container)["Running"]


@pytest.mark.operation("ContainerPause", "ContainerUnpause")
def test_pause(engine: Engine) -> None:
    container = engine.run("sh", "-c", "while :; do echo x; sleep 0.02; done")
    until(lambda: engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/pause", status=204)
    state = engine.state(container)
    assert (state["Status"], state["Paused"], state["Running"]) == ("paused", True, True)
    # What was written before may still be on its way into the log: it must come to rest.
    until(lambda: _quiet(engine, container))
    answer = engine.wire.post(f"/containers/{container}/pause", status=409)
    assert answer.message.lower() == f"container {container} is already paused"
    answer = engine.wire.post(f"/containers/{container}/exec", {"Cmd": ["true"]}, status=409)
    assert "is paused" in answer.message
    seen = len(engine.logs(container)[0])
    engine.wire.post(f"/containers/{container}/unpause", status=204)
    assert engine.state(container)["Status"] == "running"
    until(lambda: len(engine.logs(container)[0]) > seen)
    answer = engine.wire.post(f"/containers/{container}/unpause", status=500)
    assert answer.message.lower() == f"container {container} is not paused"


def _quiet(engine: Engine, container: str) -> bool:
    before = engine.logs(container)
    time.sleep(0.2)
    return engine.logs(container) == before


@pytest.mark.operation("ContainerPause", "ContainerKill")
def test_kill_of_the_paused(engine: Engine) -> None:
    container = engine.sleeper()
    engine.wire.post(f"/containers/{container}/pause", status=204)
    engine.wire.post(f"/containers/{container}/kill", status=204)
    assert engine.wait(container) == 137
    assert engine.state(container)["Status"] == "exited"


@pytest.mark.operation("ContainerPause")
def test_pause_needs_a_running_container(engine: Engine) -> None:
    container = engine.create("true")
    answer = engine.wire.post(f"/containers/{container}/pause", status=409)
    assert answer.message in {
        f"Container {container} is not running",
        f"container {container} is not running",
    }


@pytest.mark.operation("ContainerStart")
def test_a_start_takes_no_body(engine: Engine) -> None:
    container = engine.create("true")
    # All in one write: an engine that refuses it may close the connection at once.
    head = f"POST /containers/{container}/start HTTP/1.1\r\nHost: d\r\nContent-Length: 8\r\n"
    with engine.wire.connect() as sock:
        sock.sendall(head.encode() + b'Connection: close\r\n\r\n{"a": 1}')
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"starting container with non-empty request body was deprecated since API v1.22" in answer
    # What is too short to say anything is none.
    assert engine.wire.request("POST", f"/containers/{container}/start", {}).status == 204


@pytest.mark.operation("ContainerRename")
@pytest.mark.since("1.44")
def test_names_after_a_rename(engine: Engine) -> None:
    container, new = engine.sleeper(Hostname="here"), engine.name("new")
    engine.wire.post(f"/containers/{container}/rename", status=204, name=new)
    found = engine.inspect(new)["NetworkSettings"]["Networks"]["bridge"]["DNSNames"]
    assert found == [new, container[:12], "here"]


@pytest.mark.operation("ContainerRename")
def test_rename(engine: Engine) -> None:
    old, new = engine.name("old"), engine.name("new")
    container = engine.sleeper(name=old)
    other = engine.name("other")
    engine.create("true", name=other)
    engine.wire.post(f"/containers/{old}/rename", status=204, name=new)
    assert engine.inspect(new)["Id"] == container
    assert engine.inspect(new)["Name"] == "/" + new
    assert engine.wire.request("GET", f"/containers/{old}/json").status == 404
    answer = engine.wire.post(f"/containers/{new}/rename", status=409, name=other)
    assert f'The container name "/{other}" is already in use by container' in answer.message
    engine.create("true", name=old)


@pytest.mark.operation("ContainerDelete")
def test_rm(engine: Engine) -> None:
    container = engine.sleeper()
    answer = engine.wire.request("DELETE", f"/containers/{container}")
    assert answer.status == 409
    shown = engine.pick({"1.24": container, "1.44": engine.inspect(container)["Name"], "1.48": container})
    assert "container" in answer.message and shown in answer.message and "running" in answer.message
    engine.wire.post(f"/containers/{container}/kill", status=204)
    engine.wait(container)
    answer = engine.wire.request("DELETE", f"/containers/{container}")
    assert (answer.status, answer.body) == (204, b"")
    answer = engine.wire.request("DELETE", f"/containers/{container}")
    assert (answer.status, answer.message) == (404, f"No such container: {container}")


@pytest.mark.operation("ContainerDelete")
def test_rm_force(engine: Engine) -> None:
    container = engine.sleeper(name=engine.name("force"))
    assert engine.wire.request("DELETE", f"/containers/{container}", force=True).status == 204
    assert engine.wire.request("GET", f"/containers/{container}/json").status == 404


@pytest.mark.operation("ContainerDelete")
def test_rm_of_the_paused(engine: Engine) -> None:
    container = engine.sleeper()
    engine.wire.post(f"/containers/{container}/pause", status=204)
    assert engine.wire.request("DELETE", f"/containers/{container}").status == 409
    assert engine.wire.request("DELETE", f"/containers/{container}", force=True).status == 204


@pytest.mark.operation("ContainerCreate")
def test_names(engine: Engine) -> None:
    name = engine.name()
    container = engine.create("true", name=name)
    answer = engine.wire.post("/containers/create", {"Image": engine.image}, status=409, name=name)
    assert answer.message == (
        f'Conflict. The container name "/{name}" is already in use by container "{container}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    answer = engine.wire.post("/containers/create", {"Image": engine.image}, status=400, name="a b")
    assert answer.message == "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    assert engine.inspect(container[:12])["Id"] == container


@pytest.mark.operation("ContainerCreate", "ContainerInspect")
def test_a_name_goes_before_an_id(engine: Engine) -> None:
    first = engine.create("true")
    second = engine.create("true", name=first[:12])
    assert engine.inspect(first[:12])["Id"] == second


@pytest.mark.operation("ContainerStart", "ContainerDelete")
def test_many_at_once(engine: Engine) -> None:
    """Ten clients at the same time, each with a container of its own."""
    codes: dict[int, int] = {}

    def work(i: int) -> None:
        container = engine.run("sh", "-c", f"exit {i}")
        codes[i] = engine.wait(container)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {i: i for i in range(10)}


@pytest.mark.operation(
    "ContainerCreate", "ContainerStart", "ContainerStop", "ContainerKill", "ContainerRestart"
)
def test_verbs_by_cli(engine: Engine, cli: Cli) -> None:
    name, new = engine.name(), engine.name()
    container = cli.text(
        "create", "--name", name, engine.image, "sh", "-c", "trap 'exit 1' TERM; while :; do sleep 0.1; done"
    )
    assert container == engine.inspect(name)["Id"]
    assert cli.text("start", name) == name
    assert cli.text("pause", name) == name
    assert cli.text("unpause", name) == name
    assert cli.text("restart", "-t", "0", name) == name
    assert cli.text("rename", name, new) == ""
    assert cli.text("kill", "-s", "KILL", new) == new
    assert cli.text("wait", new) == "137"
    assert cli.text("start", container[:12]) == container[:12]
    assert cli.text("stop", "-t", "1", new) == new
    assert cli.text("rm", new) == new
    failed = cli("rm", new, check=False)
    assert (failed.code, "No such container: " + new in failed.err) == (1, True)


@pytest.mark.operation("ContainerPrune")
def test_prune(engine: Engine) -> None:
    ended = engine.run("true", Labels={"prune": engine.run_id})
    engine.wait(ended)
    running = engine.sleeper(Labels={"prune": engine.run_id})
    answer = engine.wire.post("/containers/prune", status=200, filters={"label": [f"prune={engine.run_id}"]})
    assert answer.json()["ContainersDeleted"] == [ended]
    assert answer.json()["SpaceReclaimed"] >= 0
    assert engine.state(running)["Running"]

"""Restart policies: who is started again, how it is counted, and what can be done while it waits."""

from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until

ALWAYS = {"RestartPolicy": {"Name": "always"}}


def policy(name: str, count: int = 0) -> dict[str, Any]:
    return {"RestartPolicy": {"Name": name, "MaximumRetryCount": count}}


def waiting(engine: Engine) -> str:
    """A container that waits for its next start, long enough to be looked at (3.2 s at the sixth try)."""
    container = engine.run("sh", "-c", "exit 3", host=ALWAYS)
    until(lambda: engine.inspect(container)["RestartCount"] >= 6)
    until(lambda: engine.state(container)["Status"] == "restarting")
    return container


@pytest.mark.operation("ContainerInspect", "ContainerList")
def test_waiting_for_the_next_start(engine: Engine) -> None:
    container = waiting(engine)
    state = engine.state(container)
    assert (state["Status"], state["Running"], state["Restarting"]) == ("restarting", True, True)
    assert (state["Pid"], state["ExitCode"]) == (0, 3)
    (entry,) = engine.wire.get("/containers/json", filters={"id": [container], "status": ["restarting"]})
    assert entry["State"] == "restarting"
    assert entry["Status"].startswith("Restarting (3) ") and entry["Status"].endswith(" ago")
    assert engine.wire.get("/containers/json", filters={"id": [container], "status": ["running"]}) == []


@pytest.mark.operation(
    "ContainerPause", "ContainerExec", "ContainerTop", "ContainerAttach", "ContainerStart", "ContainerDelete"
)
def test_what_cannot_be_done_while_it_waits(engine: Engine) -> None:
    container = waiting(engine)
    text = f"Container {container} is restarting, wait until the container is running"
    for method, path, body in (
        ("POST", "pause", None),
        ("POST", "exec", {"Cmd": ["true"]}),
        ("GET", "top", None),
    ):
        answer = engine.wire.request(method, f"/containers/{container}/{path}", body)
        assert (answer.status, answer.message) == (409, text), path
    answer = engine.wire.request("POST", f"/containers/{container}/attach", stream=True)
    assert b"is restarting, wait until the container is running" in answer.body
    assert engine.wire.request("POST", f"/containers/{container}/start").status == 304
    answer = engine.wire.request("DELETE", f"/containers/{container}")
    assert answer.status == 409 and "restarting" in answer.message
    assert engine.state(container)["Status"] in {"restarting", "running"}


@pytest.mark.operation("ContainerStop")
def test_stop_while_it_waits(engine: Engine) -> None:
    container = waiting(engine)
    engine.wire.post(f"/containers/{container}/stop", status=204)
    state = engine.state(container)
    assert (state["Status"], state["Restarting"]) == ("exited", False)
    answer = engine.wire.request("POST", f"/containers/{container}/stop")
    assert answer.status == 304
    # Started by hand it counts from the beginning, and is started again by its policy.
    engine.start(container)
    until(lambda: 1 <= engine.inspect(container)["RestartCount"] <= 5)


@pytest.mark.operation("ContainerKill", "ContainerDelete")
def test_kill_and_removal_while_it_waits(engine: Engine) -> None:
    container = waiting(engine)
    engine.wire.post(f"/containers/{container}/kill", status=204)
    until(lambda: engine.state(container)["Status"] == "exited")
    other = waiting(engine)
    engine.wire.request("DELETE", f"/containers/{other}", force=True)
    assert engine.wire.request("GET", f"/containers/{other}/json").status == 404


@pytest.mark.operation("ContainerStart")
@pytest.mark.parametrize(
    ("name", "count", "code", "restarts"),
    [("no", 0, 1, 0), ("on-failure", 0, 0, 0), ("on-failure", 3, 1, 3), ("on-failure", 1, 0, 0)],
)
def test_how_often(engine: Engine, name: str, count: int, code: int, restarts: int) -> None:
    script = f"echo x >> /runs; exit {code}"
    container = engine.run("sh", "-c", script, host=policy(name, count))
    until(
        lambda: (
            engine.inspect(container)["RestartCount"] == restarts
            and engine.state(container)["Status"] == "exited"
        )
    )
    assert engine.state(container)["ExitCode"] == code
    assert engine.inspect(container)["HostConfig"]["RestartPolicy"] == {
        "Name": name,
        "MaximumRetryCount": count,
    }


@pytest.mark.operation("ContainerStop")
@pytest.mark.parametrize("name", ["always", "unless-stopped", "on-failure"])
def test_stop_ends_it(engine: Engine, name: str) -> None:
    """Whatever the policy: who stops a container does not want it back."""
    container = engine.sleeper(host=policy(name))
    engine.wire.post(f"/containers/{container}/stop", status=204, t=0)
    assert engine.state(container)["Status"] == "exited"
    assert engine.inspect(container)["RestartCount"] == 0


@pytest.mark.operation("ContainerKill")
def test_killed_from_inside(engine: Engine) -> None:
    """A program that dies of a signal that the engine did not send is started again."""
    container = engine.run("sh", "-c", "kill -TERM $$; exit 9", host=policy("on-failure", 1))
    until(lambda: engine.inspect(container)["RestartCount"] == 1)


@pytest.mark.operation("ContainerRestart")
def test_restart_by_hand_does_not_count(engine: Engine) -> None:
    container = engine.sleeper(host=ALWAYS)
    engine.wire.post(f"/containers/{container}/restart", status=204, t=0)
    assert engine.inspect(container)["RestartCount"] == 0
    assert engine.state(container)["Status"] == "running"


@pytest.mark.operation("ContainerWait", "ContainerLogs")
def test_wait_and_logs_over_restarts(engine: Engine) -> None:
    """A wait ends with each run, and so does following the log; the log itself has all of them."""
    gate = "until test -e /go; do sleep 0.05; done; echo run; exit 4"
    container = engine.run("sh", "-c", gate, host=policy("on-failure", 2))
    with (
        engine.wire.open("POST", f"/containers/{container}/wait") as waited,
        engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as followed,
    ):
        engine.exec(container, "touch", "/go")
        assert b'"StatusCode":4' in waited.read()
        assert followed.read().count(b"run\n") >= 1
    until(lambda: engine.state(container)["Status"] == "exited")
    assert engine.inspect(container)["RestartCount"] == 2
    assert engine.logs(container)[0] == "run\n" * 3


@pytest.mark.operation("ContainerLogs")
def test_logs_while_it_waits_have_an_end(engine: Engine) -> None:
    container = waiting(engine)
    with engine.wire.open("GET", f"/containers/{container}/logs", stdout=True, follow=True) as followed:
        assert followed.read() == b""
    assert engine.inspect(container)["RestartCount"] >= 6


@pytest.mark.operation("ContainerCreate")
def test_bad_policies(engine: Engine) -> None:
    def refused(**host: Any) -> str:
        body = {"Image": engine.image, "HostConfig": host}
        answer = engine.wire.request("POST", "/containers/create", body)
        assert answer.status == 400
        return answer.message

    text = "can't create 'AutoRemove' container with restart policy"
    assert refused(AutoRemove=True, **ALWAYS) == text
    assert "odd" in refused(**policy("odd"))
    assert "maximum retry count" in refused(**policy("always", 3))
    assert "maximum retry count cannot be negative" in refused(**policy("on-failure", -1))


@pytest.mark.operation("ContainerCreate")
def test_by_cli(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    cli("run", "-d", "--name", name, "--restart", "on-failure:2", engine.image, "sh", "-c", "exit 5")
    until(lambda: cli.text("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", name) == "2 exited")
    assert cli.text("wait", name) == "5"
    done = cli("run", "--rm", "--restart", "always", engine.image, "true", check=False)
    assert done.code == 125 and "--restart" in done.err

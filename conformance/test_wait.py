"""How containers end, and who is told: wait, exit codes, restart policies, automatic removal."""

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.until import until


@pytest.mark.operation("ContainerWait")
def test_wait_returns_at_once_when_ended(engine: Engine) -> None:
    container = engine.run("sh", "-c", "exit 3")
    engine.wait(container)
    assert engine.wait(container) == 3
    assert engine.wait(container, condition="not-running") == 3
    created = engine.create("true")
    assert engine.wait(created) == 0


@pytest.mark.operation("ContainerWait")
def test_wait_sends_headers_before_the_end(engine: Engine) -> None:
    """`docker run` waits for them before it starts the container."""
    container = engine.create("sh", "-c", "exit 5")
    with engine.wire.open("POST", f"/containers/{container}/wait", condition="next-exit") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        engine.start(container)
        assert b'"StatusCode":5' in response.read()


@pytest.mark.operation("ContainerWait")
def test_wait_of_clients_before_1_30(engine: Engine) -> None:
    """They get head and body in one, when it is over, and have no condition to choose."""
    container = engine.run("sh", "-c", "exit 7")
    answer = engine.wire.post(f"/containers/{container}/wait", status=200, version="1.29", condition="odd")
    assert "transfer-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.json()["StatusCode"] == 7


@pytest.mark.operation("ContainerStart", "ContainerWait")
def test_failed_start_with_rm(engine: Engine) -> None:
    """It is removed before the error comes, so `docker run --rm` need not be told that waiting failed."""
    container = engine.create("/nope", host={"AutoRemove": True})
    with engine.wire.open("POST", f"/containers/{container}/wait", condition="removed") as response:
        answer = engine.wire.request("POST", f"/containers/{container}/start")
        assert answer.status == 400 and "/nope" in answer.message
        assert engine.wire.request("GET", f"/containers/{container}/json").status == 404
        assert b'"StatusCode":127' in response.read()


@pytest.mark.operation("ContainerWait")
def test_wait_next_exit(engine: Engine) -> None:
    container = engine.run("sh", "-c", "exit 4")
    engine.wait(container)
    with engine.wire.open("POST", f"/containers/{container}/wait", condition="next-exit") as response:
        engine.start(container)
        assert b'"StatusCode":4' in response.read()


@pytest.mark.operation("ContainerWait")
def test_wait_removed(engine: Engine) -> None:
    container = engine.create("sh", "-c", "exit 6", host={"AutoRemove": True})
    with engine.wire.open("POST", f"/containers/{container}/wait", condition="removed") as response:
        engine.start(container)
        assert b'"StatusCode":6' in response.read()
    assert engine.wire.request("GET", f"/containers/{container}/json").status == 404


@pytest.mark.operation("ContainerWait")
def test_wait_removed_by_hand(engine: Engine) -> None:
    container = engine.run("sh", "-c", "exit 9")
    engine.wait(container)
    with engine.wire.open("POST", f"/containers/{container}/wait", condition="removed") as response:
        engine.remove(container)
        assert b'"StatusCode":9' in response.read()


@pytest.mark.operation("ContainerWait")
def test_wait_by_cli(engine: Engine, cli: Cli) -> None:
    first = engine.run("sh", "-c", "exit 2")
    second = engine.run("sh", "-c", "exit 0")
    assert cli.text("wait", first, second) == "2\n0"


@pytest.mark.operation("ContainerStart")
def test_auto_remove(engine: Engine) -> None:
    container = engine.run("true", host={"AutoRemove": True})
    until(lambda: engine.wire.request("GET", f"/containers/{container}/json").status == 404)


@pytest.mark.operation("ContainerStart", "ContainerInspect")
def test_restart_policy_on_failure(engine: Engine) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    container = engine.run("sh", "-c", "echo run; exit 1", host=policy)
    until(
        lambda: (
            engine.inspect(container)["RestartCount"] == 2 and engine.state(container)["Status"] == "exited"
        )
    )
    assert engine.logs(container)[0] == "run\n" * 3
    assert engine.state(container)["ExitCode"] == 1


@pytest.mark.operation("ContainerStart", "ContainerStop")
def test_restart_policy_always_until_stopped(engine: Engine) -> None:
    container = engine.run("sh", "-c", "echo run; sleep 0.05", host={"RestartPolicy": {"Name": "always"}})
    until(lambda: engine.inspect(container)["RestartCount"] >= 2)
    engine.wire.request("POST", f"/containers/{container}/stop", t=0)
    assert until(lambda: engine.state(container)["Status"] == "exited")
    count = engine.inspect(container)["RestartCount"]
    engine.sh("sleep 0.5")
    assert (engine.inspect(container)["RestartCount"], engine.state(container)["Status"]) == (count, "exited")


@pytest.mark.operation("ContainerStart")
def test_exit_codes(engine: Engine) -> None:
    """Of some 256, run in one shell each so that the engine's own handling of each is seen."""
    for code in (0, 1, 2, 63, 64, 124, 125, 126, 127, 128, 129, 137, 143, 254, 255):
        assert engine.ended("sh", "-c", f"exit {code}").code == code


@pytest.mark.operation("ContainerKill", "ContainerWait")
@pytest.mark.parametrize("signal", [1, 2, 3, 10, 15])
def test_ended_by_a_signal(engine: Engine, signal: int) -> None:
    """Under `--init`, so that a signal without a handler kills: 128 + n."""
    container = engine.sleeper(host={"Init": True})
    until(lambda: engine.exec(container, "pidof", "sleep").code == 0)
    engine.wire.post(f"/containers/{container}/kill", status=204, signal=str(signal))
    assert engine.wait(container) == 128 + signal

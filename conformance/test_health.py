"""Health checks: states, results, events, and what ps and inspect show of them."""

import json
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.test_events import now, past
from conformance.until import until

SECOND = 1_000_000_000
FAST = {"Interval": SECOND // 10, "Timeout": 20 * SECOND, "Retries": 1}
PROBE = "test -e /ok"


def checked(engine: Engine, script: str = PROBE, **check: Any) -> str:
    """A sleeper with a health check by shell."""
    return engine.sleeper(Healthcheck={**FAST, "Test": ["CMD-SHELL", script], **check})


def health(engine: Engine, container: str) -> Any:
    return engine.state(container)["Health"]


def becomes(engine: Engine, container: str, status: str) -> Any:
    """Wait for a status; returns the Health document."""
    return until(lambda: (h := health(engine, container))["Status"] == status and h, f"{status} {container}")


@pytest.mark.operation("ContainerInspect", "ContainerCreate")
def test_healthy_then_not_then_healthy(engine: Engine) -> None:
    since = now(engine)
    container = checked(engine, "test -e /bad && exit 7; echo fine")
    found = becomes(engine, container, "healthy")
    assert found["FailingStreak"] == 0
    entry = found["Log"][-1]
    assert (entry["ExitCode"], entry["Output"]) == (0, "fine\n")
    assert entry["Start"][:4] == entry["End"][:4] and entry["Start"] < entry["End"]
    engine.exec(container, "touch", "/bad")
    found = becomes(engine, container, "unhealthy")
    assert found["FailingStreak"] >= 1 and found["Log"][-1]["ExitCode"] == 7
    engine.exec(container, "rm", "/bad")
    found = becomes(engine, container, "healthy")
    assert found["FailingStreak"] == 0 and len(found["Log"]) <= 5
    until(lambda: len(past(engine, since, container=[container], event=["health_status"])) >= 3)
    events = past(engine, since, container=[container], event=["health_status"])
    # Only changes are told, however many probes there were.
    assert [e["Action"] for e in events] == [
        "health_status: healthy",
        "health_status: unhealthy",
        "health_status: healthy",
    ]


@pytest.mark.operation("ContainerInspect")
def test_five_results_are_kept(engine: Engine) -> None:
    container = checked(engine, "echo x >> /n; wc -l < /n")
    becomes(engine, container, "healthy")
    until(lambda: int(health(engine, container)["Log"][-1]["Output"]) > 6)
    outputs = health(engine, container)["Log"]
    numbers = [int(entry["Output"]) for entry in outputs]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


@pytest.mark.operation("SystemEvents")
def test_probes_are_execs_in_the_events(engine: Engine) -> None:
    since = now(engine)
    container = checked(engine, "echo x >&2")
    assert becomes(engine, container, "healthy")["Log"][0]["Output"] == "x\n"
    engine.wire.post(f"/containers/{container}/pause", status=204)
    events = [
        e
        for e in past(engine, since, container=[container], type=["container"])
        if e["Action"].startswith("exec")
    ]
    first = events[0]["Actor"]["Attributes"]["execID"]
    mine = [e for e in events if e["Actor"]["Attributes"]["execID"] == first]
    assert [e["Action"] for e in mine] == [
        "exec_create: /bin/sh -c echo x >&2",
        "exec_start: /bin/sh -c echo x >&2",
        "exec_die",
    ]
    assert mine[2]["Actor"]["Attributes"]["exitCode"] == "0"
    engine.wire.post(f"/containers/{container}/unpause", status=204)


@pytest.mark.operation("ContainerInspect")
def test_too_slow(engine: Engine) -> None:
    container = checked(engine, "sleep 1000", Timeout=SECOND)
    entry = becomes(engine, container, "unhealthy")["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (-1, "Health check exceeded timeout (1s)")
    # The probe does not stay.
    engine.wire.post(f"/containers/{container}/pause", status=204)
    engine.wire.post(f"/containers/{container}/unpause", status=204)


@pytest.mark.operation("ContainerInspect")
def test_long_output_is_cut(engine: Engine) -> None:
    container = checked(engine, "head -c 5000 /dev/zero | tr '\\0' x; exit 1")
    entry = becomes(engine, container, "unhealthy")["Log"][0]
    assert entry["Output"] == "x" * 4096 + "..."


@pytest.mark.operation("ContainerInspect")
def test_command_without_a_shell(engine: Engine) -> None:
    container = engine.sleeper(Healthcheck={**FAST, "Test": ["CMD", "echo", "$HOME a  b"]})
    assert becomes(engine, container, "healthy")["Log"][0]["Output"] == "$HOME a  b\n"


@pytest.mark.operation("ContainerInspect")
def test_command_that_is_missing(engine: Engine) -> None:
    container = engine.sleeper(Healthcheck={**FAST, "Test": ["CMD", "/nope"]})
    entry = becomes(engine, container, "unhealthy")["Log"][0]
    assert entry["ExitCode"] == -1 and "/nope" in entry["Output"]


@pytest.mark.operation("ContainerInspect")
def test_own_shell_user_and_environment(engine: Engine) -> None:
    container = engine.sleeper(
        Shell=["/bin/sh", "-ec"],
        User="1000:1000",
        WorkingDir="/home",
        Env=["MINE=7"],
        Healthcheck={**FAST, "Test": ["CMD-SHELL", "false; true"]},
    )
    assert becomes(engine, container, "unhealthy")["Log"][0]["ExitCode"] == 1
    container = engine.sleeper(
        User="1000:1000",
        WorkingDir="/home",
        Env=["MINE=7"],
        Healthcheck={**FAST, "Test": ["CMD-SHELL", "echo $(id -u) $PWD $MINE"]},
    )
    assert becomes(engine, container, "healthy")["Log"][0]["Output"] == "1000 /home 7\n"


@pytest.mark.operation("ContainerInspect")
def test_failures_before_the_retries_are_used_up(engine: Engine) -> None:
    container = checked(engine, Retries=1000)
    until(lambda: health(engine, container)["FailingStreak"] > 1)
    assert health(engine, container)["Status"] == "starting"


@pytest.mark.operation("ContainerInspect")
def test_start_period(engine: Engine) -> None:
    """Failures in it do not count; a success ends it."""
    container = checked(engine, StartPeriod=1000 * SECOND, StartInterval=SECOND // 10)
    until(lambda: len(health(engine, container)["Log"]) > 1)
    found = health(engine, container)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    engine.exec(container, "touch", "/ok")
    becomes(engine, container, "healthy")
    engine.exec(container, "rm", "/ok")
    becomes(engine, container, "unhealthy")


@pytest.mark.operation("ContainerInspect")
@pytest.mark.since("1.44")
def test_start_interval(engine: Engine) -> None:
    container = engine.sleeper(
        Healthcheck={
            "Test": ["CMD", "true"],
            "Interval": 1000 * SECOND,
            "StartPeriod": 1000 * SECOND,
            "StartInterval": SECOND // 10,
        }
    )
    becomes(engine, container, "healthy")


@pytest.mark.operation("ContainerInspect")
def test_none(engine: Engine) -> None:
    """`NONE` switches off what the image says."""
    image = engine.make_image("checked", Healthcheck={**FAST, "Test": ["CMD", "false"]})
    container = engine.sleeper(Image=image)
    becomes(engine, container, "unhealthy")
    container = engine.sleeper(Image=image, Healthcheck={"Test": ["NONE"]})
    assert "Health" not in engine.state(container)
    assert engine.inspect(container)["Config"]["Healthcheck"]["Test"] == ["NONE"]
    # Single values of the image's are kept when the others are given.
    container = engine.create("true", Image=image, Healthcheck={"Interval": 5 * SECOND})
    check = engine.inspect(container)["Config"]["Healthcheck"]
    assert (check["Test"], check["Interval"], check["Timeout"]) == (
        ["CMD", "false"],
        5 * SECOND,
        20 * SECOND,
    )


@pytest.mark.operation("ContainerPause", "ContainerUnpause")
def test_no_probes_while_paused(engine: Engine) -> None:
    container = checked(engine, "true")
    becomes(engine, container, "healthy")
    engine.wire.post(f"/containers/{container}/pause", status=204)
    assert health(engine, container)["Status"] == "unhealthy"
    engine.wire.post(f"/containers/{container}/unpause", status=204)
    becomes(engine, container, "healthy")


@pytest.mark.operation("ContainerStart")
def test_state_after_end_and_new_start(engine: Engine) -> None:
    container = checked(engine, "true", Interval=SECOND)
    becomes(engine, container, "healthy")
    engine.wire.post(f"/containers/{container}/kill", status=204)
    found = health(engine, container)
    assert found["Status"] == "unhealthy" and found["Log"]
    engine.start(container)
    # Old results are kept.
    assert health(engine, container)["Log"][0] == found["Log"][0]
    becomes(engine, container, "healthy")


@pytest.mark.operation("ContainerList")
def test_filter_and_status_text(engine: Engine) -> None:
    good = checked(engine, "true")
    bad = checked(engine, "false")
    new = checked(engine, "true", Interval=1000 * SECOND)
    without = engine.sleeper()
    becomes(engine, good, "healthy")
    becomes(engine, bad, "unhealthy")
    for status, container, text in (
        ("healthy", good, "(healthy)"),
        ("unhealthy", bad, "(unhealthy)"),
        ("starting", new, "(health: starting)"),
        ("none", without, ""),
    ):
        found = engine.wire.get(
            "/containers/json", filters={"health": [status], "label": [f"conformance.run={engine.run_id}"]}
        )
        assert container in {c["Id"] for c in found}
        assert not {good, bad, new, without} - {container} & {c["Id"] for c in found}
        (mine,) = [c for c in found if c["Id"] == container]
        assert mine["Status"].startswith("Up ") and mine["Status"].endswith(text)
        assert ("(" in mine["Status"]) == bool(text)
    answer = engine.wire.request("GET", "/containers/json", filters={"health": ["odd"]})
    assert answer.status == 400 and "odd" in answer.message


@pytest.mark.operation("ContainerCreate")
@pytest.mark.parametrize(
    ("check", "text"),
    [
        ({"Interval": 999_999}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": 1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": 1}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_bad_values(engine: Engine, check: dict[str, int], text: str) -> None:
    body = {"Image": engine.image, "Healthcheck": {"Test": ["CMD", "true"], **check}}
    answer = engine.wire.request("POST", "/containers/create", body)
    assert (answer.status, answer.message) == (400, text)


@pytest.mark.operation("ContainerCreate", "ContainerInspect")
def test_by_cli(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    cli(
        *("run", "-d", "--name", name, "--health-cmd", "echo out; exit 3", "--health-interval", "100ms"),
        *("--health-retries", "1", "--health-timeout", "20s", "--health-start-period", "1ms"),
        *(engine.image, "sleep", "1000"),
    )
    until(lambda: cli.text("inspect", "-f", "{{.State.Health.Status}}", name) == "unhealthy")
    shown = json.loads(cli.text("inspect", "-f", "{{json .State.Health.Log}}", name))
    assert (shown[-1]["ExitCode"], shown[-1]["Output"]) == (3, "out\n")
    status = cli.text(
        "ps", "--filter", "health=unhealthy", "--filter", f"name={name}", "--format", "{{.Status}}"
    )
    assert status.endswith("(unhealthy)")
    other = engine.name()
    cli("run", "-d", "--name", other, "--no-healthcheck", engine.image, "sleep", "1000")
    assert (
        cli.text("ps", "--filter", "health=none", "--filter", f"name={other}", "--format", "{{.Names}}")
        == other
    )

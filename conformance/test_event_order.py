"""One scripted life of a container, and every event of it in its order with its attributes.

The same script runs against any engine; what changed between releases is told by `Script.die`.
"""

from typing import Any

import pytest

from conformance.engine import Engine
from conformance.test_events import now
from conformance.until import until

EVENTS = "SystemEvents"
Line = tuple[str, str, dict[str, str]]

_VARIES = frozenset({"execDuration", "execID", "container", "conformance.run"})
"""Attributes whose values are new each time; execDuration came after 20.10."""


def recorded(engine: Engine, since: float, container: str, volume: str = "") -> list[Line]:
    """The events of a container, its networks and a volume, without what is new each time."""
    found = []
    for event in engine.wire.lines("/events", since=f"{since:.6f}", until=f"{now(engine):.6f}"):
        attributes = dict(event["Actor"]["Attributes"])
        own = container in (event["Actor"]["ID"], attributes.get("container"))
        if own or (volume and event["Actor"]["ID"] == volume):
            if event["Type"] == "container" and event["Action"].startswith("exec_"):
                assert len(attributes["execID"]) == 64
            kept = {key: value for key, value in attributes.items() if key not in _VARIES}
            found.append((event["Type"], event["Action"].rstrip(), kept))
    for place in range(1, len(found)):
        # Since release 23 the stop that caused an end may hear of it before it is told to all.
        if (found[place - 1][1], found[place][1]) == ("stop", "die"):
            found[place - 1 : place + 1] = found[place], found[place - 1]
    return found


class Script:
    """Expected lines, with what every event of one container or network carries."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name
        self.lines: list[Line] = []

    def container(self, action: str, **attributes: str) -> "Script":
        self.lines.append(
            ("container", action, {"image": self.engine.image, "name": self.name, **attributes})
        )
        return self

    def network(self, action: str) -> "Script":
        self.lines.append(("network", action, {"name": "bridge", "type": "bridge"}))
        return self

    def die(self, code: int, *more: Line) -> "Script":
        """The end: since some release after 20.10 what a container held is given back before `die`."""
        died = ("container", "die", {"image": self.engine.image, "name": self.name, "exitCode": str(code)})
        freed: list[Line] = [("network", "disconnect", {"name": "bridge", "type": "bridge"}), *more]
        self.lines += self.engine.pick({"1.24": [died, *freed], "1.42": [*freed, died]})
        return self


@pytest.mark.operation(EVENTS)
def test_life(engine: Engine) -> None:
    since, name, volume, wire = now(engine), engine.name(), engine.name("volume"), engine.wire
    container = engine.create(
        *("sh", "-c", "trap : HUP; while :; do sleep 0.1; done"),
        name=name,
        host={"Binds": [f"{volume}:/v"]},
        Tty=True,
        OpenStdin=True,
    )
    engine.start(container)
    with wire.hijack(f"/containers/{container}/attach", stream=True, stdin=True, stdout=True) as stream:
        wire.post(f"/containers/{container}/resize", status=200, h=20, w=70)
        stream.send(b"\x10\x11")
        stream.read_all()
    assert engine.exec(container, "sh", "-c", "exit 3").code == 3
    until(lambda: recorded(engine, since, container)[-1][1] == "exec_die")
    wire.post(f"/containers/{container}/pause", status=204)
    wire.post(f"/containers/{container}/unpause", status=204)
    new = engine.name()
    wire.post(f"/containers/{container}/rename", status=204, name=new)
    wire.get(f"/containers/{container}/top")
    wire.post(f"/containers/{container}/kill", status=204, signal="HUP")
    wire.post(f"/containers/{container}/restart", status=204, t=0)
    wire.post(f"/containers/{container}/kill", status=204)
    until(lambda: recorded(engine, since, container, volume)[-1][1] in {"unmount", "die"})
    wire.request("DELETE", f"/containers/{container}")
    wire.request("DELETE", f"/volumes/{volume}")

    mounted: Line = (
        "volume",
        "mount",
        {"destination": "/v", "driver": "local", "propagation": "", "read/write": "true"},
    )
    unmounted: Line = ("volume", "unmount", {"driver": "local"})
    script = Script(engine, name)
    script.lines.append(("volume", "create", {"driver": "local"}))
    script.container("create").network("connect")
    script.lines.append(mounted)
    script.container("start").container("attach").container("resize", height="20", width="70")
    script.container("detach")
    script.container("exec_create: sh -c exit 3").container("exec_start: sh -c exit 3")
    script.container("exec_die", exitCode="3")
    script.container("pause").container("unpause")
    script.name = new
    script.container("rename", oldName=f"/{name}").container("top").container("kill", signal="1")
    script.container("kill", signal="15").container("kill", signal="9").die(137, unmounted)
    script.container("stop").network("connect")
    script.lines.append(mounted)
    script.container("start").container("restart")
    script.container("kill", signal="9").die(137, unmounted)
    script.container("destroy")
    script.lines.append(("volume", "destroy", {"driver": "local"}))
    assert recorded(engine, since, container, volume) == script.lines


@pytest.mark.operation(EVENTS)
def test_failed_start(engine: Engine) -> None:
    since, name = now(engine), engine.name()
    container = engine.create("/nope", name=name)
    assert engine.wire.request("POST", f"/containers/{container}/start").status == 400
    engine.remove(container)
    script = Script(engine, name).container("create").network("connect").network("disconnect")
    assert recorded(engine, since, container) == script.container("destroy").lines


@pytest.mark.operation(EVENTS)
def test_restart_policy(engine: Engine) -> None:
    since, name = now(engine), engine.name()
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}}
    container = engine.run("sh", "-c", "exit 2", name=name, host=policy)

    def over() -> list[Line]:
        lines = recorded(engine, since, container)
        return lines if [line[1] for line in lines].count("disconnect") == 2 and lines else []

    until(lambda: engine.state(container)["Status"] == "exited" and over())
    script = Script(engine, name).container("create")
    for _ in range(2):
        script.network("connect").container("start").die(2)
    assert recorded(engine, since, container) == script.lines


@pytest.mark.operation(EVENTS)
def test_automatic_removal(engine: Engine) -> None:
    since, name = now(engine), engine.name()
    container = engine.create("true", name=name, host={"AutoRemove": True})
    engine.start(container)
    until(lambda: "destroy" in [line[1] for line in recorded(engine, since, container)])
    script = Script(engine, name).container("create").network("connect").container("start").die(0)
    assert recorded(engine, since, container) == script.container("destroy").lines


@pytest.mark.operation(EVENTS)
def test_execs_end_with_their_container(engine: Engine) -> None:
    since, name = now(engine), engine.name()
    container = engine.sleeper(name=name)
    answer: Any = engine.wire.post(f"/containers/{container}/exec", {"Cmd": ["sleep", "99"]}, status=201)
    engine.wire.post(f"/exec/{answer.json()['Id']}/start", {"Detach": True}, status=200)
    engine.remove(container)
    script = Script(engine, name).container("create").network("connect").container("start")
    script.container("exec_create: sleep 99").container("exec_start: sleep 99")
    script.container("kill", signal="9").die(137).container("destroy")
    ended = Script(engine, name).container("exec_die", exitCode="137").lines
    until(lambda: ended[0] in recorded(engine, since, container))
    # When it comes is not certain, from before `kill` to after `die`: dockerd hears of all at the same time.
    lines = recorded(engine, since, container)
    assert [line for line in lines if line not in ended] == script.lines
    assert len(lines) == len(script.lines) + 1

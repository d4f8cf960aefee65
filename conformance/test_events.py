"""events: live and past, filtered; what each carries."""

import json
import subprocess
import threading
import time
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine
from conformance.images import Tar, docker_archive
from conformance.until import until

EVENTS = "SystemEvents"


def now(engine: Engine) -> float:
    """The engine's clock, which need not be ours."""
    text = str(engine.wire.get("/info")["SystemTime"])
    from datetime import datetime

    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def past(engine: Engine, since: float, **filters: list[str]) -> list[dict[str, Any]]:
    """The events from `since` to now."""
    query: dict[str, Any] = {"since": f"{since:.6f}", "until": f"{now(engine):.6f}"}
    return list(engine.wire.lines("/events", **query, filters=filters))


@pytest.mark.operation(EVENTS)
def test_life_of_a_container(engine: Engine) -> None:
    since = now(engine)
    name = engine.name()
    container = engine.run("sh", "-c", "exit 3", name=name, Labels={"k": "v"})
    engine.wait(container)
    engine.remove(container)
    found = until(
        lambda: (e := past(engine, since, container=[container])) and e[-1]["Action"] == "destroy" and e
    )
    mine = [e for e in found if e["Type"] == "container"]
    assert [e["Action"] for e in mine] == ["create", "start", "die", "destroy"]
    for event in mine:
        assert event["Actor"]["ID"] == container and event["scope"] == "local"
        attributes = event["Actor"]["Attributes"]
        assert (attributes["name"], attributes["image"], attributes["k"]) == (name, engine.image, "v")
        assert event["timeNano"] // 10**9 == event["time"]
    assert mine[2]["Actor"]["Attributes"]["exitCode"] == "3"
    assert "exitCode" not in mine[1]["Actor"]["Attributes"]
    times = [e["timeNano"] for e in found]
    assert times == sorted(times)


@pytest.mark.operation(EVENTS)
def test_network_events(engine: Engine) -> None:
    since = now(engine)
    container = engine.sleeper()
    engine.remove(container)

    def mine() -> list[dict[str, Any]]:
        found = past(engine, since, type=["network"])
        return [e for e in found if e["Actor"]["Attributes"].get("container") == container]

    until(lambda: len(mine()) == 2)
    assert [e["Action"] for e in mine()] == ["connect", "disconnect"]
    for event in mine():
        assert (event["Actor"]["Attributes"]["name"], event["Actor"]["Attributes"]["type"]) == (
            "bridge",
            "bridge",
        )


@pytest.mark.operation(EVENTS)
def test_old_fields(engine: Engine) -> None:
    """`status`, `id` and `from` are there until 1.51."""
    since = now(engine)
    container = engine.create("true")
    query = {"since": f"{since:.6f}", "until": f"{now(engine):.6f}", "filters": {"container": [container]}}
    (event,) = engine.wire.lines("/events", version="1.41", **query)
    assert (event["status"], event["id"], event["from"]) == ("create", container, engine.image)
    if engine.at_least("1.52"):
        (event,) = engine.wire.lines("/events", version="1.52", **query)
        assert not {"status", "id", "from"} & set(event)


@pytest.mark.operation(EVENTS)
def test_content_type(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/events", until="1")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == engine.pick(
        {"1.24": "application/json", "1.52": "application/jsonl"}
    )


@pytest.mark.operation(EVENTS)
@pytest.mark.since("1.52")
@pytest.mark.parametrize(
    ("accept", "kind", "start"),
    [
        ("application/json-seq", "application/json-seq", b"\x1e{"),
        ("application/x-ndjson", "application/x-ndjson", b"{"),
        ("application/jsonl;q=0.1, application/json-seq", "application/json-seq", b"\x1e{"),
        ("application/*", "application/jsonl", b"{"),
    ],
)
def test_forms(engine: Engine, accept: str, kind: str, start: bytes) -> None:
    """The client chooses between lines of JSON and RFC 7464's sequences."""
    since = now(engine)
    container = engine.create("true")
    answer = engine.wire.request(
        "GET",
        "/events",
        headers={"Accept": accept},
        since=f"{since:.6f}",
        until=f"{now(engine):.6f}",
        filters={"container": [container]},
    )
    assert answer.headers["content-type"] == kind
    (line,) = answer.body.splitlines()
    assert answer.body.endswith(b"\n") and line.startswith(start)
    assert json.loads(line.removeprefix(b"\x1e"))["Action"] == "create"


@pytest.mark.operation(EVENTS)
def test_filters_by_a_beginning(engine: Engine) -> None:
    """Of IDs and names, and of actions that have details."""
    since = now(engine)
    name = engine.name()
    container = engine.sleeper(name=name)
    engine.exec(container, "true")
    assert {e["Actor"]["ID"] for e in past(engine, since, container=[name[:-1]])} == {container}
    # A name is looked for whatever the event is about.
    assert {e["Type"] for e in past(engine, since, container=["bridge"])} == {"network"}
    actions = {e["Action"].rstrip() for e in past(engine, since, container=[name], event=["exec_create"])}
    assert actions == {"exec_create: true"}
    assert past(engine, since, container=[name], event=["exec_creat"]) == []
    assert past(engine, since, container=[name], event=["star"]) == []


@pytest.mark.operation(EVENTS)
def test_live(engine: Engine) -> None:
    container = engine.create("true")
    with engine.wire.open(
        "GET", "/events", filters={"container": [container], "type": ["container"]}
    ) as response:
        engine.start(container)
        engine.wait(container)
        first, second = json.loads(response.readline()), json.loads(response.readline())
    assert (first["Action"], second["Action"]) == ("start", "die")


@pytest.mark.operation(EVENTS)
def test_live_with_the_past(engine: Engine) -> None:
    since = now(engine)
    container = engine.create("true")
    with engine.wire.open(
        "GET", "/events", since=f"{since:.6f}", filters={"container": [container], "type": ["container"]}
    ) as response:
        assert json.loads(response.readline())["Action"] == "create"
        engine.start(container)
        assert json.loads(response.readline())["Action"] == "start"


@pytest.mark.operation(EVENTS)
def test_ends_at_until(engine: Engine) -> None:
    start = time.monotonic()
    container = engine.create("true")
    with engine.wire.open(
        "GET",
        "/events",
        until=f"{now(engine) + 2:.6f}",
        filters={"container": [container], "type": ["container"]},
    ) as response:
        engine.start(container)
        lines = response.read().splitlines()
    # With `until` alone the past is told, too.
    assert [json.loads(line)["Action"] for line in lines] == ["create", "start", "die"]
    assert time.monotonic() - start >= 1


@pytest.mark.operation(EVENTS)
def test_filters(engine: Engine) -> None:
    since = now(engine)
    name = engine.name()
    first = engine.run("true", name=name, Labels={"f": engine.run_id})
    second = engine.run("true")
    for container in (first, second):
        engine.wait(container)
    until(lambda: len(past(engine, since, event=["die"], container=[first, second])) == 2)

    def actions(**filters: list[str]) -> list[tuple[str, str]]:
        found = past(engine, since, type=["container"], **filters)
        return [(e["Action"], e["Actor"]["ID"]) for e in found if e["Actor"]["ID"] in {first, second}]

    assert [i for _, i in actions(event=["create"])] == [first, second]
    assert {i for _, i in actions(container=[name])} == {first}
    assert {a for a, _ in actions(container=[first[:12]])} >= {"create", "start", "die"}
    assert {i for _, i in actions(label=["f=" + engine.run_id])} == {first}
    assert {i for _, i in actions(image=[engine.image])} == {first, second}
    assert {a for a, _ in actions(event=["start", "die"])} == {"start", "die"}
    assert past(engine, since, type=["volume"], container=[first]) == []


@pytest.mark.operation(EVENTS)
def test_of_exec_kill_pause_rename(engine: Engine) -> None:
    since = now(engine)
    container = engine.sleeper()
    engine.exec(container, "true")
    engine.wire.post(f"/containers/{container}/pause", status=204)
    engine.wire.post(f"/containers/{container}/unpause", status=204)
    old, new = engine.inspect(container)["Name"], engine.name()
    engine.wire.post(f"/containers/{container}/rename", status=204, name=new)
    engine.wire.post(f"/containers/{container}/kill", status=204, signal="KILL")
    engine.wait(container)
    found = until(
        lambda: (
            (e := past(engine, since, container=[container], type=["container"]))
            and e[-1]["Action"] == "die"
            and e
        )
    )
    actions = {e["Action"]: e["Actor"]["Attributes"] for e in found}
    assert {"create", "start", "pause", "unpause", "rename", "kill", "die", "exec_die"} <= set(actions)
    assert "exec_create: true" in {a.rstrip() for a in actions} and "exec_start: true" in {
        a.rstrip() for a in actions
    }
    assert actions["kill"]["signal"] == "9"
    assert actions["rename"]["oldName"] == old and actions["rename"]["name"] == new
    assert actions["exec_die"]["exitCode"] == "0" and len(actions["exec_die"]["execID"]) == 64
    assert actions["die"]["exitCode"] == "137"


@pytest.mark.operation(EVENTS)
def test_of_stop_and_restart(engine: Engine) -> None:
    container = engine.sleeper()
    since = now(engine)
    engine.wire.post(f"/containers/{container}/restart", status=204, t=0)
    engine.wire.post(f"/containers/{container}/stop", status=204, t=0)

    def over() -> list[str]:
        events = past(engine, since, container=[container], type=["container"])
        actions = [event["Action"] for event in events if event["Action"] != "kill"]
        return actions if actions.count("die") == actions.count("stop") == 2 else []

    actions = until(over)
    # Since release 23 a stop may hear of the end before it is told to all.
    first, second = actions[:2], actions[4:]
    assert sorted(first) == sorted(second) == ["die", "stop"] and actions[2:4] == ["start", "restart"]


@pytest.mark.operation(EVENTS)
def test_of_images(engine: Engine) -> None:
    since = now(engine)
    tag = engine.name("event") + ":1"
    image = engine.base(Labels={"own": tag})
    image.layers = [Tar().add("f", tag).bytes()]
    engine.load(docker_archive({tag: image}))
    other = engine.name("event")
    engine.wire.post(f"/images/{tag}/tag", status=201, repo=other, tag="2")
    engine.wire.request("DELETE", f"/images/{tag}")
    engine.wire.request("DELETE", f"/images/{other}:2")

    def mine() -> list[dict[str, Any]]:
        return [e for e in past(engine, since, type=["image"]) if e["Actor"]["ID"] == image.id]

    found = until(lambda: (e := mine()) and e[-1]["Action"] == "delete" and e)
    actions = [e["Action"] for e in found]
    assert "load" in actions and [a for a in actions if a in {"tag", "untag", "delete"}] == [
        "tag",
        "untag",
        "untag",
        "delete",
    ]
    tagged = next(e for e in found if e["Action"] == "tag")
    assert tagged["Actor"]["Attributes"]["name"] == f"{other}:2"


@pytest.mark.operation(EVENTS)
def test_out_of_memory(engine: Engine) -> None:
    since = now(engine)
    done = engine.sh("tail -c 400m /dev/zero", host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    until(lambda: [e["Action"] for e in past(engine, since, container=[done.id], event=["oom"])] == ["oom"])


@pytest.mark.operation(EVENTS)
def test_by_cli(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    since = now(engine)
    with cli.popen(
        "events",
        "--filter",
        f"container={name}",
        "--since",
        f"{since:.6f}",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
        stdin=subprocess.DEVNULL,
    ) as process:
        engine.create("true", name=name)
        engine.start(name)
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
    assert lines[0] == f"create {name}\n".encode()
    assert lines[1].split()[0] in {b"start", b"connect", b"attach"}


@pytest.mark.operation(EVENTS)
def test_bad_queries(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/events", since="abc", until="1")
    assert answer.status == engine.pick({"1.24": 500, "1.55": 400})
    assert '"abc"' in answer.message
    answer = engine.wire.request("GET", "/events", since="5", until="1")
    assert (answer.status, answer.message) == (
        400,
        "`since` time (5) cannot be after `until` time (1)",
    )
    answer = engine.wire.request("GET", "/events", until="1", filters={"bogus": ["x"]})
    assert (answer.status, answer.body) == (200, b"")  # no filter of that name: it means nothing


@pytest.mark.operation(EVENTS)
def test_many_listeners(engine: Engine) -> None:
    """Each sees every event; one that vanishes disturbs nobody."""
    container = engine.create("true")
    filters = {"container": [container], "event": ["start"]}
    listeners = [engine.wire.open("GET", "/events", filters=filters) for _ in range(6)]
    listeners.pop().close()
    seen: list[str] = []

    def listen(response: Any) -> None:
        with response:
            seen.append(json.loads(response.readline())["Actor"]["ID"])

    threads = [threading.Thread(target=listen, args=(response,)) for response in listeners]
    for thread in threads:
        thread.start()
    engine.start(container)
    for thread in threads:
        thread.join()
    assert seen == [container] * 5

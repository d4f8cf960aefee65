"""ps: the list, its filters, and what it says of each container."""

import re
from typing import Any

import pytest

from conformance.cli import Cli
from conformance.engine import Engine, version
from conformance.until import until

LIST = "ContainerList"


def ids(engine: Engine, **query: Any) -> list[str]:
    """The IDs of this run's containers in the list, in its order."""
    filters = query.pop("filters", {})
    filters.setdefault("label", []).append("conformance.run=" + engine.run_id)
    return [c["Id"] for c in engine.wire.get("/containers/json", filters=filters, **query)]


@pytest.mark.operation(LIST)
def test_running_and_all(engine: Engine) -> None:
    running, created = engine.sleeper(), engine.create("true")
    assert running in ids(engine) and created not in ids(engine)
    assert {running, created} <= set(ids(engine, all=True))


@pytest.mark.operation(LIST)
def test_newest_first_and_limit(engine: Engine) -> None:
    made = [engine.create("true") for _ in range(3)]
    assert ids(engine, all=True)[:3] == made[::-1]
    assert ids(engine, limit=2) == made[:0:-1]


@pytest.mark.operation(LIST)
def test_entry(engine: Engine) -> None:
    name = engine.name()
    container = engine.run("sh", "-c", "sleep 1000", name=name, Labels={"k": "v"})
    (found,) = engine.wire.get("/containers/json", filters={"id": [container]})
    assert found["Id"] == container and found["Names"] == ["/" + name]
    assert found["Image"] == engine.image and found["ImageID"] == engine.base().id
    assert found["Command"] in {"sh -c 'sleep 1000'", 'sh -c "sleep 1000"'}
    assert found["State"] == "running"
    assert re.fullmatch("Up (Less than a second|About a minute|\\d+ seconds?)", found["Status"])
    assert found["Labels"] == {**engine.labels, "k": "v"}
    assert found["Ports"] == [] and found["Mounts"] == []
    assert found["HostConfig"]["NetworkMode"] in {"default", "bridge"}
    inspected = engine.inspect(container)
    assert list(found["NetworkSettings"]["Networks"]) == ["bridge"]
    for key in ("IPAddress", "MacAddress", "NetworkID", "EndpointID", "Gateway", "IPPrefixLen"):
        assert (
            found["NetworkSettings"]["Networks"]["bridge"][key]
            == inspected["NetworkSettings"]["Networks"]["bridge"][key]
        )
    assert isinstance(found["Created"], int)
    assert "SizeRw" not in found


@pytest.mark.operation(LIST)
@pytest.mark.parametrize("api", ["1.24", "1.40", "1.41", "1.44", "1.52", "1.56"])
def test_shape_by_version(engine: Engine, box: str, api: str) -> None:
    if not version(engine.min_api) <= version(api) <= version(engine.api):
        pytest.skip(f"this engine serves API {engine.min_api} to {engine.api}")
    (found,) = engine.wire.get("/containers/json", version=api, filters={"id": [box]})
    expected = {
        "Id",
        "Names",
        "Image",
        "ImageID",
        "Command",
        "Created",
        "Ports",
        "Labels",
        "State",
        "Status",
        "HostConfig",
        "NetworkSettings",
        "Mounts",
    }
    assert not expected - set(found)
    extra = set(found) - expected
    allowed = set()
    if version(api) >= version("1.49"):
        allowed |= {"ImageManifestDescriptor"}
    if version(api) >= version("1.52"):
        allowed |= {"Health"}
    assert extra <= allowed


@pytest.mark.operation(LIST)
def test_status_texts(engine: Engine) -> None:
    def text(container: str) -> str:
        return str(engine.wire.get("/containers/json", all=True, filters={"id": [container]})[0]["Status"])

    assert text(engine.create("true")) == "Created"
    ended = engine.run("sh", "-c", "exit 3")
    engine.wait(ended)
    # The list may learn of the end after who waits for it.
    until(lambda: re.fullmatch(r"Exited \(3\) (Less than a second|\d+ seconds?) ago", text(ended)))
    paused = engine.sleeper()
    engine.wire.post(f"/containers/{paused}/pause", status=204)
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?) \(Paused\)", text(paused))
    looping = engine.run("false", host={"RestartPolicy": {"Name": "always"}})
    until(lambda: re.fullmatch(r"Restarting \(1\) (Less than a second|\d+ seconds?) ago", text(looping)))


@pytest.mark.operation(LIST)
def test_filters(engine: Engine) -> None:
    tag = engine.make_image("filter", Labels={"of": "image"})
    name = engine.name("filter")
    volume = engine.name("vol")
    running = engine.sleeper(
        name=name, Labels={"a": "1", "b": ""}, host={"Binds": [f"{volume}:/v"]}, ExposedPorts={"80/tcp": {}}
    )
    ended = engine.run("sh", "-c", "exit 3", Image=tag)
    engine.wait(ended)
    created = engine.create("true", Labels={"a": "2"}, host={"NetworkMode": "none"})

    def found(**filters: list[str]) -> set[str]:
        return set(ids(engine, all=True, filters=filters)) & {running, ended, created}

    assert found(id=[running]) == {running}
    assert found(id=[running[:12]]) == {running}
    assert found(name=[name]) == {running} == found(name=["^/" + name + "$"]) == found(name=[name[:-2]])
    assert found(label=["a"]) == {running, created}
    assert (
        found(label=["a=1"]) == {running}
        and found(label=["a=1", "b"]) == {running}
        and not found(label=["a=1", "c"])
    )
    assert found(status=["running"]) == {running}
    assert found(status=["exited", "created"]) == {ended, created}
    assert found(exited=["3"]) == {ended} and not found(exited=["4"])
    assert found(ancestor=[tag]) == {ended}
    assert found(ancestor=[engine.wire.get(f"/images/{tag}/json")["Id"]]) == {ended}
    assert found(volume=[volume]) == {running} == found(volume=["/v"])
    assert found(network=["none"]) == {created}
    assert {running} == found(network=["bridge"]) - {ended}
    assert found(before=[created]) == {running, ended} and found(since=[running]) == {ended, created}
    assert found(expose=["80"]) == {running} == found(expose=["80/tcp"])
    assert found(health=["none"]) == {running, ended, created}
    # Several kinds must all hold, several values of one kind need one.
    assert found(status=["running"], label=["a=2"]) == set()
    assert found(name=[name, "zz-no-such"]) == {running}


@pytest.mark.operation(LIST, "NetworkList", "VolumeList")
def test_names_as_regular_expressions(engine: Engine) -> None:
    """Go's, in time that grows with the name alone: none can hold up the daemon."""
    name = engine.name("a" * 50)
    engine.create("true", name=name)
    start = name[: name.index("a" * 50)]
    assert len(ids(engine, all=True, filters={"name": [rf"^/{start}a{{50}}\pP?\w*\z"]})) == 1
    hostile = f"{start}(a+)+(a+)+(a+)+!"
    assert not ids(engine, all=True, filters={"name": [hostile, "(?=a)", "["]})
    assert engine.wire.get("/networks", filters={"name": [hostile, "["]}) == []
    assert not engine.wire.get("/volumes", filters={"name": [hostile, "["]})["Volumes"]


@pytest.mark.operation(LIST)
def test_filter_by_published_port(engine: Engine) -> None:
    container = engine.run(
        "sleep",
        "1000",
        host={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
        ExposedPorts={"80/tcp": {}},
    )
    (port,) = engine.inspect(container)["NetworkSettings"]["Ports"]["80/tcp"]
    assert container in ids(engine, filters={"publish": [port["HostPort"]]}) or container in ids(
        engine, filters={"publish": ["80"]}
    )
    (found,) = engine.wire.get("/containers/json", filters={"id": [container]})
    assert found["Ports"] == [
        {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": int(port["HostPort"]), "Type": "tcp"}
    ]


@pytest.mark.operation(LIST)
def test_filters_as_old_clients_send_them(engine: Engine, box: str) -> None:
    """Values as a map, not a list."""
    found = engine.wire.get("/containers/json", filters={"id": {box: True}})
    assert [c["Id"] for c in found] == [box]


@pytest.mark.operation(LIST)
def test_size(engine: Engine) -> None:
    done = engine.sh("head -c 50000 /dev/zero >/f")
    (found,) = engine.wire.get("/containers/json", all=True, size=True, filters={"id": [done.id]})
    assert found["SizeRw"] >= 50_000 and found["SizeRootFs"] > 1_000_000


@pytest.mark.operation(LIST)
def test_mounts(engine: Engine) -> None:
    volume = engine.name("vol")
    container = engine.create("true", host={"Binds": [f"{volume}:/v:ro"]})
    (found,) = engine.wire.get("/containers/json", all=True, filters={"id": [container]})
    (mount,) = found["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"], mount["RW"]) == (
        "volume",
        volume,
        "/v",
        False,
    )


@pytest.mark.operation(LIST)
def test_bad_queries(engine: Engine) -> None:
    answer = engine.wire.request("GET", "/containers/json", filters={"bogus": ["x"]})
    assert (answer.status, answer.message.lower()) == (400, "invalid filter 'bogus'")
    answer = engine.wire.request("GET", "/containers/json", filters="bad")
    assert answer.status == engine.pick({"1.24": 500, "1.42": 400})
    answer = engine.wire.request("GET", "/containers/json", filters={"status": ["nope"]})
    assert (answer.status, "nope" in answer.message) == (400, True)
    answer = engine.wire.request("GET", "/containers/json", limit="abc")
    assert answer.status == engine.pick({"1.24": 500, "1.55": 400})
    assert answer.message == 'strconv.Atoi: parsing "abc": invalid syntax'


@pytest.mark.operation(LIST)
def test_by_cli(engine: Engine, cli: Cli) -> None:
    name = engine.name()
    running = engine.sleeper(name=name)
    created = engine.create("true")
    label = "label=conformance.run=" + engine.run_id
    assert running in cli.text("ps", "-q", "--no-trunc", "--filter", label).split()
    assert created not in cli.text("ps", "-q", "--no-trunc", "--filter", label).split()
    assert created in cli.text("ps", "-aq", "--no-trunc", "--filter", label).split()
    line = cli.text(
        "ps",
        "--filter",
        f"name={name}",
        "--format",
        "{{.ID}}|{{.Image}}|{{.Command}}|{{.Names}}|{{.State}}|{{.Networks}}",
    )
    assert line == f'{running[:12]}|{engine.image}|"sleep 1000"|{name}|running|bridge'
    header, row = cli.text("ps", "--filter", f"name={name}").splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert row.startswith(running[:12]) and row.endswith(name)

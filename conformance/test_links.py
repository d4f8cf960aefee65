"""Links of the default network: names in hosts, the names they give, and how they go away."""

import pytest

from conformance.cli import Cli
from conformance.engine import Engine


def hosts(engine: Engine, container: str) -> dict[str, list[str]]:
    """/etc/hosts: address → names of its last line."""
    lines = [line.split() for line in engine.exec(container, "cat", "/etc/hosts").out.splitlines()]
    return {line[0]: line[1:] for line in lines if line}


def address(engine: Engine, container: str) -> str:
    return str(engine.inspect(container)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])


@pytest.mark.operation("ContainerCreate", "ContainerStart", "ContainerInspect")
def test_names_in_hosts(engine: Engine) -> None:
    child, parent = engine.name("child"), engine.name("parent")
    first = engine.sleeper(name=child)
    second = engine.sleeper(name=parent, host={"Links": [f"{child}:db"]})
    assert hosts(engine, second)[address(engine, first)] == ["db", first[:12], child]
    assert engine.exec(second, "ping", "-c", "1", "-W", "10", "db").code == 0
    assert engine.inspect(second)["HostConfig"]["Links"] == [f"/{child}:/{parent}/db"]
    assert engine.inspect(first)["HostConfig"]["Links"] is None
    assert engine.inspect(f"{parent}/db")["Id"] == first
    (entry,) = engine.wire.get("/containers/json", filters={"id": [first]})
    assert sorted(entry["Names"]) == sorted([f"/{child}", f"/{parent}/db"])
    # The alias goes with the parent's name.
    new = engine.name()
    engine.wire.post(f"/containers/{second}/rename", status=204, name=new)
    assert engine.inspect(second)["HostConfig"]["Links"] == [f"/{child}:/{new}/db"]
    assert engine.wire.request("GET", f"/containers/{parent}/db/json").status == 404


@pytest.mark.operation("ContainerCreate")
def test_without_an_alias(engine: Engine) -> None:
    child = engine.name("child")
    first = engine.sleeper(name=child)
    second = engine.sleeper(host={"Links": [child]})
    assert hosts(engine, second)[address(engine, first)] == [child, first[:12]]


@pytest.mark.operation("ContainerDelete")
def test_removed_link(engine: Engine) -> None:
    child, parent = engine.name("child"), engine.name("parent")
    first = engine.sleeper(name=child)
    second = engine.sleeper(name=parent, host={"Links": [f"{child}:db"]})
    answer = engine.wire.request("DELETE", f"/containers/{parent}", link=True)
    text = "Conflict, cannot remove the default link name of the container"
    assert (answer.status, answer.message) == (500, text)
    assert engine.wire.request("DELETE", f"/containers/{parent}/db", link=True).status == 204
    assert engine.inspect(second)["HostConfig"]["Links"] is None
    assert address(engine, first) not in hosts(engine, second)
    (entry,) = engine.wire.get("/containers/json", filters={"id": [first]})
    assert entry["Names"] == [f"/{child}"]
    assert engine.state(first)["Running"] and engine.state(second)["Running"]


@pytest.mark.operation("ContainerStart")
def test_child_that_is_started_again(engine: Engine) -> None:
    """Its parents' files get the new address."""
    child = engine.name("child")
    first = engine.sleeper(name=child)
    second = engine.sleeper(host={"Links": [f"{child}:db"]})
    old = address(engine, first)
    engine.wire.post(f"/containers/{first}/kill", status=204)
    engine.wait(first)
    other = engine.sleeper()  # takes the address, or another one: both are well
    engine.start(first)
    new = address(engine, first)
    names = hosts(engine, second)
    assert names[new] == ["db", first[:12], child]
    if old != new:
        assert "db" not in names.get(old, [])
    engine.remove(other)


@pytest.mark.operation("ContainerStart")
def test_child_must_run(engine: Engine) -> None:
    child, parent = engine.name("child"), engine.name("parent")
    engine.create("true", name=child)
    container = engine.create("true", name=parent, host={"Links": [f"{child}:db"]})
    answer = engine.wire.request("POST", f"/containers/{container}/start")
    text = f"Cannot link to a non running container: /{child} AS /{parent}/db"
    assert (answer.status, answer.message) == (500, text)


@pytest.mark.operation("ContainerCreate")
def test_bad_links(engine: Engine) -> None:
    def create(**host: object) -> tuple[int, str]:
        body = {"Image": engine.image, "HostConfig": host}
        answer = engine.wire.request("POST", "/containers/create", body)
        return answer.status, answer.message

    status, message = create(Links=["nope-nope:x"])
    assert status in {400, 404}
    assert message == "could not get container for nope-nope: No such container: nope-nope"
    assert "bad format for links: a:b:c" in create(Links=["a:b:c"])[1]
    on_host = engine.create("true", host={"NetworkMode": "host"})
    assert create(Links=[f"{on_host}:x"])[1].startswith(
        "conflicting options: host type networking can't be used with links"
    )


@pytest.mark.operation("ContainerCreate", "ContainerDelete")
def test_by_cli(engine: Engine, cli: Cli) -> None:
    child, parent = engine.name("child"), engine.name("parent")
    engine.sleeper(name=child)
    cli("run", "-d", "--name", parent, "--link", f"{child}:db", engine.image, "sleep", "1000")
    assert cli.text("inspect", "-f", "{{.HostConfig.Links}}", parent) == f"[/{child}:/{parent}/db]"
    names = cli.text("ps", "--no-trunc", "--filter", f"name={child}", "--format", "{{.Names}}").split(",")
    assert sorted(names) == sorted([child, f"{parent}/db"])
    assert cli.text("rm", "--link", f"{parent}/db") == f"{parent}/db"
    assert cli.text("inspect", "-f", "{{.HostConfig.Links}}", parent) == "[]"

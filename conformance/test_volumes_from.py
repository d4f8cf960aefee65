"""`--volumes-from`: another container's binds and volumes."""

from pathlib import Path

import pytest

from conformance.cli import Cli
from conformance.engine import Engine

CREATE = ("ContainerCreate",)
RUN = ("ContainerCreate", "ContainerStart", "ContainerInspect")


@pytest.fixture
def donor(engine: Engine, tmp_path: Path) -> str:
    """A container that has a read-only bind, a named and an anonymous volume."""
    (tmp_path / "f").write_text("from the host")
    name = engine.name("donor")
    binds = [f"{tmp_path}:/bound:ro", f"{engine.name('vol')}:/named"]
    done = "echo n >/named/f; echo a >/anon/f"
    container = engine.run("sh", "-c", done, name=name, host={"Binds": binds}, Volumes={"/anon": {}})
    assert engine.wait(container) == 0
    return name


@pytest.mark.operation(*RUN)
@pytest.mark.parametrize("mode", ["", ":rw", ":z", ":ro", ":ro,z"])
def test_what_comes_with_another_container(engine: Engine, donor: str, mode: str) -> None:
    script = "cat /bound/f /named/f /anon/f; touch /named/x && echo wrote; touch /bound/x && echo wrong; true"
    done = engine.sh(script, host={"VolumesFrom": [donor + mode]})
    writable = "ro" not in mode
    assert done.out == "from the hostn\na\n" + ("wrote\n" if writable else "")
    theirs = {mount["Destination"]: mount for mount in engine.inspect(donor)["Mounts"]}
    mounts = {mount["Destination"]: mount for mount in engine.inspect(done.id)["Mounts"]}
    assert set(mounts) == {"/bound", "/named", "/anon"}
    for path, mount in mounts.items():
        assert mount["RW"] == (writable and path != "/bound")
        assert mount["Mode"] == ""
        for field in ("Type", "Source", "Name", "Driver", "Propagation"):
            assert mount.get(field) == theirs[path].get(field)


@pytest.mark.operation(*RUN, "ContainerDelete")
def test_own_mounts_win_and_volumes_stay_while_used(engine: Engine, donor: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    host = {"VolumesFrom": [donor], "Binds": [f"{own}:/bound"]}
    container = engine.create("sh", "-c", "touch /bound/mine; cat /anon/f", host=host, Volumes={"/anon": {}})
    (anonymous,) = (m["Name"] for m in engine.inspect(donor)["Mounts"] if m["Destination"] == "/anon")
    assert engine.wire.request("DELETE", f"/containers/{donor}", v=True).status == 204
    assert engine.wire.request("GET", f"/volumes/{anonymous}").status == 200
    engine.start(container)
    assert engine.wait(container) == 0
    assert engine.logs(container)[0] == "a\n"
    assert (own / "mine").exists()


@pytest.mark.operation(*RUN)
def test_of_several_the_last_wins(engine: Engine) -> None:
    first, second = (
        engine.create("true", host={"Binds": [f"{engine.name('vol')}:/v"]}, name=engine.name(hint))
        for hint in ("first", "second")
    )
    found = engine.create("true", host={"VolumesFrom": [first, second]})
    (mount,) = engine.inspect(found)["Mounts"]
    assert mount["Name"] == engine.inspect(second)["Mounts"][0]["Name"]


@pytest.mark.operation(*CREATE)
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "volumes-from specification cannot be an empty string"),
        ("DONOR:bogus", "invalid mode: bogus"),
        ("DONOR:nocopy", "invalid mode: nocopy"),
        ("DONOR:rshared", "invalid mode: rshared"),
        ("DONOR:ro,rw", "invalid mode: ro,rw"),
        ("nobody-of-that-name:ro", "No such container: nobody-of-that-name"),
    ],
)
def test_volumes_from_that_cannot_be(engine: Engine, donor: str, entry: str, message: str) -> None:
    body = {"Image": engine.image, "HostConfig": {"VolumesFrom": [entry.replace("DONOR", donor)]}}
    answer = engine.wire.request("POST", "/containers/create", body)
    assert (answer.status, answer.message) == (400, message)


@pytest.mark.operation(*RUN, "ContainerAttach", "ContainerWait")
def test_by_the_command_line(engine: Engine, cli: Cli, donor: str) -> None:
    assert cli.text("run", "--rm", "--volumes-from", donor, engine.image, "cat", "/named/f") == "n"
    done = cli(
        "run", "--rm", "--volumes-from", f"{donor}:ro", engine.image, "touch", "/named/no", check=False
    )
    assert done.code == 1
    assert "Read-only file system" in done.err

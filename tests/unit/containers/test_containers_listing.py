"""`ps`, inspect, top, prune, execs, volumes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers.attach import InputWatch
from compatd.engine.containers.filters import until_moment
from compatd.engine.containers.model import State
from compatd.engine.containers.times import human_duration, rfc3339
from compatd.engine.containers.top import parse_ps
from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotFound

from .fakes import World
from .scenario import play

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 24 * 3600, "2 weeks"),
        (60 * 24 * 3600, "2 months"),
        (731 * 24 * 3600, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(int(seconds * SECOND)) == text


@pytest.mark.parametrize(
    ("state", "status", "text"),
    [
        (State(), "created", "Created"),
        (State(running=True, started_at=1), "running", "Up 9 seconds"),
        (State(running=True, paused=True, started_at=1), "paused", "Up 9 seconds (Paused)"),
        (
            State(running=True, restarting=True, started_at=1, finished_at=5 * SECOND, exit_code=3),
            "restarting",
            "Restarting (3) 5 seconds ago",
        ),
        (State(started_at=1, finished_at=8 * SECOND, exit_code=7), "exited", "Exited (7) 2 seconds ago"),
        (State(dead=True), "dead", "Dead"),
        (State(removing=True), "removing", "Removal In Progress"),
        (
            State(running=True, started_at=1, health={"Status": "healthy"}),
            "running",
            "Up 9 seconds (healthy)",
        ),
        (
            State(running=True, started_at=1, health={"Status": "starting"}),
            "running",
            "Up 9 seconds (health: starting)",
        ),
    ],
)
def test_status_texts(state: State, status: str, text: str) -> None:
    assert (state.status, state.describe(10 * SECOND)) == (status, text)


def test_moments() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(120_000_000) == "1970-01-01T00:00:00.12Z"


async def populate(world: World) -> dict[str, str]:
    ids = {}
    ids["first"] = await world.create("first", Cmd=["sh", "-c", "exit 7"], Labels={"app": "web", "x": "1"})
    ids["second"] = await world.create(
        "second", Cmd=["top"], Labels={"app": "db"}, HostConfig={"Binds": ["vol:/data"]}
    )
    ids["third"] = await world.create("third", Cmd=["true"])
    for name in ("first", "second"):
        await world.containers.start(name)
    waiter = world.containers.wait("first", "next-exit")
    world.runtime.end(ids["first"], 7)
    await waiter
    for order, name in enumerate(ids):
        world.containers.find(name).created = order + 1
    return ids


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["second"]),
        ({"all": True}, ["third", "second", "first"]),
        ({"limit": 2}, ["third", "second"]),
        ({"filters": {"status": ["exited"]}}, ["first"]),
        ({"filters": {"status": ["exited", "created"]}}, ["third", "first"]),
        ({"filters": {"exited": ["7"]}, "all": True}, ["first"]),
        ({"filters": {"exited": ["0"]}, "all": True}, []),
        ({"filters": {"label": ["app"]}, "all": True}, ["second", "first"]),
        ({"filters": {"label": ["app=web", "x"]}, "all": True}, ["first"]),
        ({"filters": {"name": ["^/se"]}, "all": True}, ["second"]),
        ({"filters": {"name": ["ir"]}, "all": True}, ["third", "first"]),
        ({"filters": {"before": ["third"]}, "all": True}, ["second", "first"]),
        ({"filters": {"since": ["first"]}, "all": True}, ["third", "second"]),
        ({"filters": {"volume": ["vol"]}, "all": True}, ["second"]),
        ({"filters": {"volume": ["/data"]}, "all": True}, ["second"]),
        ({"filters": {"network": ["bridge"]}, "all": True}, ["third", "second", "first"]),
        ({"filters": {"network": ["nope"]}, "all": True}, []),
        ({"filters": {"ancestor": ["box"]}, "all": True}, ["third", "second", "first"]),
        ({"filters": {"ancestor": ["nope"]}, "all": True}, []),
        ({"filters": {"health": ["none"]}, "all": True}, ["third", "second", "first"]),
        ({"filters": {"is-task": ["true"]}, "all": True}, []),
        ({"filters": {"is-task": ["false"]}}, ["second"]),
        ({"filters": {"publish": ["80"]}, "all": True}, []),
    ],
)
def test_list(tmp_path: Path, arguments: dict[str, Any], expected: list[str]) -> None:
    async def scenario(world: World) -> None:
        await populate(world)
        found = await world.containers.list(**arguments)
        assert [entry["Names"][0][1:] for entry in found] == expected

    play(tmp_path, scenario)


def test_list_by_id(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ids = await populate(world)
        found = await world.containers.list(all=True, filters={"id": [ids["third"][:20]]})
        assert [entry["Id"] for entry in found] == [ids["third"]]

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"bogus": ["x"]}, "invalid filter 'bogus'"),
        ({"exited": ["x"]}, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"is-task": ["x"]}, "invalid filter 'is-task=[x]'"),
    ],
)
def test_bad_filters(tmp_path: Path, filters: dict[str, list[str]], message: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(InvalidParameter) as error:
            await world.containers.list(filters=filters)
        assert error.value.message == message
        with pytest.raises(InvalidParameter, match="invalid filter 'status=x'"):
            await world.containers.list(filters={"status": ["x"]})
        with pytest.raises(NotFound, match="No such container: x"):
            await world.containers.list(filters={"before": ["x"]})

    play(tmp_path, scenario)


def test_summary(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await populate(world)
        (second,) = await world.containers.list()
        assert second["Command"] == "top"
        assert second["Image"] == "box"
        assert second["Mounts"][0]["Name"] == "vol"
        assert second["Mounts"][0]["Mode"] == "z"
        world.images.images["box"].id = "sha256:" + "b" * 64
        first = (await world.containers.list(all=True))[-1]
        assert first["Command"] == "sh -c 'exit 7'"
        assert first["Image"] == "sha256:" + "a" * 64
        assert first["Status"].startswith("Exited (7) ")
        container = world.containers.find("second")
        container.network_settings["Ports"] = {
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
            "81/udp": None,
        }
        world.containers.registry.save(container)
        (second,) = await world.containers.list(filters={"publish": ["8000-9000"]})
        assert second["Ports"] == [
            {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 81, "Type": "udp"},
        ]
        assert await world.containers.list(filters={"expose": ["81/udp"]})
        for port, problem in {
            "99999": "invalid start port '99999': value out of range",
            "1-x": "invalid end port 'x': invalid syntax",
            "9-8": "invalid port range: 9-8",
            "": "invalid start port '': value is empty",
        }.items():
            with pytest.raises(EngineError) as error:
                await world.containers.list(filters={"expose": [port]})
            assert error.value.message == f"error while looking up for expose {port}: {problem}"

    play(tmp_path, scenario)


def test_inspect(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ids = await populate(world)
        found = await world.containers.inspect("second", size=True)
        assert found["Id"] == ids["second"]
        assert found["Name"] == "/second"
        assert found["Config"]["Env"] == ["PATH=/bin"]
        assert found["HostConfig"]["Runtime"] == "compatd"
        assert found["State"]["Status"] == "running"
        assert found["SizeRw"] == 0

    play(tmp_path, scenario)


def test_prefix_must_be_clear(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        registry = world.containers.registry
        box = await world.create(Cmd=["x"])
        assert registry.find(box[:5]).id == box
        twin = registry.find(box)
        copy = type(twin).from_document({**twin.to_document(), "Id": box[:10] + "0" * 54, "Name": "twin"})
        registry.add(copy)
        with pytest.raises(InvalidParameter, match="multiple IDs found with provided prefix"):
            registry.find(box[:10])
        with pytest.raises(InvalidParameter, match="invalid name or ID supplied"):
            registry.find("")

    play(tmp_path, scenario)


def test_prune(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ids = await populate(world)
        nothing = await world.containers.prune({"label": ["zz"]})
        assert nothing == {"ContainersDeleted": None, "SpaceReclaimed": 0}
        found = await world.containers.prune({"label!": ["app=web"]})
        assert found["ContainersDeleted"] == [ids["third"]]
        found = await world.containers.prune({})
        assert found["ContainersDeleted"] == [ids["first"]]
        assert [container.name for container in world.containers.all()] == ["second"]

    play(tmp_path, scenario)


def test_until() -> None:
    assert until_moment(["1h30m"], 10_000 * SECOND) == 4600 * SECOND
    assert until_moment(["1970-01-01T00:00:05Z"], 0) == 5 * SECOND
    assert until_moment(["7.5"], 0) == int(7.5 * SECOND)
    with pytest.raises(InvalidParameter, match="failed to parse value as time or duration"):
        until_moment(["soon"], 0)


def test_ps_output() -> None:
    output = "UID PID CMD\nroot 5 sh -c x\nroot 6 other\nroot 7 top\n"
    assert parse_ps(output, {5, 7}) == {
        "Titles": ["UID", "PID", "CMD"],
        "Processes": [["root", "5", "sh -c x"], ["root", "7", "top"]],
    }
    with pytest.raises(EngineError, match="Couldn't find PID field in ps output"):
        parse_ps("UID CMD\n", set())


def test_execs(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await populate(world)
        execs = world.execs
        with pytest.raises(Conflict, match="is not running"):
            execs.create("first", {"Cmd": ["id"]})
        with pytest.raises(InvalidParameter, match="No exec command specified"):
            execs.create("second", {})
        exec_id = execs.create("second", {"Cmd": ["id", "-u"], "AttachStdout": True})
        assert execs.inspect(exec_id)["ExitCode"] is None
        item = execs.check_start(exec_id)
        sock = await execs.start(item, attached=True, console=None)
        assert sock is not None
        sock.close()
        assert world.runtime.execs[0]["args"] == ["id", "-u"]
        assert execs.inspect(exec_id)["Running"]
        with pytest.raises(Conflict, match="is already running"):
            await execs.start(item, attached=False, console=None)
        execs.on_exit(item.container.id, {"event": "exec-exit", "exec": exec_id, "code": 4})
        await execs.finished(item, InputWatch())
        found = execs.inspect(exec_id)
        assert (found["Running"], found["ExitCode"], found["Pid"]) == (False, 4, 77)
        with pytest.raises(Conflict, match="has already run"):
            await execs.start(item, attached=False, console=None)
        with pytest.raises(NotFound, match="No such exec instance: nope"):
            execs.get("nope")
        await world.containers.pause("second")
        with pytest.raises(Conflict, match="Container second is paused, unpause the container before exec"):
            execs.create("second", {"Cmd": ["id"]})
        item.container.removed = True
        with pytest.raises(NotFound, match=f"No such exec instance: {exec_id}"):
            execs.inspect(exec_id)

    seen = play(tmp_path, scenario).seen
    assert seen[-4:-1] == [
        "container exec_create: id -u",
        "container exec_start: id -u",
        "container exec_die",
    ]


def test_exec_of_a_missing_command(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await populate(world)
        world.runtime.exec_failure = 'exec failed: exec: "nope": executable file not found in $PATH'
        item = world.execs.get(world.execs.create("second", {"Cmd": ["nope"]}))
        with pytest.raises(InvalidParameter) as error:
            await world.execs.start(item, attached=False, console=None)
        assert error.value.message == (
            'OCI runtime exec failed: exec failed: exec: "nope": executable file not found in $PATH: unknown'
        )
        assert item.exit_code == 127
        assert not item.container.exec_ids

    play(tmp_path, scenario)


def test_execs_end_with_their_container(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        ids = await populate(world)
        item = world.execs.get(world.execs.create("second", {"Cmd": ["sleep"]}))
        await world.execs.start(item, attached=False, console=None)
        waiter = world.containers.wait("second", "next-exit")
        world.runtime.end(ids["second"], 0)
        await waiter
        assert item.exit_code == 137
        assert item.done.is_set()

    play(tmp_path, scenario)


def test_volumes(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        volumes = world.volumes
        made = volumes.create("data", labels={"a": "b"})
        assert Path(made["Mountpoint"]).is_dir()
        assert volumes.create("data") == made
        box = await world.create(Cmd=["x"], HostConfig={"Binds": ["data:/d"]})
        with pytest.raises(Conflict) as conflict:
            volumes.remove("data")
        assert conflict.value.message == f"remove data: volume is in use - [{box}]"
        assert volumes.find_all({"dangling": ["false"]}) == [made]
        await world.containers.remove(box, volumes=True)
        volumes.remove("data")
        assert not Path(made["Mountpoint"]).exists()
        with pytest.raises(NotFound, match="get data: no such volume"):
            volumes.get("data")
        with pytest.raises(InvalidParameter, match='create a/b: "a/b" includes invalid characters'):
            volumes.create("a/b")
        with pytest.raises(NotFound, match='plugin "nope" not found'):
            volumes.create("x1", driver="nope")

    play(tmp_path, scenario)


def test_volumes_from(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await populate(world)
        box = await world.create("heir", Cmd=["x"], HostConfig={"VolumesFrom": ["second:ro"]})
        (mount,) = (await world.containers.inspect(box))["Mounts"]
        assert (mount["Name"], mount["RW"]) == ("vol", False)
        assert box in world.volumes.users("vol")
        with pytest.raises(InvalidParameter, match="No such container: nope"):
            await world.create(Cmd=["x"], HostConfig={"VolumesFrom": ["nope"]})

    play(tmp_path, scenario)


def test_following_ends_with_the_container(tmp_path: Path) -> None:
    from compatd.engine.containers.logentries import LogQuery
    from compatd.engine.containers.logs import read_logs

    async def scenario(world: World) -> None:
        ids = await populate(world)
        container = world.containers.find("second")
        path = Path(container.log_path)
        entry = b'{"log":"%d\\n","stream":"stdout","time":"2026-11-27T18:14:58Z"}\n'
        path.write_bytes(entry % 1)
        found = bytearray()

        async def follow() -> None:
            async for piece in read_logs(world.containers, container, LogQuery(follow=True)):
                found.extend(piece)

        task = asyncio.ensure_future(follow())
        while not found:
            await asyncio.sleep(0.001)
        with path.open("ab") as file:
            file.write(entry % 2)
        while found.count(b"\n") < 2:
            await asyncio.sleep(0.001)
        with path.open("ab") as file:
            file.write(entry % 3)
        world.runtime.end(ids["second"], 0)
        await task
        assert found.count(b"\n") == 3

    play(tmp_path, scenario)

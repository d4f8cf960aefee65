"""Making, running, stopping, removing and finding again, with fake neighbours."""

from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers.restart import RestartPolicy, starts_with_daemon
from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotFound, NotModified
from runtime.client import RuntimeError_

from .fakes import World
from .scenario import play


def test_a_run_from_create_to_removal(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create("web", Cmd=["true"], Labels={"a": "b"})
        waiter = world.containers.wait("web", "next-exit")
        await world.containers.start("web")
        container = world.containers.find(box)
        assert container.state.status == "running"
        assert world.store.containers.rows[box]["State"]["running"]
        with pytest.raises(NotModified):
            await world.containers.start("web")
        world.runtime.end(box, 3)
        assert await waiter == (3, "")
        assert container.state.status == "exited"
        assert world.networks.released == [box]
        await world.containers.remove("web")
        assert box not in world.store.containers.rows
        assert not container.dir.exists()
        with pytest.raises(NotFound, match="No such container: web"):
            world.containers.find("web")

    world = play(tmp_path, scenario)
    assert world.seen == ["container create", "container start", "container die", "container destroy"]


def test_rm_removes_at_the_end(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["true"], HostConfig={"AutoRemove": True}, Volumes={"/data": {}})
        (volume,) = world.volumes.find_all()
        removed = world.containers.wait(box, "removed")
        await world.containers.start(box)
        world.runtime.end(box, 7)
        assert await removed == (7, "")
        assert not world.containers.all()
        assert not world.volumes.find_all()
        assert not Path(volume["Mountpoint"]).exists()

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "code", "kind", "end"),
    [
        (
            'unable to start container process: exec: "x": executable file not found in $PATH',
            127,
            InvalidParameter,
            "not found in $PATH: unknown",
        ),
        ('exec: "/x": permission denied', 126, InvalidParameter, "permission denied: unknown"),
        ('exec: "/x": is a directory', 126, InvalidParameter, "is a directory: unknown: permission denied"),
        ("something else", 128, EngineError, "something else: unknown"),
    ],
)
def test_failed_starts(tmp_path: Path, text: str, code: int, kind: type[EngineError], end: str) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"])
        world.runtime.failure = text
        with pytest.raises(EngineError) as error:
            await world.containers.start(box)
        assert type(error.value) is kind
        assert error.value.message.startswith(
            "failed to create task for container: failed to create shim task: "
            "OCI runtime create failed: runc create failed: "
        )
        assert error.value.message.endswith(end)
        state = world.containers.find(box).state
        assert (state.status, state.exit_code, state.error) == ("created", code, error.value.message)
        assert world.networks.released == [box]
        world.runtime.failure = ""
        await world.containers.start(box)
        assert (state.status, state.exit_code, state.error) == ("running", 0, "")

    assert "container die" not in play(tmp_path, scenario).seen


def test_failed_network(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"])
        world.networks.failure = EngineError("Bind for 0.0.0.0:80 failed: port is already allocated")
        with pytest.raises(EngineError, match="port is already allocated"):
            await world.containers.start(box)
        assert world.containers.find(box).state.exit_code == 128

    play(tmp_path, scenario)


def test_create_undoes_what_it_made(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(InvalidParameter, match="Duplicate mount point: /x"):
            await world.create("web", Cmd=["x"], HostConfig={"Binds": ["vol:/x", "/a:/x"]})
        assert not world.volumes.users("vol")
        assert not world.store.containers.rows
        assert not list((tmp_path / "containers").glob("*"))
        await world.create("web", Cmd=["x"])
        with pytest.raises(Conflict, match="already in use by container"):
            await world.create("web", Cmd=["x"])
        with pytest.raises(NotFound, match="No such image: nope:latest"):
            await world.containers.create({"Image": "nope"})
        with pytest.raises(InvalidParameter, match="config cannot be empty"):
            await world.containers.create({"HostConfig": {}})
        with pytest.raises(InvalidParameter, match="unknown or invalid runtime name: nope"):
            await world.create(HostConfig={"Runtime": "nope"})

    play(tmp_path, scenario)


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runtime.deaf = {15}
        box = await world.create(Cmd=["x"])
        await world.containers.start(box)
        await world.containers.stop(box, timeout=0)
        assert [number for _, number in world.runtime.killed] == [15, 9]
        state = world.containers.find(box).state
        assert (state.status, state.exit_code) == ("exited", 137)
        with pytest.raises(NotModified):
            await world.containers.stop(box)

    seen = play(tmp_path, scenario).seen
    assert seen[2:] == ["container kill", "container kill", "container die", "container stop"]


def test_kill_of_one_that_has_just_ended(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"])
        await world.containers.start(box)

        async def refuse(
            container_id: str, signal: int, *, all: bool = False, exec_id: str | None = None
        ) -> None:
            world.runtime.end(container_id, 0)
            raise RuntimeError_(f"Container {container_id} is not running", "Refused")

        world.runtime.kill = refuse  # type: ignore[method-assign]
        await world.containers.remove(box, force=True)
        assert not world.containers.all()

    play(tmp_path, scenario)


def test_stop_uses_the_containers_signal(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"], StopSignal="SIGUSR1")
        await world.containers.start(box)
        await world.containers.stop(box)
        assert [number for _, number in world.runtime.killed] == [10]

    play(tmp_path, scenario)


def test_kill_errors(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create("web", Cmd=["x"])
        with pytest.raises(Conflict) as conflict:
            await world.containers.kill("web")
        assert conflict.value.message == f"cannot kill container: web: container {box} is not running"
        with pytest.raises(InvalidParameter) as invalid:
            await world.containers.kill("web", "FOO")
        assert invalid.value.message == "cannot kill container: web: invalid signal: FOO"
        with pytest.raises(InvalidParameter, match="the linux daemon does not support signal 99"):
            await world.containers.kill("web", "99")

    play(tmp_path, scenario)


def test_remove_of_a_running_one(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create("web", Cmd=["x"])
        await world.containers.start("web")
        with pytest.raises(Conflict) as conflict:
            await world.containers.remove("web")
        assert conflict.value.message == (
            'cannot remove container "web": container is running: '
            "stop the container before removing or force remove"
        )
        await world.containers.pause("web")
        with pytest.raises(Conflict, match="container is paused and must be unpaused first"):
            await world.containers.remove("web")
        await world.containers.remove("web", force=True)
        assert not world.containers.all()

    play(tmp_path, scenario)


def test_pause(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"])
        with pytest.raises(Conflict, match=f"container {box} is not running"):
            await world.containers.pause(box)
        await world.containers.start(box)
        with pytest.raises(EngineError, match=f"Container {box} is not paused"):
            await world.containers.unpause(box)
        await world.containers.pause(box)
        assert world.containers.counts() == (0, 1, 0)
        with pytest.raises(Conflict, match="is already paused"):
            await world.containers.pause(box)
        with pytest.raises(Conflict, match="cannot start a paused container"):
            await world.containers.start(box)
        await world.containers.unpause(box)
        assert world.containers.counts() == (1, 0, 0)

    play(tmp_path, scenario)


def test_rename(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create("one", Cmd=["x"])
        await world.create("two", Cmd=["x"])
        await world.containers.rename("one", "three")
        await world.create("one", Cmd=["x"])
        with pytest.raises(Conflict, match=r"Error when allocating new name: Conflict\. The container name"):
            await world.containers.rename("three", "two")
        with pytest.raises(InvalidParameter, match="Neither old nor new names may be empty"):
            await world.containers.rename("three", "")
        with pytest.raises(InvalidParameter, match="same name as its current name"):
            await world.containers.rename("three", "/three")
        with pytest.raises(InvalidParameter, match=r"^Error when .* Invalid container name \(/a b\), only"):
            await world.containers.rename("three", "a b")

    play(tmp_path, scenario)


def test_failed_start_with_rm_removes_before_the_error(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["nope"], HostConfig={"AutoRemove": True})
        removed = world.containers.wait(box, "removed")
        world.runtime.failure = "exec: nope"
        with pytest.raises(EngineError):
            await world.containers.start(box)
        assert removed.done() and removed.result() == (128, "")
        assert not world.containers.all()

    play(tmp_path, scenario)


def test_restart_keeps_a_container_with_rm(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"], HostConfig={"AutoRemove": True})
        await world.containers.start(box)
        await world.containers.restart(box)
        await world.settle()
        assert world.containers.find(box).state.status == "running"

    seen = play(tmp_path, scenario).seen
    assert seen[-3:] == ["container stop", "container start", "container restart"]


def test_restart_policy_starts_again_and_stop_ends_that(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"], HostConfig={"RestartPolicy": {"Name": "always"}})
        await world.containers.start(box)
        waiter = world.containers.wait(box, "not-running")
        world.runtime.end(box, 1)
        assert await waiter == (1, "")
        container = world.containers.find(box)
        assert container.state.status == "restarting"
        assert container.restart_task is not None
        await container.restart_task
        assert (container.state.status, container.restart_count) == ("running", 1)
        await world.containers.stop(box)
        await world.settle()
        assert container.state.status == "exited"
        assert container.manually_stopped

    play(tmp_path, scenario)


def test_stop_while_waiting_for_the_restart(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"], HostConfig={"RestartPolicy": {"Name": "always"}})
        await world.containers.start(box)
        waiter = world.containers.wait(box, "next-exit")
        world.runtime.end(box, 1)
        await waiter
        await world.containers.stop(box)
        assert world.containers.find(box).state.status == "exited"
        await world.containers.remove(box)

    play(tmp_path, scenario)


def test_backoff() -> None:
    policy = RestartPolicy({"Name": "always"})
    delays = [policy.next_delay(1, stopped_by_hand=False, ran_for=0) for _ in range(12)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert policy.next_delay(0, stopped_by_hand=True, ran_for=11) == 0.1


def test_which_policies_restart() -> None:
    def delay(policy: dict[str, Any], code: int, *, by_hand: bool = False, count: int = 0) -> float | None:
        return RestartPolicy(policy, count).next_delay(code, stopped_by_hand=by_hand, ran_for=0)

    failure = {"Name": "on-failure", "MaximumRetryCount": 2}
    assert delay({"Name": "no"}, 1) is None
    assert delay(failure, 0) is None
    assert delay(failure, 1)
    assert delay(failure, 1, count=2) is None
    assert delay({"Name": "unless-stopped"}, 0)
    assert delay({"Name": "unless-stopped"}, 0, by_hand=True) is None
    assert starts_with_daemon({"Name": "always"}, stopped_by_hand=True, exit_code=0, count=0)
    assert not starts_with_daemon({"Name": "unless-stopped"}, stopped_by_hand=True, exit_code=0, count=0)
    on_failure = {"Name": "on-failure", "MaximumRetryCount": 2}
    assert starts_with_daemon(on_failure, stopped_by_hand=True, exit_code=137, count=1)
    assert not starts_with_daemon(on_failure, stopped_by_hand=False, exit_code=137, count=2)
    assert not starts_with_daemon(on_failure, stopped_by_hand=False, exit_code=0, count=0)

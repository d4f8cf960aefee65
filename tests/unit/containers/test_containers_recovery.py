"""Streams that wait for a start; what a daemon finds after a crash; its orderly end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.containers import attach, recovery
from compatd.engine.errors import Conflict, EngineError, InvalidParameter
from runtime.client import AttachOptions, Exited, Running

from .fakes import FakeStore, World
from .scenario import play


def test_time_for_an_orderly_stop(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        assert recovery.shutdown_limit(world.containers) == 20
        await world.create(Cmd=["x"], StopTimeout=3)
        assert recovery.shutdown_limit(world.containers) == 20
        await world.create(Cmd=["x"], StopTimeout=100)
        assert recovery.shutdown_limit(world.containers) == 105
        await world.create(Cmd=["x"], StopTimeout=-1)
        assert recovery.shutdown_limit(world.containers) is None

    options: dict[str, Any] = {"shutdown-timeout": 20}
    play(tmp_path, scenario, None, **options)


def test_an_orderly_stop_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "shutdown_limit", lambda containers: 0.01)

    async def scenario(world: World) -> None:
        world.runtime.deaf = {15}
        box = await world.create(Cmd=["x"])
        await world.containers.start(box)
        await recovery.close_all(world.containers)
        assert world.containers.find(box).state.running

    play(tmp_path, scenario)


def test_streams_wait_for_the_start_and_can_be_given_up(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"])
        container = world.containers.find(box)
        first = await attach.open_stream(world.containers, container, AttachOptions())
        second = await attach.open_stream(world.containers, container, AttachOptions())
        attach.close_stream(container, first)
        assert first.fileno() == -1
        assert len(container.pending) == 1
        await world.containers.start(box)
        assert len(world.runtime.attachments) == 1
        assert not container.pending
        attach.close_stream(container, second)
        with pytest.raises(InvalidParameter, match=r"Invalid detach keys \(ctrl-foo\) provided"):
            attach.check(world.containers, box, "ctrl-foo")
        await world.containers.pause(box)
        with pytest.raises(Conflict, match="is paused, unpause the container before attach"):
            attach.check(world.containers, box, "")

    play(tmp_path, scenario)


def test_streams_of_a_failed_start_end(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"])
        container = world.containers.find(box)
        stream = await attach.open_stream(world.containers, container, AttachOptions())
        world.networks.failure = EngineError("no")
        with pytest.raises(EngineError, match="no"):
            await world.containers.start(box)
        assert stream.recv(1) == b""
        stream.close()

    play(tmp_path, scenario)


def test_after_a_crash(tmp_path: Path) -> None:
    store, names = FakeStore(), ["alive", "ended", "lost", "again", "half"]
    ids: dict[str, str] = {}

    async def before(world: World) -> None:
        for name in names:
            host = {"RestartPolicy": {"Name": "always"}} if name == "again" else {}
            ids[name] = await world.create(name, Cmd=["x"], HostConfig=host)
        for name in names[:-1]:
            await world.containers.start(name)
        (tmp_path / "containers" / ("f" * 64)).mkdir()
        (tmp_path / "rw" / ("f" * 64) / "diff").mkdir(parents=True)
        world.runtime.bundle("e" * 64).mkdir(parents=True)
        store.containers.rows[ids["half"]]["State"]["starting"] = True

    async def after(world: World) -> None:
        world.runtime.adopted = {
            ids["alive"]: Running(99),
            ids["ended"]: Exited(5, False, 2_000_000_000_000_000_000),
            ids["again"]: Exited(1, False, 2_000_000_000_000_000_000),
        }
        await world.containers.open()
        found = {name: world.containers.find(name) for name in names}
        assert (found["alive"].state.status, found["alive"].pid) == ("running", 99)
        assert (found["ended"].state.status, found["ended"].state.exit_code) == ("exited", 5)
        assert (found["lost"].state.status, found["lost"].state.exit_code) == ("exited", 137)
        assert found["half"].state.status == "created"
        assert found["again"].restart_task is not None
        await found["again"].restart_task
        assert found["again"].state.status == "running"
        assert not (tmp_path / "containers" / ("f" * 64)).exists()
        await asyncio.gather(*world.containers._tasks)
        assert not (tmp_path / "rw" / ("f" * 64)).exists()
        assert world.runtime.discarded == ["e" * 64]

    play(tmp_path, before, store)
    play(tmp_path, after, store)


def test_orderly_end_stops_all_unless_they_are_to_live_on(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        box = await world.create(Cmd=["x"], HostConfig={"RestartPolicy": {"Name": "unless-stopped"}})
        await world.containers.start(box)
        await world.containers.close()
        container = world.containers.find(box)
        assert container.state.running == world.config.live_restore
        assert not container.manually_stopped

    play(tmp_path / "a", scenario)
    play(tmp_path / "b", scenario, None, **{"live-restore": True})

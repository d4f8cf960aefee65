"""Killed shims, zygotes and daemons."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from runtime.client import AttachOptions, Exited, Lost, Running, RuntimeError_
from tests.integration.shimkit import Kit, attachment, read_all, with_kit

pytestmark = pytest.mark.root


def test_a_killed_shim_takes_its_container_along() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "sleep 1000 & sleep 1000")
        started = await kit.runtime.start("one", [], [])
        os.kill(kit.shim_of("one"), signal.SIGKILL)
        await kit.event("one", "lost")
        await kit.gone(lambda: Path(f"/proc/{started.pid}").exists())
        assert kit.cgroups() == []
        await kit.runtime.delete("one")
        assert not kit.runtime.bundle("one").exists()

    with_kit(body)


def test_a_killed_shim_of_a_paused_container() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        await kit.runtime.start("one", [], [])
        await kit.runtime.pause("one")
        os.kill(kit.shim_of("one"), signal.SIGKILL)
        await kit.event("one", "lost")
        assert kit.cgroups() == []

    with_kit(body)


def test_containers_outlive_the_daemon() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "echo up; read x; echo got $x; exit 4", stdin=True)
        started = await kit.runtime.start("one", [], [])
        await kit.restart()
        assert await kit.runtime.adopt("one") == Running(started.pid)
        ours = await kit.runtime.attach("one", AttachOptions(stdin=True))
        await asyncio.get_running_loop().sock_sendall(ours, b"word\n")
        await read_all(ours)
        assert (await kit.event("one", "exit"))["code"] == 4
        await kit.runtime.delete("one")
        assert kit.entries("one") == [("stdout", "up\n"), ("stdout", "got word\n")]
        await kit.gone(kit.shims)

    with_kit(body)


def test_an_exit_while_no_daemon_is_there() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sh", "-c", "sleep 1000")
        started = await kit.runtime.start("one", [], [])
        await kit.runtime.close()
        os.kill(started.pid, signal.SIGTERM)  # ignored by a pid 1 without a handler
        os.kill(started.pid, signal.SIGKILL)
        await kit.gone(kit.shims)
        assert kit.cgroups() == []
        kit.runtime = kit.new_runtime()
        await kit.runtime.open()
        ended = await kit.runtime.adopt("one")
        assert isinstance(ended, Exited)
        assert (ended.code, ended.oom) == (137, False)
        assert ended.at > 1_700_000_000_000_000_000
        await kit.runtime.delete("one")
        assert not kit.runtime.bundle("one").exists()

    with_kit(body)


def test_shim_and_daemon_gone() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        started = await kit.runtime.start("one", [], [])
        shim = kit.shim_of("one")
        await kit.runtime.close()
        os.kill(shim, signal.SIGKILL)
        await kit.gone(kit.shims)
        kit.runtime = kit.new_runtime()
        await kit.runtime.open()
        assert await kit.runtime.adopt("one") == Lost()
        await kit.gone(lambda: Path(f"/proc/{started.pid}").exists())
        assert kit.cgroups() == []
        assert await kit.runtime.adopt("never-was") == Lost()

    with_kit(body)


def test_the_requester_vanishes_during_the_start() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        task = asyncio.create_task(kit.runtime.start("one", [], []))
        await asyncio.sleep(0)  # the request is on its way
        for shim in tuple(kit.runtime._shims.values()):
            shim.connection.close()
        task.cancel()
        await kit.gone(lambda: not (kit.runtime.bundle("one") / "state.json").exists())
        await kit.restart()
        adopted = await kit.runtime.adopt("one")
        assert isinstance(adopted, Running)
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")

    with_kit(body)


def test_a_killed_zygote_harms_nobody() -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("one", "sleep", "1000")
        await kit.runtime.start("one", [], [])
        assert kit.runtime.zygote_pid is not None
        os.kill(kit.runtime.zygote_pid, signal.SIGKILL)
        kit.bundle("two", "true")
        ours, theirs = attachment()
        await kit.runtime.start("two", [theirs], [])
        await read_all(ours)
        await kit.event("two", "exit")
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")
        for name in ("one", "two"):
            await kit.runtime.delete(name)
        await kit.gone(kit.shims)

    with_kit(body)


async def starter_of(kit: Kit) -> int:
    """The PID of the process that is starting something for a shim."""
    while True:
        for pid in kit.shims():
            try:
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent != kit.runtime.zygote_pid:
                return pid
        await asyncio.sleep(0)


@pytest.mark.parametrize("victim", ["starter", "shim"])
def test_killed_during_a_start(victim: str) -> None:
    async def body(kit: Kit) -> None:
        kit.bundle("warm", "true")  # so that the zygote is there and the next start is a plain one
        await kit.runtime.start("warm", [], [])
        await kit.event("warm", "exit")
        await kit.runtime.delete("warm")
        await kit.gone(kit.shims)
        # Opening the FIFO holds the starter up: it reads config.json.
        bundle = kit.bundle("one", "sleep", "1000")
        config = (bundle / "config.json").read_text()
        (bundle / "config.json").unlink()
        os.mkfifo(bundle / "config.json")
        task = asyncio.create_task(kit.runtime.start("one", [], []))
        pid = await starter_of(kit)
        if victim == "shim":
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(pid, signal.SIGKILL)
        (bundle / "config.json").unlink()
        (bundle / "config.json").write_text(config)
        with pytest.raises(RuntimeError_):
            await task
        await kit.gone(kit.shims)
        assert kit.cgroups() == []
        await kit.runtime.start("one", [], [])
        await kit.runtime.kill("one", 9)
        await kit.event("one", "exit")

    with_kit(body)

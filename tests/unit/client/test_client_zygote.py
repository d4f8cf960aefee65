"""The real zygote: it forks, dies with the daemon's socket, and is replaced when it is killed."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.client import Runtime, RuntimeError_, WorkerError


def no_events(container_id: str, message: dict[str, Any]) -> None:
    raise AssertionError(message)


def with_runtime(tmp_path: Path, body: Callable[[Runtime], Awaitable[None]]) -> None:
    async def main() -> None:
        runtime = Runtime(tmp_path, on_event=no_events)
        await runtime.open()
        try:
            await body(runtime)
        finally:
            await runtime.close()

    asyncio.run(main())


async def refused(runtime: Runtime) -> None:
    with pytest.raises(WorkerError) as caught:
        await runtime.worker("os:getpid", {})
    assert caught.value.kind == "Refused"


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_requests_before_it_is_ready_and_many_at_once(tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        pid = runtime.zygote_pid
        assert pid is not None
        await asyncio.gather(*(refused(runtime) for _ in range(8)))
        assert Path(f"/proc/{pid}/comm").read_text() == "compatd-zygote\n"
        assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"compatd-zygote"
        for _ in range(500):
            if not children(pid):
                break
            await asyncio.sleep(0.01)
        assert not children(pid), "workers are left, or zombies"

    with_runtime(tmp_path, body)


def test_it_holds_no_foreign_descriptors(tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        await refused(runtime)
        for _ in range(500):  # it may answer by its child before it has closed the request's own descriptor
            found = os.listdir(f"/proc/{runtime.zygote_pid}/fd")
            if len(found) == 4:
                break
            await asyncio.sleep(0.01)
        assert len(found) == 4  # 0, 1, 2 and the socket

    leaky = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leaky, True)
    try:
        with_runtime(tmp_path, body)
    finally:
        os.close(leaky)


def test_a_killed_one_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.client.zygote._TOO_SHORT", 0)

    async def body(runtime: Runtime) -> None:
        await refused(runtime)
        first = runtime.zygote_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        # Requests that the dead one took with it are made again.
        await asyncio.gather(*(refused(runtime) for _ in range(5)))
        assert runtime.zygote_pid != first

    with_runtime(tmp_path, body)


def test_a_shim_without_a_bundle_says_so(tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        (tmp_path / "compatd" / "c" / "nothing").mkdir()
        with pytest.raises(RuntimeError_) as caught:
            await runtime.start("nothing", [], [])
        assert "shim.json" in caught.value.message
        with pytest.raises(RuntimeError_) as caught:
            await runtime.kill("nothing", 9)
        assert caught.value.kind == "Gone"
        await runtime.delete("nothing")
        assert not (tmp_path / "compatd" / "c" / "nothing").exists()

    with_runtime(tmp_path, body)

"""One mount per volume with options, for as long as it has users."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from compatd.engine import volumemounts
from compatd.engine.errors import EngineError
from compatd.engine.volumemounts import VolumeMounts

Json = dict[str, Any]


class Runtime:
    def __init__(self) -> None:
        self.calls: list[Json] = []
        self.error = ""

    async def worker(self, function: str, arguments: Json, fds: Any = ()) -> Json:
        assert function == "runtime.storage.volumemount:run"
        self.calls.append(arguments)
        await asyncio.sleep(0)
        return {"error": self.error} if self.error else {"mounted": True}


def volume(name: str = "v", **options: str) -> Json:
    return {"Name": name, "Driver": "local", "Mountpoint": f"/x/{name}/_data", "Options": options or None}


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(volumemounts, "unmount", found.append)
    return found


TMPFS = volume(type="tmpfs", device="tmpfs", o="size=1m")


def test_first_user_mounts_and_last_unmounts(gone: list[str]) -> None:
    runtime = Runtime()
    mounts = VolumeMounts(runtime)

    async def scenario() -> None:
        await asyncio.gather(*(mounts.hold(TMPFS, user) for user in ("a", "b", "a")))
        assert runtime.calls == [{"type": "tmpfs", "device": "tmpfs", "o": "size=1m", "path": "/x/v/_data"}]
        await mounts.drop(TMPFS, "a")
        assert gone == []
        await mounts.drop(TMPFS, "b")
        assert gone == ["/x/v/_data"]
        await mounts.hold(TMPFS, "c")
        assert len(runtime.calls) == 2

    asyncio.run(scenario())


def test_a_plain_volume_is_no_mount(gone: list[str]) -> None:
    runtime = Runtime()
    mounts = VolumeMounts(runtime)

    async def scenario() -> None:
        await mounts.hold(volume(), "a")
        await mounts.drop(volume(), "a")

    asyncio.run(scenario())
    assert (runtime.calls, gone) == ([], [])


def test_a_mount_that_fails_holds_nothing(gone: list[str]) -> None:
    runtime = Runtime()
    runtime.error = "failed to mount local volume: no"
    mounts = VolumeMounts(runtime)

    async def scenario() -> None:
        with pytest.raises(EngineError) as error:
            await mounts.hold(TMPFS, "a")
        assert error.value.message == (
            "error while mounting volume '/x/v/_data': failed to mount local volume: no"
        )
        runtime.error = ""
        await mounts.hold(TMPFS, "b")
        await mounts.drop(TMPFS, "b")

    asyncio.run(scenario())
    assert gone == ["/x/v/_data"]


def test_sweep_spares_what_was_adopted(gone: list[str]) -> None:
    mounts = VolumeMounts(Runtime())
    other = volume("other", type="nfs", device=":/x")
    mounts.adopt(TMPFS, "a")
    mounts.sweep([TMPFS, other, volume("plain")])
    assert gone == ["/x/other/_data"]


def test_a_mount_that_hangs_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real/v").mkdir(parents=True)
    (tmp_path / "volumes").symlink_to("real")
    asked: list[str] = []
    lstat = os.lstat

    def watched(path: Any, *more: Any, **options: Any) -> os.stat_result:
        asked.append(os.fspath(path))
        return lstat(path, *more, **options)

    monkeypatch.setattr(os, "lstat", watched)
    found = volumemounts.real_folder(str(tmp_path / "volumes/v/_data"))
    assert found == str(tmp_path / "real/v/_data")
    assert asked and not any(path.endswith("_data") for path in asked)

"""A RUN that is cancelled, or whose daemon is killed: nothing of it is left."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.runkit import Rig, running_rig, wait_until

MOUNTS = [
    "type=cache,target=/c",
    "type=tmpfs,target=/t",
    "type=secret,id=x",
    "type=ssh",
    "from=base,source=/etc,target=/m,rw",
]
ALL: dict[str, Any] = {"mounts": MOUNTS, "secrets": {"x": "hush"}, "agents": ["default"]}
WAIT = "touch /c/here /m/x; (sleep 1000 &) ; sleep 1000"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_rig() as found:
        found.good("true", **ALL)
        yield found


def begun(rig: Rig, command: str = WAIT, **request: Any) -> Any:
    """A RUN that has come so far as to write."""
    for old in rig.data_root.glob("compatd/build/*/here"):
        old.unlink()
    sock = rig.send("run", args=["/bin/sh", "-c", command], **{**ALL, **request})
    wait_until(lambda: list(rig.data_root.glob("compatd/build/*/here")), "the command")
    return sock


def same(rig: Rig, before: dict[str, Any]) -> None:
    """The census is as before, as soon as nothing moves any more."""
    after: list[dict[str, Any]] = []

    def equal() -> bool:
        after[:] = [rig.at_rest()]
        return after[0] == before

    with contextlib.suppress(AssertionError):
        wait_until(equal, "the census to be as before", 60)
    assert after[0] == before


@pytest.mark.parametrize("classic", [False, True])
def test_a_cancelled_one_leaves_nothing(rig: Rig, classic: bool) -> None:
    before, files = rig.at_rest(), rig.descriptors()
    for _ in range(3):
        begun(rig, classic=classic).close()
        wait_until(lambda: not list((rig.exec_root / "compatd/c").iterdir()), "its end")
    same(rig, before)
    wait_until(lambda: rig.descriptors() <= files, "its files to be closed")


def test_one_cancelled_at_any_moment_leaves_nothing(rig: Rig) -> None:
    before, files = rig.at_rest(), rig.descriptors()
    for step in range(24):
        sock = rig.send("run", args=["/bin/sh", "-c", "echo x; sleep 1000"], **ALL)
        time.sleep(step * 0.004)
        sock.close()
    wait_until(lambda: not list((rig.exec_root / "compatd/c").iterdir()), "their end")
    assert rig.good("echo fine", **ALL)["out"] == "fine\n"
    same(rig, before)
    wait_until(lambda: rig.descriptors() <= files, "their files to be closed")


def test_those_that_end_leave_nothing(rig: Rig) -> None:
    before, files = rig.at_rest(), rig.descriptors()
    for command in ("true", "false", "kill -9 -1", "exec 1>&- 2>&-; sleep 0.1"):
        rig.run(command, **ALL)
        rig.run(command, classic=True)
    rig.run(["nope"], **ALL)
    rig.run("true", user="nobody", **ALL)
    rig.run("true", network="nowhere", **ALL)
    rig.run("true", **{**ALL, "mounts": [*MOUNTS, "from=base,source=/nope,target=/n"]})
    rig.run("true", **{**ALL, "mounts": [*MOUNTS, "type=secret,id=no,required=true"]})
    same(rig, before)
    wait_until(lambda: rig.descriptors() <= files, "their files to be closed")


def test_endless_output_is_held_back(rig: Rig) -> None:
    def resident() -> int:
        status = Path(f"/proc/{rig.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    rig.good("yes | head -c 1000000", slow=0)
    before = resident()
    sock = begun(rig, "touch /c/here; exec yes", slow=0.3)
    time.sleep(1.5)
    assert resident() - before < 20_000
    sock.close()
    wait_until(lambda: not list((rig.exec_root / "compatd/c").iterdir()), "its end")


@pytest.mark.parametrize("delays", [[None], [0.005, 0.02, 0.045]])
def test_a_killed_daemons_run_ends_at_the_next_start(delays: list[float | None]) -> None:
    """Killed while the command runs, or so many seconds after the RUN has begun."""
    with running_rig() as rig:
        rig.good("true", **ALL)
        before = rig.at_rest()
        for delay in delays:
            if delay is None:
                sock = begun(rig)
            else:
                sock = rig.send("run", args=["/bin/sh", "-c", "exec sleep 1000"], **ALL)
                time.sleep(delay)
            rig.kill()
            sock.close()
            rig.start()
        same(rig, {**before, "processes": rig.at_rest()["processes"]})
        assert _commands(rig, b"sleep") == []
        assert _leavings(rig) == []
        assert rig.good("echo fine", **ALL)["out"] == "fine\n"


def _commands(rig: Rig, word: bytes) -> list[int]:
    found = []
    for pid in rig.processes():
        with contextlib.suppress(OSError):
            if word in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _leavings(rig: Rig) -> list[str]:
    """What lies below the exec root of RUNs, and mounts there."""
    found = os.listdir(rig.exec_root / "compatd/c")
    return found + [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(rig.exec_root) in line
    ]


def test_an_orderly_end_of_the_daemon_ends_it() -> None:
    with running_rig() as rig:
        rig.good("true", **ALL)
        begun(rig)
        rig.stop()
        assert _commands(rig, b"sleep") == []
        assert _leavings(rig) == []
        assert os.listdir(rig.data_root / "compatd/rw") == []

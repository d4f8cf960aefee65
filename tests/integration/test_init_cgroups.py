"""Limits, freezing, killing, OOM news on this machine's hierarchies."""

import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import cgroups
from runtime.cgroups import Cgroup, CgroupError
from runtime.cgroups.detect import Layout
from runtime.cgroups.v2 import V2
from runtime.spec import Resources

pytestmark = pytest.mark.root
PATIENCE = 30


@pytest.fixture
def group() -> Iterator[Cgroup]:
    made = cgroups.open_cgroup(f"/cgtest-{uuid.uuid4().hex[:12]}")
    yield made
    made.kill(signal.SIGKILL)
    made.delete()


def inside(group: Cgroup, *command: str) -> subprocess.Popen[bytes]:
    # A shell moves itself: no Python between fork and exec of a test runner.
    script = "".join(f"echo 0 > {file} && " for file in procs(group)) + 'exec "$@"'
    return subprocess.Popen(["/bin/sh", "-c", script, "sh", *command])


def procs(group: Cgroup) -> list[str]:
    name = "tasks" if cgroups.detect().version == 1 else "cgroup.procs"
    return [f"{folder}/{name}" for folder in group.folders()]


def wait_until(group: Cgroup, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(group.pids()) != count:
        assert time.monotonic() < deadline, group.pids()
        time.sleep(0.01)


def control(group: Cgroup, controller: str, name: str) -> str:
    for folder in group.folders():
        if Path(folder, name).exists() and (cgroups.detect().version == 2 or f"/{controller}" in folder):
            return Path(folder, name).read_text().strip()
    raise AssertionError(name)


v1_only = pytest.mark.skipif(cgroups.detect().version != 1, reason="files of v1")


@v1_only
def test_limits_are_written(group: Cgroup) -> None:
    group.create(
        {
            "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
            "pids": {"limit": 33},
            "devices": [{"allow": False, "access": "rwm"}],
        }
    )
    assert control(group, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert control(group, "memory", "memory.soft_limit_in_bytes") == str(32 << 20)
    assert control(group, "cpu", "cpu.shares") == "512"
    assert control(group, "cpu", "cpu.cfs_quota_us") == "50000"
    assert control(group, "cpuset", "cpuset.cpus") == "0"
    assert control(group, "pids", "pids.max") == "33"
    assert "c 1:3 rwm" in control(group, "devices", "devices.list")
    group.apply({"memory": {"limit": 256 << 20, "swap": 512 << 20}, "pids": {"limit": -1}})
    assert control(group, "memory", "memory.limit_in_bytes") == str(256 << 20)
    assert control(group, "pids", "pids.max") == "max"
    group.apply({"memory": {"limit": 32 << 20, "swap": 64 << 20}})
    assert control(group, "memory", "memory.limit_in_bytes") == str(32 << 20)


@v1_only
def test_a_limit_that_cannot_be_leaves_nothing(group: Cgroup) -> None:
    with pytest.raises(CgroupError, match='unable to apply cgroup configuration: failed to write "7777"'):
        group.create({"cpu": {"cpus": "7777"}})
    assert not any(Path(folder).exists() for folder in group.folders())


def test_create_twice_and_delete_twice(group: Cgroup) -> None:
    group.create({})
    group.create({})
    assert all(Path(folder).is_dir() for folder in group.folders())
    group.delete()
    group.delete()
    assert not any(Path(folder).exists() for folder in group.folders())


def test_processes_are_found_frozen_and_killed(group: Cgroup) -> None:
    group.create({})
    process = inside(group, "sh", "-c", "sleep 1000 & sleep 1000")
    try:
        wait_until(group, 3)
        group.freeze()
        assert group.frozen()
        group.thaw()
        assert not group.frozen()
        group.freeze()
        group.kill(signal.SIGKILL)  # the frozen ones too
        assert process.wait(PATIENCE) == -signal.SIGKILL
        wait_until(group, 0)
    finally:
        group.kill(signal.SIGKILL)
        process.wait()


def test_groups_made_inside_go_with_it(group: Cgroup) -> None:
    group.create({})
    for folder in group.folders():
        Path(folder, "below", "deeper").mkdir(parents=True)
    group.delete()
    assert not any(Path(folder).exists() for folder in group.folders())


def test_deleting_ends_what_still_runs(group: Cgroup) -> None:
    group.create({})
    process = inside(group, "sleep", "1000")
    wait_until(group, 1)
    group.delete()
    assert process.wait(PATIENCE) == -signal.SIGKILL


@v1_only
def test_an_oom_kill_is_news(group: Cgroup) -> None:
    group.create({"memory": {"limit": 8 << 20, "swap": 8 << 20}})
    news = group.oom_fd()
    assert news >= 0
    process = inside(group, "/bin/busybox", "sh", "-c", "a=0123456789; while :; do a=$a$a; done")
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert select.select([news], [], [], PATIENCE)[0] == [news]
    os.close(news)
    assert group.oom_kills() >= 1


@v1_only
def test_stats(group: Cgroup) -> None:
    group.create({"pids": {"limit": 5}})
    process = inside(group, "sleep", "1000")
    wait_until(group, 1)
    deadline = time.monotonic() + 30  # a process that has just come in has used nothing yet
    while not ((stats := group.stats())["memory"]["usage_in_bytes"] and stats["cpu"]["usage"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert stats["pids"] == {"current": 1, "limit": 5}
    assert stats["memory"]["usage_in_bytes"] > 0
    assert stats["cpu"]["usage"] > 0
    assert len(stats["cpu"]["percpu"]) >= 1


@pytest.fixture
def unified() -> Iterator[V2]:
    root = cgroups.detect().unified
    if not root:
        pytest.skip("no v2 hierarchy")
    made = V2(Layout(2, {}, root), f"/cgtest-{uuid.uuid4().hex[:12]}")
    yield made
    made.kill(signal.SIGKILL)
    made.delete()


def test_v2_in_the_hybrid_layout(unified: V2) -> None:
    """Its controllers are taken by v1 there, but processes, freezing and killing are the same."""
    unified.create({})
    script = f"echo 0 > {unified.dir}/cgroup.procs && exec sleep 1000"
    process = subprocess.Popen(["/bin/sh", "-c", script])
    wait_until(unified, 1)
    unified.freeze()
    assert unified.frozen()
    unified.thaw()
    unified.kill(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL


def test_v2_device_rules_hold(unified: V2, tmp_path: Path) -> None:
    rules: Resources = {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        ]
    }
    unified.create(rules)
    unified.apply(rules)  # in place of the first
    os.mknod(tmp_path / "mem", 0o020600, os.makedev(1, 1))
    tests = f"for d in /dev/null /dev/zero /dev/kmsg {tmp_path}/mem; do : < $d && echo ${{d##*/}}; done"
    script = f"echo 0 > {unified.dir}/cgroup.procs && {tests}"
    result = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["null", "zero", "kmsg"]
    assert "Operation not permitted" in result.stderr

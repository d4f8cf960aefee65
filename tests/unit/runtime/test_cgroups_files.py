"""What is written to control files and read from them, in folders made up for it."""

from pathlib import Path
from typing import Any, cast

import pytest

from runtime.cgroups import v1, v2
from runtime.cgroups.base import Cgroup, CgroupError
from runtime.cgroups.detect import Layout
from runtime.spec import Resources

MB = 1 << 20


def unified(root: Path, *files: str) -> tuple[Cgroup, Path]:
    group = v2.V2(Layout(2, {}, str(root)), "/docker/x")
    return group, touch(root / "docker/x", *files)


def legacy(root: Path, controller: str, *files: str) -> tuple[Cgroup, Path]:
    group = v1.V1(Layout(1, {controller: str(root)}, ""), "/docker/x")
    return group, touch(root / "docker/x", *files)


def touch(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True)
    for file in files:
        name, _, text = file.partition("=")
        (folder / name).write_text(text)
    return folder


def resources(**values: Any) -> Resources:
    return cast(Resources, values)


BPS = {"major": 8, "minor": 16, "rate": 1000}


@pytest.mark.parametrize(
    ("wanted", "written"),
    [
        ({"memory": {"limit": 64 * MB}}, {"memory.max": str(64 * MB)}),
        (
            {"memory": {"limit": 64 * MB, "swap": 96 * MB}},
            {"memory.max": str(64 * MB), "memory.swap.max": str(32 * MB)},
        ),
        ({"memory": {"limit": 64 * MB, "swap": -1}}, {"memory.swap.max": "max"}),
        ({"memory": {"reservation": 7 * MB}}, {"memory.low": str(7 * MB)}),
        ({"cpu": {"shares": 1024}}, {"cpu.weight": "39"}),
        ({"cpu": {"quota": 20000, "period": 50000}}, {"cpu.max": "20000 50000"}),
        ({"cpu": {"quota": 20000}}, {"cpu.max": "20000 100000"}),
        ({"cpu": {"cpus": "0-1", "mems": "0"}}, {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
        ({"pids": {"limit": 9}}, {"pids.max": "9"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}),
        ({"blockIO": {"weight": 500}}, {"io.weight": "4950"}),
        (  # the kernel's own weights know none for a disk alone
            {"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 16, "weight": 10}]}},
            {"io.weight": "4950"},
        ),
        ({"blockIO": {"throttleReadBpsDevice": [BPS]}}, {"io.max": "8:16 rbps=1000"}),
        ({"blockIO": {"throttleWriteBpsDevice": [BPS]}}, {"io.max": "8:16 wbps=1000"}),
        ({"blockIO": {"throttleReadIOPSDevice": [BPS]}}, {"io.max": "8:16 riops=1000"}),
        ({"blockIO": {"throttleWriteIOPSDevice": [BPS]}}, {"io.max": "8:16 wiops=1000"}),
    ],
)
def test_v2_limits(tmp_path: Path, wanted: dict[str, Any], written: dict[str, str]) -> None:
    group, folder = unified(
        tmp_path, "memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "cpuset.cpus",
        "cpuset.mems", "pids.max", "io.weight", "io.max",
    )  # fmt: skip
    group.apply(resources(**wanted))
    for name, text in written.items():
        assert (folder / name).read_text() == text


def test_v2_weights_go_to_the_scheduler_that_is_there(tmp_path: Path) -> None:
    group, folder = unified(tmp_path, "io.bfq.weight")
    group.apply(resources(blockIO={"weightDevice": [{"major": 8, "minor": 0, "weight": 300}]}))
    assert (folder / "io.bfq.weight").read_text() == "8:0 300"


@pytest.mark.parametrize(
    ("controller", "wanted", "written"),
    [
        ("memory", {"memory": {"limit": 64 * MB}}, {"memory.limit_in_bytes": str(64 * MB)}),
        ("memory", {"memory": {"reservation": 7 * MB}}, {"memory.soft_limit_in_bytes": str(7 * MB)}),
        ("memory", {"memory": {"swappiness": 0}}, {"memory.swappiness": "0"}),
        ("memory", {"memory": {"disableOOMKiller": True}}, {"memory.oom_control": "1"}),
        ("memory", {"memory": {"swap": -1}}, {"memory.memsw.limit_in_bytes": "-1"}),
        ("cpu", {"cpu": {"quota": 5000}}, {"cpu.cfs_quota_us": "5000"}),
        ("cpu", {"cpu": {"period": 5000}}, {"cpu.cfs_period_us": "5000"}),
        ("cpu", {"cpu": {"realtimePeriod": 6000}}, {"cpu.rt_period_us": "6000"}),
        ("blkio", {"blockIO": {"weight": 300}}, {"blkio.weight": "300"}),
        (
            "blkio",
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 20}]}},
            {"blkio.weight_device": "8:16 20"},
        ),
        (
            "blkio",
            {"blockIO": {"throttleWriteIOPSDevice": [BPS]}},
            {"blkio.throttle.write_iops_device": "8:16 1000"},
        ),
        ("pids", {"pids": {"limit": -1}}, {"pids.max": "max"}),
    ],
)
def test_v1_limits(tmp_path: Path, controller: str, wanted: dict[str, Any], written: dict[str, str]) -> None:
    group, folder = legacy(tmp_path, controller, *written)
    group.apply(resources(**wanted))
    for name, text in written.items():
        assert (folder / name).read_text() == text


def test_v1_no_weight_without_a_scheduler_that_weighs(tmp_path: Path) -> None:
    group, folder = legacy(tmp_path, "blkio")
    group.apply(resources(blockIO={"weight": 300, "weightDevice": [{"major": 8, "minor": 0, "weight": 20}]}))
    assert list(folder.iterdir()) == []


def test_v1_shares_that_the_kernel_changes_are_refused(tmp_path: Path) -> None:
    group, folder = legacy(tmp_path, "cpu", "cpu.shares")
    (folder / "cpu.shares").unlink()
    (folder / "cpu.shares").symlink_to("/dev/null")
    group.apply(resources(cpu={"shares": 1}))  # nothing can be read back: no complaint
    (folder / "cpu.shares").unlink()
    with pytest.raises(CgroupError, match="openat2"):
        group.apply(resources(cpu={"shares": 1}))


def test_v1_block_io_by_the_throttle(tmp_path: Path) -> None:
    group, _ = legacy(
        tmp_path,
        "blkio",
        "blkio.throttle.io_service_bytes=8:16 Read 4096\n8:16 Write 0\n8:16 Total 4096\nTotal 4096\n",
        "blkio.throttle.io_serviced=8:16 Read 1\nTotal 1\n",
    )
    assert group.stats()["blkio"] == {
        "io_service_bytes_recursive": [(8, 16, "Read", 4096), (8, 16, "Write", 0), (8, 16, "Total", 4096)],
        "io_serviced_recursive": [(8, 16, "Read", 1)],
    }


def test_v1_block_io_by_cfq(tmp_path: Path) -> None:
    group, _ = legacy(
        tmp_path,
        "blkio",
        "blkio.io_serviced_recursive=8:0 Sync 5\n",
        "blkio.sectors_recursive=8:0 77\n",
        "blkio.throttle.io_serviced=8:0 Read 9\n",
    )
    found = group.stats()["blkio"]
    assert found["io_serviced_recursive"] == [(8, 0, "Sync", 5)]
    assert found["sectors_recursive"] == [(8, 0, "", 77)]
    assert found["io_merged_recursive"] == []


def test_v2_figures(tmp_path: Path) -> None:
    group, _ = unified(
        tmp_path,
        "memory.current=100\n",
        "memory.max=max\n",
        "memory.stat=anon 7\nfile 8\n",
        "memory.events=low 0\nmax 9\noom 2\noom_kill 1\n",
        "cpu.stat=usage_usec 30\nuser_usec 20\n",
        "pids.current=3\n",
        "pids.max=max\n",
        "io.stat=8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n259:0 rbytes=5\n",
    )
    found = group.stats()
    assert found["version"] == 2
    assert found["memory"] == {
        "current": 100, "peak": None, "max": None, "stat": {"anon": 7, "file": 8}, "failcnt": 2,
    }  # fmt: skip
    assert found["cpu"] == {"stat": {"usage_usec": 30, "user_usec": 20}}
    assert found["pids"] == {"current": 3, "limit": None}
    assert found["blkio"]["io_service_bytes_recursive"] == [
        (8, 16, "read", 1), (8, 16, "write", 2), (259, 0, "read", 5), (259, 0, "write", 0),
    ]  # fmt: skip

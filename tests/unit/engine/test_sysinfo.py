"""What the machine can do, read from made-up trees."""

import dataclasses
from pathlib import Path

import pytest

from compatd.engine.sysinfo import detect, forwarding_now, parse_cpu_list, warnings


def _touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")


def test_v1_with_everything(tmp_path: Path) -> None:
    groups = tmp_path / "sys/fs/cgroup"
    _touch(
        groups / "memory/memory.limit_in_bytes",
        groups / "memory/memory.memsw.limit_in_bytes",
        groups / "memory/memory.oom_control",
        groups / "cpu/cpu.shares",
        groups / "cpu/cpu.cfs_quota_us",
        groups / "cpuset/cpuset.cpus",
        groups / "pids/tasks",
        groups / "blkio/blkio.throttle.read_bps_device",
        tmp_path / "proc/sys/kernel/seccomp/actions_avail",
    )
    features = detect(tmp_path)
    assert features.cgroup_version == "1"
    assert features.seccomp
    assert all((features.memory, features.swap, features.pids, features.cpuset, features.oom_kill_disable))
    assert warnings(features, forwarding=True) == []


def test_v1_with_nothing_is_warned_about(tmp_path: Path) -> None:
    features = detect(tmp_path)
    assert warnings(features, forwarding=False) == [
        "WARNING: No memory limit support",
        "WARNING: No swap limit support",
        "WARNING: No oom kill disable support",
        "WARNING: No cpu cfs quota support",
        "WARNING: No cpu cfs period support",
        "WARNING: No cpu shares support",
        "WARNING: No cpuset support",
        "WARNING: No blkio throttle.read_bps_device support",
        "WARNING: No blkio throttle.write_bps_device support",
        "WARNING: No blkio throttle.read_iops_device support",
        "WARNING: No blkio throttle.write_iops_device support",
        "WARNING: IPv4 forwarding is disabled",
    ]


def test_v2_has_what_its_controllers_say(tmp_path: Path) -> None:
    groups = tmp_path / "sys/fs/cgroup"
    _touch(groups / "system.slice/memory.max")
    (groups / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (groups / "cpuset.cpus.effective").write_text("0-3\n")
    features = detect(tmp_path)
    assert features.cgroup_version == "2"
    assert features.memory
    assert not features.swap
    assert not features.oom_kill_disable
    assert not features.blkio_throttle
    assert features.cpus == "0-3"
    assert "WARNING: No swap limit support" in warnings(features, forwarding=True)
    assert "WARNING: No oom kill disable support" not in warnings(features, forwarding=True)
    assert warnings(features, forwarding=True)[1:] == [  # as a 29.8 without the controller io says it
        "WARNING: No io.weight support",
        "WARNING: No io.weight (per device) support",
        "WARNING: No io.max (rbps) support",
        "WARNING: No io.max (wbps) support",
        "WARNING: No io.max (riops) support",
        "WARNING: No io.max (wiops) support",
    ]


def test_facts_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "proc/sys/net/ipv4/ip_forward").write_text("1\n")
    (tmp_path / "sys/module/apparmor/parameters").mkdir(parents=True)
    (tmp_path / "sys/module/apparmor/parameters/enabled").write_text("Y\n")
    (tmp_path / "sys/kernel/security/apparmor").mkdir(parents=True)
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/apparmor_parser").touch()
    found = detect(tmp_path)
    assert (found.ipv4_forwarding, found.apparmor, found.seccomp) == (True, True, False)


def test_cpu_lists() -> None:
    assert parse_cpu_list("0-2,7") == {0, 1, 2, 7}
    assert parse_cpu_list("") == set()
    with pytest.raises(ValueError, match="2-1"):
        parse_cpu_list("2-1")


def test_forwarding_is_read_again_without_the_rest() -> None:
    before = detect()
    other = dataclasses.replace(before, ipv4_forwarding=not before.ipv4_forwarding, cpus="77")
    assert forwarding_now(other) == dataclasses.replace(before, cpus="77")

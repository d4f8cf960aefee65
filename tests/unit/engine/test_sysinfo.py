"""What the machine can do, read from made-up trees."""

from pathlib import Path

from compatd.engine.sysinfo import probe, warnings


def _touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")


def test_v1_with_everything(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    _touch(
        groups / "memory/memory.limit_in_bytes",
        groups / "memory/memory.memsw.limit_in_bytes",
        groups / "memory/memory.oom_control",
        groups / "cpu/cpu.shares",
        groups / "cpu/cpu.cfs_quota_us",
        groups / "cpuset/cpuset.cpus",
        groups / "pids/tasks",
        tmp_path / "proc/sys/kernel/seccomp/actions_avail",
    )
    features = probe(groups, tmp_path / "proc")
    assert features.cgroup_version == "1"
    assert features.seccomp
    assert all((features.memory, features.swap, features.pids, features.cpuset, features.oom_kill_disable))
    assert [line for line in warnings(features) if "forwarding" not in line] == []


def test_v1_with_nothing_is_warned_about(tmp_path: Path) -> None:
    features = probe(tmp_path, tmp_path)
    assert [line for line in warnings(features) if "forwarding" not in line] == [
        "WARNING: No memory limit support",
        "WARNING: No swap limit support",
        "WARNING: No oom kill disable support",
        "WARNING: No cpu cfs quota support",
        "WARNING: No cpu cfs period support",
        "WARNING: No cpu shares support",
        "WARNING: No cpuset support",
    ]


def test_v2_has_what_its_controllers_say(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    _touch(tmp_path / "system.slice/memory.max")
    features = probe(tmp_path, tmp_path)
    assert features.cgroup_version == "2"
    assert features.memory
    assert not features.swap
    assert not features.oom_kill_disable
    assert "WARNING: No swap limit support" in warnings(features)
    assert "WARNING: No oom kill disable support" not in warnings(features)

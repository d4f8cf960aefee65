"""Figures, changed limits and throttled disks where cgroup v2 is the only hierarchy."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vm.machine import Machine, run, wait_until

pytestmark = pytest.mark.root

MB = 1 << 20


def stats(machine: Machine, name: str, query: str = "stream=0&one-shot=1") -> Any:
    url = f"http://d/containers/{name}/stats?{query}"
    return json.loads(run("curl", "-s", "--unix-socket", machine.socket, url).stdout)


def test_figures(machine: Machine) -> None:
    name = machine.background(
        *("--memory", "64m", "--pids-limit", "42", "--cpus", "0.5"),
        *("box", "sh", "-c", "head -c 9000000 /dev/zero >/f; sync; while :; do :; done"),
    )
    folder = machine.cgroup(name)
    wait_until(lambda: "nr_throttled 0" not in (folder / "cpu.stat").read_text(), "a throttled loop")
    found = stats(machine, name, "stream=0")
    cpu, before = found["cpu_stats"], found["precpu_stats"]
    assert cpu["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"] > 0
    assert cpu["system_cpu_usage"] > before["system_cpu_usage"]
    assert cpu["online_cpus"] == before["online_cpus"] >= 1
    assert "percpu_usage" not in cpu["cpu_usage"]
    assert cpu["throttling_data"]["throttled_time"] > 0
    memory = found["memory_stats"]
    assert memory["limit"] == 64 * MB
    assert memory["usage"] >= memory["stats"]["anon"] > 0
    assert {"file", "slab", "pgfault", "workingset_refault"} <= set(memory["stats"])
    assert "max_usage" not in memory
    assert found["pids_stats"] == {"current": 1, "limit": 42}
    blocks = found["blkio_stats"]
    assert {entry["op"] for entry in blocks["io_service_bytes_recursive"] or []} <= {"read", "write"}
    assert blocks["io_serviced_recursive"] is None
    out = machine.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", name).stdout
    assert "/ 64MiB 1" in out


def test_memory_without_a_limit_is_the_machines(machine: Machine) -> None:
    name = machine.background("box", "sleep", "1000")
    total = int(machine.docker("info", "-f", "{{.MemTotal}}").stdout)
    assert stats(machine, name)["memory_stats"]["limit"] == total


def test_changed_limits(machine: Machine) -> None:
    name = machine.background("--memory", "64m", "--cpu-period", "50000", "box", "sleep", "1000")
    folder = machine.cgroup(name)

    def update(*options: str) -> None:
        machine.docker("update", *options, name)

    def read(file: str) -> str:
        return (folder / file).read_text().strip()

    update("--memory", "48m", "--memory-swap", "96m", "--memory-reservation", "16m", "--pids-limit", "9")
    found = [read(f"memory.{file}") for file in ("max", "swap.max", "low")]
    assert found == [str(48 * MB), str(48 * MB), str(16 * MB)]
    assert read("pids.max") == "9"
    update("--memory-swap=-1")
    assert (read("memory.max"), read("memory.swap.max")) == (str(48 * MB), "max")
    update("--cpu-quota", "20000", "--cpuset-cpus", "0", "--cpu-shares", "512")
    assert (read("cpu.max"), read("cpuset.cpus"), read("cpu.weight")) == ("20000 50000", "0", "20")
    update("--pids-limit", "-1")
    assert read("pids.max") == "max"


def test_limits_of_a_disk(machine: Machine) -> None:
    disk = min(entry.name for entry in Path("/sys/block").iterdir() if entry.name.startswith("vd"))
    numbers = Path(f"/sys/block/{disk}/dev").read_text().strip()
    name = machine.background(
        *("--device-read-bps", f"/dev/{disk}:1mb", "--device-write-iops", f"/dev/{disk}:77"),
        *("box", "sleep", "1000"),
    )
    line = (machine.cgroup(name) / "io.max").read_text().split()
    assert line[0] == numbers
    assert {"rbps=1048576", "wiops=77", "wbps=max"} <= set(line)

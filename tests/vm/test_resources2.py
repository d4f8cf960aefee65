"""Figures, changed limits and throttled disks where cgroup v2 is the only hierarchy."""

import json
import time
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


def test_weights_of_disks(machine: Machine) -> None:
    """BFQ counts as v1 did, the kernel's own weights go from 1 to 10,000 and know none for a disk alone."""
    disk = min(entry.name for entry in Path("/sys/block").iterdir() if entry.name.startswith("vd"))
    weights = ("--blkio-weight", "300", "--blkio-weight-device", f"/dev/{disk}:200")
    folder = machine.cgroup(name := machine.background(*weights, "box", "sleep", "1000"))
    bfq = (folder / "io.bfq.weight").exists()
    file = folder / ("io.bfq.weight" if bfq else "io.weight")

    def default() -> str:
        return dict(line.split() for line in file.read_text().splitlines())["default"]

    assert default() == ("300" if bfq else "2930")
    machine.docker("update", "--blkio-weight", "500", name)
    assert default() == ("500" if bfq else "4950")


def test_figures_of_disks(machine: Machine) -> None:
    """What was written and has reached the disk."""
    name = machine.background("box", "sleep", "1000")
    machine.docker("exec", name, "dd", "if=/dev/zero", "of=/f", "bs=1M", "count=4", "conv=fsync")
    found = stats(machine, name)["blkio_stats"]["io_service_bytes_recursive"]
    assert {entry["op"] for entry in found} == {"read", "write"}
    assert sum(entry["value"] for entry in found if entry["op"] == "write") >= 4 * MB
    in_file = (machine.cgroup(name) / "io.stat").read_text()
    assert all(f"{entry['major']}:{entry['minor']} " in in_file for entry in found)


def test_figures_of_processes_and_their_limit(machine: Machine) -> None:
    script = "for i in 1 2 3; do sleep 1000 & done; wait"
    name = machine.background("--pids-limit", "5", "box", "sh", "-c", script)
    wait_until(lambda: stats(machine, name)["pids_stats"]["current"] == 4, "all processes")
    assert stats(machine, name)["pids_stats"]["limit"] == 5
    machine.docker("update", "--pids-limit", "4", name)
    assert (machine.cgroup(name) / "pids.max").read_text() == "4\n"
    # An exec's own process is moved in, which the kernel does not count as a new one.
    done = machine.docker("exec", name, "sh", "-c", "sleep 1 & echo forked", check=False)
    assert "can't fork" in done.stderr and "forked" not in done.stdout


def test_frozen_processes_do_nothing(machine: Machine) -> None:
    name = machine.background("box", "sh", "-c", "while :; do :; done")
    folder = machine.cgroup(name)

    def used() -> int:
        return int((folder / "cpu.stat").read_text().split()[1])

    before = used()
    wait_until(lambda: used() > before, "a loop")
    machine.docker("pause", name)
    before = used()
    time.sleep(2)
    assert used() == before
    assert stats(machine, name)["pids_stats"]["current"] == 1  # figures can be had
    machine.docker("update", "--memory", "64m", "--memory-swap", "64m", name)
    assert (folder / "memory.max").read_text() == f"{64 * MB}\n"
    machine.docker("unpause", name)
    wait_until(lambda: used() > before, "the loop again")


def test_out_of_memory_by_a_changed_limit(machine: Machine) -> None:
    """Told while the container lives on, and by its end; the next run has a clean record."""
    script = "tail -c 100m /dev/zero; touch /killed; sleep 1000"
    name = machine.background("--memory", "32m", "--memory-swap", "32m", "box", "sh", "-c", script)
    wait_until(lambda: machine.inspect(name)["State"]["OOMKilled"], "the record")
    assert machine.inspect(name)["State"]["Running"]
    wait_until(
        lambda: machine.docker("exec", name, "test", "-e", "/killed", check=False).returncode == 0, "it"
    )
    machine.docker("update", "--memory", "400m", "--memory-swap", "400m", name)
    machine.docker("kill", name)
    assert machine.inspect(name)["State"]["OOMKilled"] is True
    machine.docker("start", name)
    assert machine.inspect(name)["State"]["OOMKilled"] is False

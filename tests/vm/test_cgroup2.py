"""Limits, freezing, OOM and devices where cgroup v2 is the only hierarchy."""

from pathlib import Path

import pytest

from tests.vm.machine import CGROUPS, Machine, run, wait_until

pytestmark = pytest.mark.root

LIMITS = (
    "--memory",
    "64m",
    "--cpus",
    "1.5",
    "--pids-limit",
    "42",
    "--cpu-shares",
    "512",
    "--cpuset-cpus",
    "1",
)
EXPECTED = {
    "memory.max": "67108864",
    "memory.swap.max": "67108864",
    "cpu.max": "150000 100000",
    "cpu.weight": "20",
    "cpuset.cpus": "1",
    "pids.max": "42",
}


def test_the_guest_is_what_we_want(machine: Machine) -> None:
    kinds = {
        line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()
    }
    assert "cgroup2" in kinds
    assert "cgroup" not in kinds
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(
        (CGROUPS / "cgroup.controllers").read_text().split()
    )


def test_info(machine: Machine) -> None:
    assert machine.docker("info", "-f", "{{.CgroupVersion}}").stdout == "2\n"
    assert "Cgroup Version: 2" in machine.docker("info").stdout
    told = machine.docker(
        "info", "-f", "{{.MemoryLimit}} {{.SwapLimit}} {{.PidsLimit}} {{.CPUShares}}"
    ).stdout
    assert told == "true true true true\n"
    warned = [line for line in machine.docker("info").stderr.splitlines() if "bridge-nf-call" not in line]
    assert warned == []


def test_output(machine: Machine) -> None:
    assert machine.docker("run", "--rm", "box", "echo", "hello").stdout == "hello\n"


def test_limits_inside_and_outside(machine: Machine) -> None:
    machine.background("--name", "limited", *LIMITS, "box", "sleep", "1000")
    folder = machine.cgroup("limited")
    outside = {name: (folder / name).read_text().strip() for name in EXPECTED}
    assert outside == EXPECTED
    inside = {
        name: machine.docker("exec", "limited", "cat", f"/sys/fs/cgroup/{name}").stdout.strip()
        for name in EXPECTED
    }
    assert inside == EXPECTED
    machine.docker("rm", "-f", "limited")
    assert not folder.exists()


def test_no_limits_without_options(machine: Machine) -> None:
    wanted = "max\nmax\nmax 100000\n100"
    script = "cd /sys/fs/cgroup; cat memory.max memory.swap.max cpu.max cpu.weight"
    assert machine.sh(script) == wanted


def test_memory_reservation_and_swap(machine: Machine) -> None:
    options = ("--memory", "64m", "--memory-swap", "64m", "--memory-reservation", "32m")
    script = "cd /sys/fs/cgroup; cat memory.max memory.swap.max memory.low"
    assert machine.sh(script, *options) == "67108864\n0\n33554432"
    assert machine.sh("cat /sys/fs/cgroup/memory.swap.max", "-m", "64m", "--memory-swap=-1") == "max"


def test_the_limit_of_processes_holds(machine: Machine) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all"
    done = machine.docker("run", "--rm", "--pids-limit", "5", "box", "sh", "-c", script, check=False)
    assert done.returncode != 0
    assert "can't fork" in done.stderr
    assert "all" not in done.stdout


def test_out_of_memory_of_pid_1(machine: Machine) -> None:
    options = ("--name", "oom", "--memory", "32m", "--memory-swap", "32m")
    done = machine.docker("run", *options, "box", "tail", "/dev/zero", check=False)
    assert done.returncode == 137
    state = machine.inspect("oom")["State"]
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")


def test_out_of_memory_event_of_a_child(machine: Machine) -> None:
    name = machine.background(
        *("--memory", "32m", "--memory-swap", "32m"),
        *("box", "sh", "-c", "sleep 1; tail /dev/zero; sleep 1000"),
    )
    kills = machine.cgroup(name) / "memory.events"
    wait_until(lambda: "oom_kill 0" not in kills.read_text(), "the kernel's kill")

    def events() -> str:
        return machine.docker("events", "--since", "0", "--until", "0s", "--filter", "event=oom").stdout

    wait_until(lambda: name in events(), "the oom event")
    assert machine.inspect(name)["State"]["Running"]


def test_pause_and_unpause(machine: Machine) -> None:
    machine.background("--name", "ticker", "box", "sh", "-c", "while :; do echo tick; sleep 0.05; done")
    folder = machine.cgroup("ticker")
    machine.docker("pause", "ticker")
    assert (folder / "cgroup.freeze").read_text() == "1\n"
    assert "frozen 1" in (folder / "cgroup.events").read_text()
    assert machine.inspect("ticker")["State"]["Status"] == "paused"
    assert machine.docker("exec", "ticker", "true", check=False).returncode != 0
    size = len(machine.docker("logs", "ticker").stdout)
    assert len(machine.docker("logs", "ticker").stdout) == size
    machine.docker("unpause", "ticker")
    assert (folder / "cgroup.freeze").read_text() == "0\n"
    assert machine.inspect("ticker")["State"]["Status"] == "running"
    wait_until(lambda: len(machine.docker("logs", "ticker").stdout) > size, "more output")


def test_a_paused_container_can_be_removed(machine: Machine) -> None:
    name = machine.background("box", "sleep", "1000")
    folder = machine.cgroup(name)
    machine.docker("pause", name)
    machine.docker("rm", "-f", name)
    assert not folder.exists()


def test_private_cgroup_namespace(machine: Machine) -> None:
    assert machine.sh("cat /proc/self/cgroup") == "0::/"
    name = machine.background("box", "sleep", "1000")
    assert machine.inspect(name)["HostConfig"]["CgroupnsMode"] == "private"
    assert machine.cgroup(name) == CGROUPS / "docker" / name
    assert "docker" not in machine.docker("exec", name, "cat", "/proc/1/cgroup").stdout


def test_host_cgroup_namespace(machine: Machine) -> None:
    seen = machine.sh("cat /proc/self/cgroup", "--cgroupns", "host")
    assert seen.startswith("0::/docker/")
    assert len(seen) == len("0::/docker/") + 64


def test_cgroup_parent(machine: Machine) -> None:
    name = machine.background("--cgroup-parent", "/checks/deep", "--memory", "64m", "box", "sleep", "1000")
    assert machine.cgroup(name) == CGROUPS / "checks/deep" / name
    assert (CGROUPS / "checks/deep" / name / "memory.max").read_text() == "67108864\n"


def test_the_cgroup_tree_is_read_only(machine: Machine) -> None:
    assert "Read-only file system" in machine.sh("mkdir /sys/fs/cgroup/x 2>&1", check=False)
    mounts = machine.sh("grep cgroup /proc/self/mounts").splitlines()
    assert len(mounts) == 1
    assert mounts[0].split()[1:3] == ["/sys/fs/cgroup", "cgroup2"]
    assert "ro" in mounts[0].split()[3].split(",")


def test_groups_that_a_container_makes_go_with_it(machine: Machine) -> None:
    script = (
        "mkdir -p /sys/fs/cgroup/a/b && echo 0 >/sys/fs/cgroup/a/b/cgroup.procs && echo moved; sleep 1000"
    )
    name = machine.background("--privileged", "box", "sh", "-c", script)
    wait_until(lambda: machine.docker("logs", name).stdout == "moved\n", "the move")
    folder = CGROUPS / "docker" / name
    assert (folder / "a/b").is_dir()
    machine.docker("stop", "-t", "1", name)
    assert not folder.exists()


def test_exec_is_in_the_group(machine: Machine) -> None:
    name = machine.background("box", "sleep", "1000")
    machine.docker("exec", "-d", name, "sleep", "2000")
    procs = machine.cgroup(name) / "cgroup.procs"
    wait_until(lambda: len(procs.read_text().split()) == 2, "the second process")
    commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in procs.read_text().split()}
    assert commands == {b"sleep\x001000\x00", b"sleep\x002000\x00"}
    assert machine.docker("exec", name, "sh", "-c", "exit 7", check=False).returncode == 7
    assert machine.docker("exec", name, "cat", "/proc/self/cgroup").stdout == "0::/\n"


@pytest.mark.parametrize("runtime", ["runc", "crun", "compat"])
def test_other_runtimes(machine: Machine, runtime: str) -> None:
    machine.background("--runtime", runtime, "--name", runtime, *LIMITS, "box", "sleep", "1000")
    folder = machine.cgroup(runtime)
    assert {name: (folder / name).read_text().strip() for name in ("memory.max", "pids.max")} == {
        "memory.max": "67108864",
        "pids.max": "42",
    }
    assert machine.docker("exec", runtime, "echo", "hello").stdout == "hello\n"
    machine.docker("rm", "-f", runtime)
    assert not folder.exists()


def test_systemd_is_not_disturbed(machine: Machine) -> None:
    """Our groups lie beside systemd's: its services go on to start and to have their limits."""
    machine.sh("true", *LIMITS)
    done = run("systemd-run", "--wait", "--pipe", "-q", "-p", "MemoryMax=64M", "cat", "/proc/self/cgroup")
    assert done.stdout.startswith("0::/system.slice/run-")

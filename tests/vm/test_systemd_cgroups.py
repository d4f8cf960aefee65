"""The systemd cgroup driver, which is the default where systemd is the machine's and cgroups are v2."""

from collections.abc import Iterator

import pytest

from tests.vm.machine import CGROUPS, Machine, run, wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", autouse=True)
def default_driver(service: Machine) -> Iterator[None]:
    """The service without the option that the other tests have."""
    flags = service.flags
    service.stop()
    service.flags = ""
    service.start()
    yield
    service.stop()
    service.flags = flags
    service.start()


def units() -> str:
    """The scopes of containers that systemd knows, in any state."""
    return run("systemctl", "list-units", "--all", "--no-legend", "docker-*.scope").stdout.strip()


def shown(unit: str, name: str) -> str:
    """A property of a unit."""
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def test_info(machine: Machine) -> None:
    assert machine.docker("info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}").stdout == "systemd 2\n"


def test_a_container_is_a_scope(machine: Machine) -> None:
    name = machine.background("box", "sleep", "1000")
    unit = f"docker-{name}.scope"
    assert machine.cgroup(name) == CGROUPS / "system.slice" / unit
    assert shown(unit, "ActiveState") == "active"
    assert shown(unit, "Delegate") == "yes"
    # Only the container's own process is in it.
    pids = (machine.cgroup(name) / "cgroup.procs").read_text().split()
    assert pids == [str(machine.inspect(name)["State"]["Pid"])]
    machine.docker("rm", "-f", name)
    wait_until(lambda: not units(), "the scope's end")


def test_limits_outlive_systemds_reload(machine: Machine) -> None:
    limits = ("--memory", "64m", "--memory-swap", "96m", "--cpu-shares", "512", "--pids-limit", "20")
    name = machine.background(*limits, "--cpus", "0.5", "--cpuset-cpus", "0", "box", "sleep", "1000")
    files = ("memory.max", "memory.swap.max", "cpu.weight", "pids.max", "cpu.max", "cpuset.cpus")
    folder = machine.cgroup(name)
    before = [(folder / file).read_text().strip() for file in files]
    assert before == [str(64 << 20), str(32 << 20), "20", "20", "50000 100000", "0"]
    run("systemctl", "daemon-reload")
    assert [(folder / file).read_text().strip() for file in files] == before
    machine.docker("update", "--memory", "80m", "--pids-limit", "30", name)
    run("systemctl", "daemon-reload")
    assert (folder / "memory.max").read_text().strip() == str(80 << 20)
    assert (folder / "pids.max").read_text().strip() == "30"


def test_one_process_is_enough(machine: Machine) -> None:
    """The limit is the container's alone: who started it does not count."""
    assert machine.docker("run", "--rm", "--pids-limit", "1", "box", "echo", "alone").stdout == "alone\n"


def test_the_same_container_again_and_again(machine: Machine) -> None:
    name = machine.docker("create", "box", "true").stdout.strip()
    for _ in range(5):
        machine.docker("start", "-a", name)
    assert machine.inspect(name)["State"]["ExitCode"] == 0


def test_no_scope_outlives_its_container(machine: Machine) -> None:
    """However quickly its group goes after the last process."""
    for _ in range(6):
        machine.docker("run", "--rm", "--network", "none", "box", "true")
    wait_until(lambda: not units(), "the scopes' end")


def test_a_slice_as_parent(machine: Machine) -> None:
    name = machine.background("--cgroup-parent", "checks-one.slice", "box", "sleep", "1000")
    where = CGROUPS / "checks.slice" / "checks-one.slice" / f"docker-{name}.scope"
    assert machine.cgroup(name) == where
    refused = machine.docker("create", "--cgroup-parent", "/checks", "box", check=False)
    assert 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"' in refused.stderr


def test_out_of_memory(machine: Machine) -> None:
    name = machine.docker(
        "create", "--memory", "16m", "--memory-swap", "16m", "box", "sh", "-c", "tail /dev/zero"
    ).stdout.strip()
    machine.docker("start", "-a", name, check=False)
    state = machine.inspect(name)["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (137, True)
    machine.docker("rm", name)
    wait_until(lambda: not units(), "no failed unit")


def test_another_runtime(machine: Machine) -> None:
    for runtime in ("runc", "crun"):
        name = machine.background("--runtime", runtime, "--pids-limit", "20", "box", "sleep", "1000")
        scope = CGROUPS / "system.slice" / f"docker-{name}.scope"
        assert machine.cgroup(name) in (scope, scope / "container")  # crun's own way
        machine.docker("rm", "-f", name)
    wait_until(lambda: not units(), "the scopes' end")

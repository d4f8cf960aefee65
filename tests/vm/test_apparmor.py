"""AppArmor, which Debian's kernel has on: `docker-default` is loaded, and holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.machine import UNIT, Machine, run

pytestmark = pytest.mark.root

PROFILES = Path("/sys/kernel/security/apparmor/profiles")
CURRENT = "cat /proc/self/attr/current"
DEFAULT = "docker-default (enforce)"
MINE = "compatd-check"


@pytest.fixture
def mine() -> Iterator[str]:
    """A profile of our own, which keeps its processes from /etc/passwd."""
    rules = "file, capability, signal, deny /etc/passwd r,"
    text = f'profile "{MINE}" flags=(attach_disconnected) {{\n{rules}\n}}\n'
    run("apparmor_parser", "-Kr", input=text.encode())
    try:
        yield MINE
    finally:
        run("apparmor_parser", "-KR", input=text.encode())


def unload() -> None:
    """Take the default profile away, as some upgrades do."""
    run("apparmor_parser", "-KR", input=b'profile "docker-default" {\n}\n')
    assert "docker-default" not in PROFILES.read_text()


def test_it_is_told(machine: Machine) -> None:
    assert "name=apparmor" in machine.docker("info", "-f", "{{.SecurityOptions}}").stdout
    assert "docker-default (enforce)" in PROFILES.read_text()


def test_the_default(machine: Machine) -> None:
    assert machine.sh(CURRENT) == DEFAULT
    name = machine.background("box", "sleep", "1000")
    assert machine.inspect(name)["AppArmorProfile"] == "docker-default"
    assert machine.docker("exec", name, "sh", "-c", CURRENT).stdout.strip() == DEFAULT
    assert machine.docker("exec", "--privileged", name, "sh", "-c", CURRENT).stdout.strip() == DEFAULT
    machine.docker("stop", "-t", "1", name)  # its signals come from outside of the profile


def test_what_it_denies(machine: Machine) -> None:
    """With all capabilities and no other guards, so that nothing else can be what refuses."""
    free = (
        "--cap-add",
        "ALL",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "systempaths=unconfined",
    )
    mount = "mount -t tmpfs x /tmp 2>&1 && echo mounted"
    assert "ermission denied" in machine.sh(mount, *free, check=False)
    assert machine.sh(mount, *free, "--security-opt", "apparmor=unconfined") == "mounted"
    write = "echo core >/proc/sys/kernel/core_pattern"
    assert (
        "ermission denied"
        in machine.docker(
            "run", "--rm", *free, "box", "sh", "-c", f"mount -o remount,rw /proc/sys; {write}", check=False
        ).stderr
    )
    for path in ("/sys/firmware/acpi/tables/FACP", "/proc/kcore"):
        read = f"head -c 1 {path} 2>&1 | wc -l"
        assert "ermission denied" in machine.sh(f"cat {path} 2>&1 | head -c 100", *free, check=False)
        assert machine.sh(read, *free, "--security-opt", "apparmor=unconfined") == "0"


def test_processes_may_signal_and_trace_each_other(machine: Machine) -> None:
    script = "sleep 1000 & kill -9 $!; wait $!; echo $?; ls /proc/1/fd >/dev/null && echo seen"
    assert machine.sh(script) == "137\nseen"


def test_no_profile(machine: Machine) -> None:
    assert machine.sh(CURRENT, "--security-opt", "apparmor=unconfined") == "unconfined"
    assert machine.sh(CURRENT, "--privileged") == "unconfined"
    name = machine.background("--privileged", "box", "sleep", "1000")
    assert machine.inspect(name)["AppArmorProfile"] == "unconfined"


def test_a_profile_by_name(machine: Machine, mine: str) -> None:
    options = ("--security-opt", f"apparmor={mine}")
    assert machine.sh(CURRENT, *options) == f"{mine} (enforce)"
    assert "ermission denied" in machine.sh("cat /etc/passwd 2>&1", *options, check=False)
    name = machine.background(*options, "box", "sleep", "1000")
    assert machine.inspect(name)["AppArmorProfile"] == mine


def test_a_profile_that_is_not_there(machine: Machine) -> None:
    options = ("--security-opt", "apparmor=compatd-no-such")
    done = machine.docker("run", "--rm", *options, "box", "true", check=False)
    assert done.returncode != 0
    assert "unable to apply apparmor profile" in done.stderr


def test_it_is_loaded_again(machine: Machine) -> None:
    name = machine.background("box", "sleep", "1000")
    unload()
    assert machine.sh(CURRENT) == DEFAULT
    unload()
    assert machine.docker("exec", name, "sh", "-c", CURRENT).stdout.strip() == DEFAULT
    unload()
    run("systemctl", "restart", UNIT)
    machine.await_answer()
    assert "docker-default (enforce)" in PROFILES.read_text()


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_other_runtimes(machine: Machine, runtime: str) -> None:
    assert machine.sh(CURRENT, "--runtime", runtime) == DEFAULT

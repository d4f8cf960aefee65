"""Device access on cgroup v2: the eBPF program in the place of the devices controller."""

import pytest

from tests.vm.machine import Machine

pytestmark = pytest.mark.root

DENIED = "Operation not permitted"
OPEN = "head -c 1 /tmp/x >/dev/null 2>/tmp/err && echo open || cat /tmp/err"


def test_a_device_that_is_not_allowed(machine: Machine) -> None:
    """1:11 is /dev/kmsg, 254:0 the guest's disk: making is allowed (`c *:* m`, `b *:* m`), opening is not."""
    assert DENIED in machine.sh(f"mknod /tmp/x c 1 11 && {OPEN}")
    assert DENIED in machine.sh(f"mknod /tmp/x b 254 0 && {OPEN}")


def test_devices_that_are(machine: Machine) -> None:
    for minor in (3, 5, 8, 9):  # null, zero, random, urandom
        assert machine.sh(f"mknod /tmp/x c 1 {minor} && {OPEN}") == "open"
    assert machine.sh("head -c 3 /dev/zero | wc -c; echo x >/dev/null; : </dev/full; echo done") == "3\ndone"


def test_a_terminal(machine: Machine) -> None:
    out = machine.docker("run", "--rm", "-t", "box", "sh", "-c", "test -c /dev/console && tty").stdout
    assert out == "/dev/pts/0\r\n"


def test_a_given_device(machine: Machine) -> None:
    assert DENIED in machine.sh(f"mknod /tmp/x b 254 16 && {OPEN}")
    assert machine.sh("head -c 1 /dev/given | wc -c", "--device", "/dev/vdb:/dev/given:r") == "1"
    # Opened for writing, nothing written.
    write = "dd if=/dev/null of=/dev/given count=0 conv=notrunc 2>&1 && echo opened"
    assert DENIED in machine.sh(write, "--device", "/dev/vdb:/dev/given:r", check=False)
    assert "opened" in machine.sh(write, "--device", "/dev/vdb:/dev/given:rw")


def test_a_rule_by_hand(machine: Machine) -> None:
    script = f"mknod /tmp/x b 254 16 && {OPEN}"
    assert machine.sh(script, "--device-cgroup-rule", "b 254:* rm") == "open"
    assert DENIED in machine.sh(script, "--device-cgroup-rule", "b 254:3 rm")


def test_privileged_may_all(machine: Machine) -> None:
    assert machine.sh(f"mknod /tmp/x b 254 16 && {OPEN}", "--privileged") == "open"
    assert machine.sh("test -b /dev/vdb && head -c 1 /dev/vdb | wc -c", "--privileged") == "1"


def test_exec_is_held_to_it_too(machine: Machine) -> None:
    name = machine.background("box", "sleep", "1000")
    script = f"mknod /tmp/x b 254 16 && {OPEN}"
    assert DENIED in machine.docker("exec", name, "sh", "-c", script).stdout
    assert (
        DENIED in machine.docker("exec", "--privileged", name, "sh", "-c", script.replace("/x", "/y")).stdout
    )

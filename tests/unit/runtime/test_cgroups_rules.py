"""Layouts, device rules and conversions: all without a cgroup."""

import struct
from typing import Any, cast

import pytest

from runtime.cgroups import base, device_program, devices, v2
from runtime.cgroups.detect import parse
from runtime.spec import DeviceRule

HYBRID = """\
30 29 0:20 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:21 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:22 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
33 30 0:23 / /sys/fs/cgroup/systemd rw,relatime - cgroup systemd rw,xattr,name=systemd
34 30 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
35 30 0:22 / /mnt/again rw,relatime - cgroup cgroup rw,memory
"""
UNIFIED = "30 29 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_hybrid() -> None:
    layout = parse(HYBRID)
    assert layout.version == 1
    assert layout.hybrid
    assert layout.folders == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert layout.unified == "/sys/fs/cgroup/unified"


def test_unified() -> None:
    layout = parse(UNIFIED)
    assert (layout.version, layout.folders, layout.unified) == (2, {}, "/sys/fs/cgroup")


def rules(*lines: str) -> list[DeviceRule]:
    """`+c 1:3 rw`, `-a *:* rwm`"""
    result = []
    for line in lines:
        kind, numbers, access = line[1:].split()
        rule: dict[str, Any] = {"allow": line[0] == "+", "type": kind, "access": access}
        for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
            if number != "*":
                rule[name] = int(number)
        result.append(cast(DeviceRule, rule))
    return result


class TestV1:
    def test_deny_all_then_the_exceptions(self) -> None:
        writes = devices.v1_writes(rules("-a *:* rwm", "+c 10:229 rwm"))
        assert writes[0] == ("devices.deny", "a")
        assert writes[1] == ("devices.allow", "c 10:229 rwm")
        assert ("devices.allow", "c 1:3 rwm") in writes
        assert ("devices.allow", "c 136:* rwm") in writes
        assert ("devices.allow", "b *:* m") in writes

    def test_privileged_is_one_write(self) -> None:
        assert devices.v1_writes(rules("-a *:* rwm", "+a *:* rwm")) == [("devices.allow", "a")]

    def test_none_given_none_written(self) -> None:
        assert devices.v1_writes([]) == []


class Device:
    """Interprets the eBPF that we write."""

    def __init__(self, *lines: str) -> None:
        self.program = device_program.assemble(*device_program.reduce(rules(*lines)))

    def allows(self, kind: str, major: int, minor: int, access: str) -> bool:
        registers = [0] * 11
        wanted = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
        context = {0: wanted << 16 | {"b": 1, "c": 2}[kind], 4: major, 8: minor}
        code = list(struct.iter_unpack("=BBhi", self.program))
        counter = 0
        while True:
            opcode, pair, offset, value = code[counter]
            target, source = pair & 15, pair >> 4
            counter += 1
            match opcode:
                case 0x61:
                    registers[target] = context[offset]
                case 0xBC:
                    registers[target] = registers[source]
                case 0x54:
                    registers[target] &= value & 0xFFFFFFFF
                case 0x74:
                    registers[target] >>= value
                case 0xB7:
                    registers[target] = value
                case 0x55:
                    counter += offset if registers[target] != value else 0
                case 0x15:
                    counter += offset if registers[target] == value else 0
                case 0x95:
                    return bool(registers[0])
                case _:
                    raise AssertionError(f"instruction {opcode:#x}")


class TestV2:
    def test_denied_by_default(self) -> None:
        device = Device("-a *:* rwm", "+c 10:229 rw", "+b 8:* r")
        assert device.allows("c", 10, 229, "rw")
        assert not device.allows("c", 10, 229, "rwm") or device.allows("c", 10, 229, "m")
        assert device.allows("b", 8, 17, "r")
        assert not device.allows("b", 8, 17, "w")
        assert not device.allows("c", 8, 17, "r")
        assert not device.allows("c", 10, 230, "r")

    def test_what_every_container_gets(self) -> None:
        device = Device("-a *:* rwm")
        assert device.allows("c", 1, 3, "rw")
        assert device.allows("c", 136, 77, "rw")
        assert device.allows("b", 200, 200, "m")
        assert not device.allows("c", 1, 1, "r")  # /dev/mem
        assert not device.allows("b", 254, 0, "r")

    def test_privileged(self) -> None:
        device = Device("-a *:* rwm", "+a *:* rwm")
        assert device.allows("b", 254, 0, "rwm")

    def test_allowed_by_default_with_exceptions(self) -> None:
        assert device_program.reduce(rules("+a *:* rwm", "-c 1:1 rw", "+a *:* rwm")) == (True, [])
        default, exceptions = True, [(2, 1, 1, 6)]
        device = Device()
        device.program = device_program.assemble(default, exceptions)
        assert not device.allows("c", 1, 1, "r")
        assert not device.allows("c", 1, 1, "wm")
        assert device.allows("c", 1, 1, "m")
        assert device.allows("c", 1, 2, "rw")

    def test_a_later_rule_takes_access_away(self) -> None:
        _, exceptions = device_program.reduce(rules("-a *:* rwm", "+c 10:229 rwm", "-c 10:229 w"))
        assert (2, 10, 229, 3) in exceptions


def test_shares_and_weights() -> None:
    assert [v2.cpu_weight(shares) for shares in (0, 2, 1024, 262144)] == [0, 1, 39, 10000]
    assert [v2.io_weight(weight) for weight in (0, 10, 500, 1000)] == [0, 1, 4950, 10000]


@pytest.mark.parametrize(
    ("swap", "limit", "result"),
    [(-1, 100, "max"), (0, 100, None), (100, 100, "0"), (150, 100, "50"), (150, -1, "max")],
)
def test_swap(swap: int, limit: int, result: str | None) -> None:
    assert v2.memory_swap(swap, limit) == result


def test_swap_needs_a_limit_below_it() -> None:
    with pytest.raises(base.CgroupError, match="without memory limit"):
        v2.memory_swap(100, 0)
    with pytest.raises(base.CgroupError, match="should be >="):
        v2.memory_swap(50, 100)


def test_control_files_are_read() -> None:
    assert base.keyed("oom 1\noom_kill 2\nnot a pair\nname x\n") == {"oom": 1, "oom_kill": 2}
    assert base.number("max\n") is None
    assert base.number("12\n") == 12


@pytest.mark.parametrize("path", ["/", "", "/.", "/a/.."])
def test_the_root_group_is_nobodys(path: str) -> None:
    with pytest.raises(base.CgroupError):
        base.Cgroup(path)


def test_paths_stay_below_the_root() -> None:
    assert base.Cgroup("../../docker/x").path == "/docker/x"
    assert base.Cgroup("/docker/x").path == "/docker/x"

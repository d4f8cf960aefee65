"""Device rules: OCI's list to v1's control files, and to v2's BPF program."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.spec import DeviceRule

V1_THROTTLE = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)
# What every container needs for its own /dev, whatever the spec says (runc's list): mknod anything; null,
# zero, full, random, urandom, tty, console, ptmx, the ptys and tun.
ALWAYS: tuple[DeviceRule, ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
)


def effective(rules: Sequence[DeviceRule]) -> list[DeviceRule]:
    """The spec's rules and, unless all is allowed, the ones that every container gets."""
    if not rules:
        return []
    result = list(rules)
    last = rules[-1]
    if not (last.get("allow") and is_all(last)):
        result += ALWAYS
    return result


def v1_writes(rules: Sequence[DeviceRule]) -> list[tuple[str, str]]:
    """(control file, line) in order; later lines win over earlier ones as the kernel keeps exceptions."""
    writes: list[tuple[str, str]] = []
    for rule in effective(rules):
        name = "devices.allow" if rule.get("allow") else "devices.deny"
        line = "a" if is_all(rule) else _line(rule)
        if line == "a":
            writes.clear()  # `a` forgets what was said before
        if (name, line) not in writes:
            writes.append((name, line))
    return writes


def is_all(rule: DeviceRule) -> bool:
    """Whether the rule is about every device."""
    kind = rule.get("type") or "a"
    return kind == "a" and _any(rule.get("major")) and _any(rule.get("minor"))


def _line(rule: DeviceRule) -> str:
    numbers = ":".join("*" if _any(n) else str(n) for n in (rule.get("major"), rule.get("minor")))
    return f"{rule.get('type') or 'a'} {numbers} {rule.get('access') or 'rwm'}"


def _any(number: int | None) -> bool:
    return number is None or number < 0

"""Capabilities: names to masks, and the calls that set them (capabilities(7), OCI `process.capabilities`)."""

from __future__ import annotations

from runtime import syscalls as s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# linux/capability.h, in order of their numbers.
NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE".split()
)
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_EPERM = 1


def last_cap() -> int:
    """The highest capability of the running kernel."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())


def available() -> int:
    """Mask of what this process can give: its permitted set."""
    return s.capget()[1]


class CapabilitySets:
    """bounding, effective, permitted, inheritable, ambient: masks. ignored: names that could not be
    honoured."""

    __slots__ = ("ambient", "bounding", "effective", "ignored", "inheritable", "permitted")

    def __init__(self, spec: Mapping[str, object], have: int) -> None:
        ignored: set[str] = set()
        self.bounding, self.effective, self.permitted, self.inheritable, self.ambient = (
            _mask(spec.get(name) or (), have, ignored) for name in SETS
        )
        self.ignored = sorted(ignored)

    def warning(self) -> str:
        return (
            f"ignoring unknown or unavailable capabilities: [{' '.join(self.ignored)}]"
            if self.ignored
            else ""
        )

    def drop_bounding(self, last: int) -> None:
        for number in range(last + 1):
            if not self.bounding >> number & 1:
                try:
                    s.prctl(s.PR_CAPBSET_DROP, number)
                except OSError as error:
                    # Not ours to drop (we lack SETPCAP): harmless when it is not in the set anyway.
                    if error.errno != _EPERM or s.prctl(s.PR_CAPBSET_READ, number):
                        raise

    def apply(self) -> None:
        s.capset(self.effective, self.permitted, self.inheritable)
        s.prctl(s.PR_CAP_AMBIENT, s.PR_CAP_AMBIENT_CLEAR_ALL)
        ambient = self.ambient & self.permitted & self.inheritable
        for number in range(ambient.bit_length()):
            if ambient >> number & 1:
                s.prctl(s.PR_CAP_AMBIENT, s.PR_CAP_AMBIENT_RAISE, number)


def _mask(names: object, have: int, ignored: set[str]) -> int:
    mask = 0
    iterable: Iterable[str] = names  # type: ignore[assignment]
    for name in iterable:
        number = NUMBERS.get(name)
        if number is None or not have >> number & 1:
            ignored.add(name)
        else:
            mask |= 1 << number
    return mask

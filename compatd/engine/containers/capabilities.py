"""The capabilities a container's process gets (capabilities(7); API: CapAdd, CapDrop, Privileged)."""

from pathlib import Path

from compatd.engine.errors import InvalidParameter

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = [f"CAP_{name}" for name in _NAMES.split()]
"""By number."""

DEFAULT_CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]


def available(status: Path = Path("/proc/self/status")) -> list[str]:
    """The capabilities in this process' bounding set: what can be given to a container at all."""
    for line in status.read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return [name for number, name in enumerate(CAPABILITIES) if bits >> number & 1]
    return list(CAPABILITIES)


def normalise(names: list[str] | None, have: list[str]) -> list[str]:
    """`net_admin`, `CAP_NET_ADMIN`, `ALL` → the kernel's names. Raises InvalidParameter in Docker's words."""
    result = []
    for name in names or []:
        upper = name.upper()
        if upper != "ALL":
            upper = upper if upper.startswith("CAP_") else f"CAP_{upper}"
            if upper not in CAPABILITIES:
                raise InvalidParameter(f'unknown capability: "{upper}"')
            if upper not in have:
                raise InvalidParameter(
                    "capability not supported by your kernel or not available in the current environment: "
                    f'"{upper}"'
                )
        result.append(upper)
    return result


def effective(
    add: list[str] | None, drop: list[str] | None, *, privileged: bool, have: list[str] | None = None
) -> list[str]:
    """The set for the process, in the kernel's names; what is available here. Raises InvalidParameter."""
    have = available() if have is None else have
    if privileged:
        return list(have)
    added, dropped = normalise(add, have), normalise(drop, have)
    if "ALL" in added:
        return [name for name in have if name not in dropped]
    if "ALL" in dropped:
        return list(dict.fromkeys(added))
    kept = [name for name in DEFAULT_CAPABILITIES if name not in dropped and name in have]
    return list(dict.fromkeys(kept + added))

"""Which other platforms' programs this machine runs: those that binfmt_misc has a handler for.

Source: Linux Documentation/admin-guide/binfmt-misc.rst; elf.h (e_machine).
"""

from pathlib import Path

from compatd.engine.images.platform import Platform

BINFMT = Path("/proc/sys/fs/binfmt_misc")

_ELF = b"\x7fELF"
_CLASS64, _LITTLE, _BIG = 2, 1, 2
_MACHINES = {
    (0xB7, _LITTLE): ("arm64",), (0x28, _LITTLE): ("arm/v7", "arm/v6"), (0xF3, _LITTLE): ("riscv64",),
    (0x15, _LITTLE): ("ppc64le",), (0x16, _BIG): ("s390x",), (0x102, _LITTLE): ("loong64",),
    (0x3E, _LITTLE): ("amd64",), (0x03, _LITTLE): ("386",), (0x08, _LITTLE): ("mips64le",),
    (0x08, _BIG): ("mips64",),
}  # fmt: skip


def emulated(folder: Path = BINFMT) -> list[Platform]:
    """The platforms with a handler that is enabled; [] where binfmt_misc is not mounted."""
    found: dict[Platform, None] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    for entry in entries:
        if entry.name in ("register", "status"):
            continue
        try:
            magic = _magic(entry.read_text("ascii", "replace"))
        except OSError:
            continue  # it has gone
        for name in _names(magic):
            architecture, _, variant = name.partition("/")
            found[Platform("linux", architecture, variant)] = None
    return list(found)


def _magic(text: str) -> bytes:
    """The first bytes that a handler's entry asks for; b"" when it is disabled or asks for another place."""
    lines = text.splitlines()
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    if lines[:1] != ["enabled"] or fields.get("offset", "0") != "0":
        return b""
    try:
        return bytes.fromhex(fields.get("magic", ""))
    except ValueError:
        return b""


def _names(magic: bytes) -> tuple[str, ...]:
    if not magic.startswith(_ELF) or len(magic) < 20:
        return ()
    order = magic[5]
    machine = int.from_bytes(magic[18:20], "big" if order == _BIG else "little")
    names = _MACHINES.get((machine, order), ())
    return names if not names or "mips" not in names[0] or magic[4] == _CLASS64 else ()

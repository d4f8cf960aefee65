"""Platforms: `linux/arm64/v8`, normalised as containerd's `platforms` package does."""

import os
import re
from dataclasses import dataclass

from compatd.engine.errors import InvalidParameter

_MACHINES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386",
    "i686": "386", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64",
}  # fmt: skip
_KNOWN_OS = frozenset(
    "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris".split()  # noqa: SIM905
)
_ARM = {"armv5l": "v5", "armv6l": "v6", "armv7l": "v7", "armv8l": "v8"}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system, a CPU architecture and its variant ("" for none), in Go's names."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalise(os_name: str, architecture: str, variant: str) -> Platform:
    """The same platform in Go's names, default variants made explicit or left out as containerd does."""
    os_name = {"macos": "darwin"}.get(os_name.lower(), os_name.lower())
    architecture, variant = architecture.lower(), variant.lower()
    if architecture in ("armhf", "armel"):
        variant = variant or ("v7" if architecture == "armhf" else "v6")
    architecture = _MACHINES.get(architecture, architecture)
    if architecture == "arm64" and variant in ("8", "v8"):
        variant = ""
    if architecture == "arm":
        variant = f"v{variant}" if variant.isdigit() else variant or "v7"
    if architecture == "amd64" and variant == "v1":
        variant = ""
    return Platform(os_name, architecture, variant)


def host() -> Platform:
    """This machine's platform."""
    machine = os.uname().machine
    if machine in _ARM:
        return Platform("linux", "arm", _ARM[machine])
    return Platform("linux", _MACHINES.get(machine, machine))


def parse(text: str) -> Platform:
    """`linux/amd64`, `arm64`, `linux`. Raises InvalidParameter."""
    parts = text.split("/")
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+(?:\([A-Za-z0-9_.-]*\))?", part):
            raise InvalidParameter(
                f'"{part}" is an invalid component of "{text}": platform specifier component must match '
                '"^[A-Za-z0-9_.-]+$": invalid argument'
            )
    here = host()
    if len(parts) == 1:
        if parts[0].lower() in _KNOWN_OS:
            return Platform(parts[0].lower(), here.architecture, here.variant)
        found = normalise(here.os, parts[0], "")
        if found.architecture not in {*_MACHINES.values(), "arm64", "arm", "mips64le", "loong64"}:
            raise InvalidParameter(f'"{text}": unknown operating system or architecture: invalid argument')
        return found
    if len(parts) in (2, 3):
        return normalise(parts[0], parts[1], parts[2] if len(parts) == 3 else "")
    raise InvalidParameter(f'"{text}": cannot parse platform specifier: invalid argument')


def candidates(wanted: Platform) -> list[Platform]:
    """What runs on `wanted`, best first: older ARM variants, 32-bit ARM on arm64."""
    found = [wanted]
    if wanted.architecture == "arm":
        level = int(wanted.variant[1:]) if wanted.variant[1:].isdigit() else 7
        found += [Platform(wanted.os, "arm", f"v{older}") for older in range(level - 1, 4, -1)]
    if wanted.architecture == "arm64":
        found += [Platform(wanted.os, "arm", f"v{older}") for older in (8, 7, 6, 5)]
    return found

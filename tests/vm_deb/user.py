"""What a user of the guest does: commands, the unit's state, an image."""

import io
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEBS = Path("/mnt/tree/debs")
PATIENCE = 900
"""Seconds; an emulated machine on a busy host is slow beyond belief."""


def sh(command: str, *, check: bool = True, input: bytes | None = None) -> str:
    """A shell's output, both streams. With `check` an exit code other than 0 is an AssertionError."""
    done = subprocess.run(
        ["sh", "-c", command],
        input=input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    __tracebackhide__ = True
    assert not check or done.returncode == 0, f"{command} gave {done.returncode}: {text}"
    return text.strip()


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until `condition` is true and give its value; AssertionError after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.2)
    return value


def package(upgrade: bool = False) -> Path:
    """The package, or its upgrade."""
    found = sorted(DEBS.glob("compatd_*.deb"))
    assert len(found) == 2, found
    return next(path for path in found if ("+" in path.name) == upgrade)


def state(unit: str = "docker.service") -> str:
    """`active`, `inactive`, …"""
    return sh(f"systemctl is-active {unit}", check=False)


def main_pid() -> int:
    """The daemon's PID, 0 when it does not run."""
    return int(sh("systemctl show -P MainPID docker.service"))


def container_pid(name: str) -> int:
    """The PID of a container's first process."""
    return int(sh(f"docker inspect -f '{{{{.State.Pid}}}}' {name}"))


def image_tar() -> bytes:
    """A root with Debian's static busybox, whose command says hello."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, target in (("bin/sh", "busybox"), ("bin/echo", "busybox"), ("bin/sleep", "busybox")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        tar.add("/bin/busybox", "bin/busybox")
    return buffer.getvalue()

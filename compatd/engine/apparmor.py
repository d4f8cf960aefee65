"""AppArmor (apparmor(7)): which profile a container's processes get, and Docker's default one.

`docker-default` is loaded as dockerd loads it: at each start of the daemon, and again before a container that
needs it when somebody has taken it away. Facts about what it denies: Docker's manual, "AppArmor security
profiles for Docker".
"""

import asyncio
import logging
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from compatd.engine.errors import EngineError

logger = logging.getLogger(__name__)

DEFAULT = "docker-default"
UNCONFINED = "unconfined"
PARSER = "sbin/apparmor_parser"
_ONE_AT_A_TIME = threading.Lock()


def supported(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether containers can be confined here: as for dockerd, not without the parser, nor in a container."""
    if environment.get("container") or not (root / "sys/kernel/security/apparmor").exists():
        return False
    if not (root / PARSER).exists():
        return False
    try:
        return (root / "sys/module/apparmor/parameters/enabled").read_text().startswith("Y")
    except OSError:
        return False


def profile_for(option: str, *, privileged: bool) -> str:
    """The profile of a container where AppArmor is supported; option: `--security-opt apparmor=`."""
    return option or (UNCONFINED if privileged else DEFAULT)


def is_loaded(name: str, root: Path = Path("/")) -> bool:
    """Whether the kernel knows the profile. Raises EngineError when it does not say."""
    try:
        lines = (root / "sys/kernel/security/apparmor/profiles").read_text().splitlines()
    except OSError as error:
        why = f"open {error.filename}: {(error.strerror or '').lower()}"
        raise EngineError(f"Could not check if {name} AppArmor profile was loaded: {why}") from None
    return any(line.partition(" (")[0] == name for line in lines)


def default_profile(daemon: str, policy: Path = Path("/etc/apparmor.d")) -> str:
    """The text of `docker-default`.

    daemon: the profile that we run with ourselves. policy: where the distribution's definitions are.
    """
    has_tunables = (policy / "tunables/global").exists()
    lines = [
        # From ABI 4 on `network` leaves unix sockets out.
        *(["abi <abi/3.0>,"] if (policy / "abi/3.0").exists() else []),
        "#include <tunables/global>" if has_tunables else "@{PROC}=/proc/",
        f'profile "{DEFAULT}" flags=(attach_disconnected,mediate_deleted) {{',
        *(["  #include <abstractions/base>"] if (policy / "abstractions/base").exists() else []),
        *(f"  {rule}," for rule in _rules(daemon)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _rules(daemon: str) -> list[str]:
    senders = dict.fromkeys([UNCONFINED, "runc", "crun", daemon])
    return [
        "capability",
        "file",
        "network",
        "umount",
        "deny mount",
        "deny network alg",  # the kernel's crypto sockets (CVE-2026-31431)
        # Whoever runs containers may end them; they may signal and trace each other.
        *(f'signal (receive) peer="{name}"' for name in senders),
        f'signal (send, receive) peer="{DEFAULT}"',
        f'ptrace (trace, read, tracedby, readby) peer="{DEFAULT}"',
        # Of /proc only processes' own folders and sys/kernel/shm* are for writing.
        "deny @{PROC}/* w",
        "deny @{PROC}/{[^1-9s]*,s[^y]*,sy[^s]*,sys?*}/** w",
        "deny @{PROC}/sys/{[^k]*,k[^e]*,ke[^r]*}{,/**} w",
        "deny @{PROC}/sys/kernel/{[^s]*,s[^h]*,sh[^m]*}{,/**} w",
        "deny @{PROC}/{sysrq-trigger,kcore} rwklx",
        # Of /sys only fs/cgroup is, and some of it is not even for reading.
        "deny /sys/{[^f]*,f[^s]*,fs/[^c]*,fs/c[^g]*,fs/cg[^r]*}/** wklx",
        "deny /sys/{firmware,kernel/security,devices/virtual/powercap}/** rwklx",
    ]


def own_profile(root: Path = Path("/")) -> str:
    """The profile that this process runs with."""
    try:
        current = (root / "proc/self/attr/current").read_text()
    except OSError:
        return UNCONFINED
    return current.strip("\0\n ").partition(" (")[0] or UNCONFINED


def install() -> None:
    """Load `docker-default`, in the place of one that is loaded. Takes seconds; raises EngineError."""
    command = [f"/{PARSER}", "-Kr"]  # without its cache, which may lie on a read-only file system
    text = default_profile(own_profile())
    try:
        done = subprocess.run(
            command,
            check=False,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _not_loaded(str(error)) from None
    if done.returncode:
        output = done.stdout.decode(errors="replace")
        raise _not_loaded(
            f"running '{' '.join(command)}' failed with output: {output}\n"
            f"error: exit status {done.returncode}"
        )


def _not_loaded(why: str) -> EngineError:
    return EngineError(f"AppArmor enabled on system but the {DEFAULT} profile could not be loaded: {why}")


async def install_at_start() -> None:
    """Load it when the daemon starts: one of an older release may be there. What goes wrong is logged."""
    try:
        await asyncio.to_thread(install)
    except EngineError as error:
        logger.error("Failed to load default apparmor profile: %s", error.message)


async def ensure(profile: str) -> None:
    """Before a process gets the profile: load it if it is ours and not there. Raises EngineError."""
    if profile == DEFAULT and not is_loaded(DEFAULT):
        await asyncio.to_thread(_install_once)


def _install_once() -> None:
    with _ONE_AT_A_TIME:
        if not is_loaded(DEFAULT):
            install()

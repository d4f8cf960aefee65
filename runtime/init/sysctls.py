"""Which sysctls a container may set: those that are its namespaces' own. Rules and texts are runc's.

Most of /proc/sys is the whole machine's: `kernel.core_pattern` alone runs any program of the host as root.
"""

from __future__ import annotations

import os

from runtime.init.errors import InitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_IPC = frozenset(
    f"kernel.{name}" for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)


def dotted(key: str) -> str:
    """The key with dots between its parts: sysctl(8) takes the first of `.` and `/` as the separator."""
    slash, dot = key.find("/"), key.find(".")
    return key.translate({46: "/", 47: "."}) if slash >= 0 and (dot < 0 or slash < dot) else key


def _parts(key: str) -> list[str]:
    """The file's path below /proc/sys, in parts. key: dotted."""
    return key.translate({46: "/", 47: "."}).split("/")


def check(keys: Iterable[str], spaces: dict[str, str], netns: int | None) -> None:
    """`spaces`: namespace types that the container does not share with us, with the path to join or "";
    `netns`: the descriptor that it joins instead. Raises InitError."""
    for key in map(dotted, keys):
        foreign = InitError(f'sysctl "{key}" is not in a separate kernel namespace')
        if any(part in ("", ".", "..") for part in _parts(key)):
            raise foreign  # `net/../kernel/…` would leave the part that the name promises
        if key in _IPC or key.startswith("fs.mqueue."):
            if "ipc" not in spaces:
                raise InitError(f'sysctl "{key}" is not allowed in the hosts ipc namespace')
        elif key.startswith("net."):
            if _on_host_network(spaces, netns):
                raise InitError(f'sysctl "{key}" not allowed in host network namespace')
        elif "uts" in spaces and key == "kernel.hostname":
            raise InitError(f'sysctl "{key}" is not allowed as it conflicts with the OCI "hostname" field')
        elif key.startswith("user."):
            if "user" not in spaces:
                raise InitError(f"setting ucounts without a user namespace not allowed: {key}")
        elif "uts" not in spaces or key != "kernel.domainname":
            raise foreign


def _on_host_network(spaces: dict[str, str], netns: int | None) -> bool:
    """Whether the network namespace is the one that we are in."""
    if netns is None and "network" not in spaces:
        return True
    try:
        if netns is not None:
            there = os.fstat(netns)
        elif spaces["network"]:
            there = os.stat(spaces["network"])
        else:
            return False
        return os.path.samestat(there, os.stat("/proc/self/ns/net"))
    except OSError as error:
        raise InitError(f"invalid netns path: {error.strerror}") from None

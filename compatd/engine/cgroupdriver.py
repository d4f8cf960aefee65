"""Who makes the containers' cgroups: this engine (`cgroupfs`) or systemd.

As dockerd: systemd where it is the machine's and cgroups are v2, else cgroupfs, unless
`--exec-opt native.cgroupdriver=` says otherwise.
"""

from collections.abc import Iterable

from compatd.engine.errors import EngineError, InvalidParameter
from runtime.cgroups.systemd import running

CGROUPFS, SYSTEMD = "cgroupfs", "systemd"
_OPTION = "native.cgroupdriver"


def cgroup_driver(exec_opts: Iterable[str], *, cgroup_v2: bool) -> str:
    """`cgroupfs` or `systemd`. Raises EngineError with dockerd's text: an unknown one, or no systemd here."""
    chosen = ""
    for option in exec_opts:
        key, _, value = option.partition("=")
        if key.strip().lower() == _OPTION:
            chosen = value.strip()
    if not chosen:
        return SYSTEMD if cgroup_v2 and running() else CGROUPFS
    if chosen not in (CGROUPFS, SYSTEMD):
        raise EngineError(f'invalid "{_OPTION}" option: {chosen}')
    if chosen == SYSTEMD and not running():
        raise EngineError("systemd cgroup driver requested, but systemd is not running or cannot be asked")
    return chosen


def check_parent(parent: str, driver: str) -> None:
    """A container's or the daemon's cgroup parent. Raises InvalidParameter."""
    if driver == SYSTEMD and parent and (len(parent) <= len(".slice") or not parent.endswith(".slice")):
        raise InvalidParameter(
            'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
        )

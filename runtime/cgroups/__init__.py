"""Control groups: v1 (also the hybrid layout) and v2 behind one interface.

`detect()` says which the machine has; `open_cgroup("/docker/<id>")` gives the group, which need not exist
yet. Paths are those of OCI's `cgroupsPath`: absolute ones start at the hierarchy's root.
"""

from __future__ import annotations

from runtime.cgroups.base import Cgroup, CgroupError
from runtime.cgroups.detect import Layout, detect

__all__ = ["Cgroup", "CgroupError", "Layout", "detect", "open_cgroup"]


def open_cgroup(path: str, *, systemd: bool = False) -> Cgroup:
    """The group at `path` in every hierarchy. Raises CgroupError when it cannot be meant.

    `systemd` asks for systemd's driver (`slice:prefix:name` paths); it is not there yet.
    """
    if systemd:
        raise CgroupError("systemd cgroup driver is not supported yet")
    layout = detect()
    if layout.version == 2:
        from runtime.cgroups.v2 import V2

        return V2(layout, path)
    from runtime.cgroups.v1 import V1

    return V1(layout, path)

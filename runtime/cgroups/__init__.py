"""Control groups: v1 (also the hybrid layout) and v2 behind one interface.

`detect()` says which the machine has; `open_cgroup("/docker/<id>")` gives the group, which need not exist
yet. Paths are those of OCI's `cgroupsPath`: absolute ones start at the hierarchy's root, and
`slice:prefix:name` asks systemd for a scope.
"""

from __future__ import annotations

from runtime.cgroups.base import Cgroup, CgroupError
from runtime.cgroups.detect import Layout, detect

__all__ = ["Cgroup", "CgroupError", "Layout", "detect", "open_cgroup"]


def open_cgroup(path: str, *, systemd: bool = False) -> Cgroup:
    """The group at `path` in every hierarchy. Raises CgroupError when it cannot be meant.

    `slice:prefix:name` is a scope of systemd's; with `systemd` nothing else will do.
    """
    layout = detect()
    if path.count(":") == 2 and not path.startswith("/"):
        from runtime.cgroups.systemd import ScopeV1, ScopeV2

        return ScopeV2(layout, path) if layout.version == 2 else ScopeV1(layout, path)
    if systemd:
        raise CgroupError(
            'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, '
            f'got "{path}" instead'
        )
    if layout.version == 2:
        from runtime.cgroups.v2 import V2

        return V2(layout, path)
    from runtime.cgroups.v1 import V1

    return V1(layout, path)

"""From an OCI spec to the ordered list of operations that the child runs, up to the user's own process.

Nothing here touches the system, so a plan can be described, compared and tested without root.
"""

from __future__ import annotations

import os

from runtime import syscalls as s
from runtime.init import options
from runtime.init.devices import Console, Links, Nodes
from runtime.init.mounts import Bind, Cgroups, Filesystem, Remount
from runtime.init.restrict import (
    HostName,
    LateReadonly,
    MaskedPaths,
    ReadonlyPath,
    Sysctl,
    WorkingDirectory,
)
from runtime.init.rootfs import (
    BindRoot,
    FinalPropagation,
    OverlayRoot,
    Pivot,
    PrivateParent,
    ReadonlyRoot,
    RootPropagation,
)
from runtime.init.sources import ImageMount, TreeMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.init.road import Operation
    from runtime.spec import Mount, RootPlan, Spec

# OCI "namespaces" type: clone flag
NAMESPACES = {
    "user": s.CLONE_NEWUSER,
    "mount": s.CLONE_NEWNS,
    "uts": s.CLONE_NEWUTS,
    "ipc": s.CLONE_NEWIPC,
    "network": s.CLONE_NEWNET,
    "pid": s.CLONE_NEWPID,
    "cgroup": s.CLONE_NEWCGROUP,
    "time": s.CLONE_NEWTIME,
}


def namespaces(spec: Spec) -> dict[str, str]:
    """type: path to join, or '' for a new one."""
    return {space["type"]: space.get("path", "") for space in spec.get("linux", {}).get("namespaces", [])}


def mount_operation(mount: Mount, *, cgroup_namespace: bool) -> Operation:
    parsed = options.parse(mount.get("options", []))
    kind = mount.get("type", "")
    source = mount.get("source", "") or kind
    destination = mount["destination"]
    if kind == "image" and "lower" in mount:
        parsed.flags |= s.MS_BIND
        return ImageMount(source, destination, parsed, mount["lower"], mount.get("subpath", ""))
    if kind == "tree" and "tree" in mount:
        parsed.flags |= s.MS_BIND
        return TreeMount(source, destination, parsed, mount["tree"], mount.get("subpath", ""))
    if parsed.bind or kind == "bind":
        parsed.flags |= s.MS_BIND
        return Bind(source, destination, parsed)
    if kind in ("cgroup", "cgroup2"):
        return Cgroups(destination, parsed, cgroup_namespace)
    if parsed.flags & s.MS_REMOUNT:
        return Remount(source, destination, parsed)
    return Filesystem(kind, source, destination, parsed)


def build(spec: Spec, root: RootPlan, *, console: bool = False, new_console: bool = False) -> list[Operation]:
    """The operations in order.

    console: the process has a terminal; new_console: its pair is made in the container's devpts.
    """
    linux = spec.get("linux", {})
    spaces = namespaces(spec)
    propagation = options.PROPAGATION.get(linux.get("rootfsPropagation", ""), 0)
    # Recursive unless it is shared: the root's own parent may be another mount than `/`, and what is mounted
    # there must not show up on the host. An unbindable one becomes so at the end: the root is bound first.
    at_first = 0 if propagation & s.MS_UNBINDABLE else propagation
    if at_first & (s.MS_PRIVATE | s.MS_SLAVE):
        at_first |= s.MS_REC
    plan: list[Operation] = [RootPropagation(at_first)]
    overlay = root.get("overlay")
    plan.append(OverlayRoot(overlay) if overlay else BindRoot())
    late: list[Operation] = []
    own_dev = True
    for mount in spec.get("mounts", []):
        operation = mount_operation(mount, cgroup_namespace="cgroup" in spaces)
        plan.append(operation)
        if isinstance(operation, Filesystem) and operation.late_readonly:
            late.append(LateReadonly(operation.destination, operation.options))
        if isinstance(operation, Bind) and operation.destination == "/dev":
            own_dev = False
    if propagation & s.MS_SHARED:
        plan.insert(1, PrivateParent([step for step in plan if isinstance(step, Bind) and step.shared]))
    if own_dev:
        plan += [Nodes(linux.get("devices", []), binds="user" in spaces), Links()]
    cwd = spec.get("process", {}).get("cwd", "/")
    if os.path.normpath(cwd) != "/":
        plan.append(WorkingDirectory(cwd))
    if console:
        size = spec.get("process", {}).get("consoleSize")
        plan.append(Console(new_console, (size["width"], size["height"]) if size else None))
    plan.append(Pivot(bool(propagation & s.MS_SHARED)))
    if propagation & (s.MS_SHARED | s.MS_UNBINDABLE):
        plan.append(FinalPropagation(propagation))
    plan += late
    if spec.get("root", {}).get("readonly"):
        plan.append(ReadonlyRoot())
    if spec.get("hostname") or spec.get("domainname"):
        plan.append(HostName(spec.get("hostname", ""), spec.get("domainname", "")))
    plan += [Sysctl(key, value) for key, value in linux.get("sysctl", {}).items()]
    plan += [ReadonlyPath(path) for path in linux.get("readonlyPaths", [])]
    if linux.get("maskedPaths"):
        plan.append(MaskedPaths(linux["maskedPaths"]))
    return plan

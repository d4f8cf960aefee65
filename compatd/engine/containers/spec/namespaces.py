"""Which namespaces are new, shared with another container, or the host's (namespaces(7))."""

from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container

if TYPE_CHECKING:
    from compatd.engine.containers.spec.build import Surroundings

Json = dict[str, Any]


def namespaces(container: Container, around: "Surroundings") -> list[Json]:
    """The spec's list. The network's is named here too, and made by the shim from its plan.

    Raises what `around.pid_of` raises for a container that cannot be joined.
    """
    host = container.host_config
    found: list[Json] = [{"type": "mount"}]
    for kind, file, mode in (
        ("network", "net", container.network_mode),
        ("uts", "uts", host["UTSMode"]),
        ("pid", "pid", host["PidMode"]),
        ("ipc", "ipc", host["IpcMode"]),
    ):
        if mode == "host":
            continue
        namespace: Json = {"type": kind}
        word, _, other = mode.partition(":")
        if word == "container" and other:
            namespace["path"] = f"/proc/{around.pid_of(kind, other)}/ns/{file}"
        found.append(namespace)
    if host["CgroupnsMode"] == "private":
        found.append({"type": "cgroup"})
    if around.time_namespace:
        found.append({"type": "time"})
    return found

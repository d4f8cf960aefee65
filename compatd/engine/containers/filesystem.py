"""What a worker must know to see a container's file system (`runtime.storage.containerfs.enter`)."""

import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container
from compatd.engine.errors import NotFound

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]


def view(containers: "Containers", container: Container, *, write: bool, volumes: bool = True) -> Json:
    """The view of a running container's own mounts, or of what a start would mount."""
    return {
        "scratch": str(containers.storage.tmp),
        "overlay": containers.storage.root_plan(container.id, container.chain_ids)["overlay"],
        "write": write,
        "process": process(containers, container),
        "mounts": mounts(container) if volumes else [],
    }


@contextlib.asynccontextmanager
async def volumes_held(containers: "Containers", container: Container) -> AsyncIterator[None]:
    """Within, a stopped container's volumes are mounted on the host, those of a running one are anyway.

    Raises EngineError. A worker that has entered the view keeps what it needs.
    """
    if container.state.running:
        yield
        return
    user, held = f"copy {secrets.token_hex(8)}", []
    try:
        for name in sorted({point["Name"] for point in container.mounts if point["Type"] == "volume"}):
            with contextlib.suppress(NotFound):
                volume = containers.volumes.get(name)
                held.append(volume)
                await containers.volume_mounts.hold(volume, user)
        yield
    finally:
        containers.background(_drop(containers, held, user))


async def _drop(containers: "Containers", volumes: list[Json], user: str) -> None:
    for volume in volumes:
        await containers.volume_mounts.drop(volume, user)


def process(containers: "Containers", container: Container) -> Json | None:
    """The first process, told from a later one with its number by when it started."""
    if not container.state.running or not container.state.pid:
        return None
    try:
        state = json.loads((containers.runtime.bundle(container.id) / "state.json").read_bytes())
    except (OSError, ValueError):
        return None
    return {"pid": state["pid"], "start_time": state["start_time"]}


def mounts(container: Container) -> list[Json]:
    """Volumes, binds and the network's files, parents first. Not those in memory: nor does Docker's copy."""
    found = []
    hidden = set(container.host_config.get("Tmpfs") or {})
    for point in container.mounts:
        if point["Type"] == "tmpfs" or point["Destination"] in hidden:
            continue
        found.append(
            {
                "destination": point["Destination"],
                # An image's layers are no folder to be mounted: it shows in a running container only
                "source": "" if point["Type"] == "image" else point.get("Source") or "",
                "subpath": (point.get("Options") or {}).get("Subpath") or "",
                "recursive": not (point.get("Options") or {}).get("NonRecursive"),
                "writable": bool(point["RW"]),
            }
        )
    taken = {mount["destination"] for mount in found}
    for destination, path in (
        ("/etc/resolv.conf", container.resolv_conf_path),
        ("/etc/hostname", container.hostname_path),
        ("/etc/hosts", container.hosts_path),
    ):
        if path and destination not in taken:
            writable = not container.host_config.get("ReadonlyRootfs")
            found.append(
                {
                    "destination": destination,
                    "source": path,
                    "subpath": "",
                    "recursive": True,
                    "writable": writable,
                }
            )
    return sorted(found, key=lambda mount: str(mount["destination"]).count("/"))


def volumes(container: Container) -> list[Json]:
    """The mount points that decide whether a path may be written to, the innermost first."""
    found = [
        {"destination": point["Destination"], "writable": bool(point["RW"])} for point in container.mounts
    ]
    return sorted(found, key=lambda point: str(point["destination"]).count("/"), reverse=True)

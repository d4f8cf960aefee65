"""Removing, pruning and renaming."""

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from compatd.engine import metrics
from compatd.engine.containers import exits, links, mountpoints, sizes, start, stop
from compatd.engine.containers.filters import until_moment
from compatd.engine.containers.model import Container
from compatd.engine.errors import Conflict, EngineError, InvalidParameter
from compatd.engine.labels import matches_labels
from compatd.engine.metrics import timed

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
logger = logging.getLogger(__name__)

_PRUNE_FILTERS = frozenset({"label", "label!", "until"})


async def remove_by_hand(
    containers: "Containers", reference: str, *, force: bool, volumes: bool, link: bool
) -> None:
    """Remove on a client's request. Raises Conflict in Docker's words."""
    container = containers.find(reference)
    if container.state.removing:
        raise Conflict(f"removal of container {reference} is already in progress")
    if link:
        links.unlink(containers, reference)
        return
    try:
        await remove(containers, container, force=force, volumes=volumes)
    except EngineError as error:
        raise type(error)(f'cannot remove container "{reference}": {error.message}') from error


@timed(metrics.container_actions, "delete")
async def remove(containers: "Containers", container: Container, *, force: bool, volumes: bool) -> None:
    """Remove a container, killing it first when `force`; its anonymous volumes too when `volumes`.

    Does nothing when somebody else removes it already. Raises Conflict while it runs.
    """
    state = container.state
    if state.removing or container.removed:
        return
    state.removing = True
    container.version += 1
    try:
        if state.running:
            if not force:
                raise Conflict(
                    "container is paused and must be unpaused first"
                    if state.paused
                    else f"container is {state.status}: stop the container before removing or force remove"
                )
            with contextlib.suppress(Conflict):
                await stop.kill(containers, container)
        async with container.lock:
            await asyncio.shield(_erase(containers, container, volumes))
    finally:
        state.removing = False
        container.version += 1


async def _erase(containers: "Containers", container: Container, volumes: bool) -> None:
    """Document first: what a crash leaves behind it is swept at the next start."""
    if container.removed:
        return
    start.release_pending(container)
    container.state.dead = True
    container.state.error = ""  # who waits for the removal is not told why a start failed
    containers.registry.remove(container)
    container.removed = True
    containers.remove_files(container)
    if container.image_id and containers.images.get(container.image_id) is None:
        containers.images.index.release(container.chain_ids)
    mountpoints.release(containers, container)
    if volumes:
        _remove_anonymous(containers, container)
    exits.notify(container, container.remove_waiters)
    exits.notify(container, container.stop_waiters)
    containers.emit(container, "destroy")


def _remove_anonymous(containers: "Containers", container: Container) -> None:
    """Volumes whose name the user did not choose; those that others use stay."""
    for point in container.mounts:
        if point["Type"] == "volume" and point.get("Anonymous"):
            with contextlib.suppress(EngineError):
                containers.volumes.remove(point["Name"])


async def prune(containers: "Containers", filters: dict[str, list[str]]) -> Json:
    """`POST /containers/prune`: {"ContainersDeleted", "SpaceReclaimed"}."""
    for name in filters:
        if name not in _PRUNE_FILTERS:
            raise InvalidParameter(f"invalid filter '{name}'")
    until = until_moment(filters.get("until") or [], time.time_ns())
    if containers.pruning:
        raise Conflict("a prune operation is already running")
    containers.pruning = True
    deleted: list[str] = []
    reclaimed = 0
    try:
        for container in containers.all():
            labels = container.config["Labels"] or {}
            if container.state.running or (until and container.created > until):
                continue
            if not matches_labels(filters.get("label"), labels):
                continue
            if filters.get("label!") and matches_labels(filters["label!"], labels):
                continue
            size, _ = await sizes.container_sizes(containers, container)
            try:
                await remove(containers, container, force=False, volumes=False)
            except EngineError as error:
                logger.warning("failed to prune container %s: %s", container.id, error.message)
                continue
            deleted.append(container.id)
            reclaimed += size
    finally:
        containers.pruning = False
    containers.events.emit("container", "prune", "", {"reclaimed": str(reclaimed)})
    return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed}


async def rename(containers: "Containers", reference: str, name: str) -> None:
    """Give a container another name. Raises InvalidParameter, Conflict for a taken one."""
    reference, name = reference.strip(), name.strip()
    if not reference.removeprefix("/") or not name.removeprefix("/"):
        raise InvalidParameter("Neither old nor new names may be empty")
    container = containers.find(reference)
    async with container.lock:
        old = container.name
        if name.removeprefix("/") == old:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        try:
            container.name = containers.registry.reserve(container.id, "/" + name.removeprefix("/"))
        except EngineError as error:
            raise type(error)(f"Error when allocating new name: {error.message}") from error
        try:
            containers.registry.save(container)
        except BaseException:
            containers.registry.release(container.name)
            container.name = old
            raise
        containers.registry.release(old)
        if container.state.running:
            container.network_settings = containers.networks.renamed(container) or container.network_settings
            containers.registry.save(container)
    containers.emit(container, "rename", {"oldName": f"/{old}"})

"""What the daemon does about containers when it starts and when it stops in order."""

import asyncio
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compatd.engine.containers import connecting, exits, links, mountpoints, restart, start, stop
from compatd.engine.containers.model import Container
from compatd.engine.containers.times import now
from compatd.engine.errors import EngineError
from runtime.client import Exited, Running

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

logger = logging.getLogger(__name__)

_TOGETHER = 16
_DEPENDENCIES = 5.0
_GRACE = 5


async def open_all(containers: "Containers") -> None:
    """Load, adopt what runs, note what ended meanwhile, sweep half-made ones, start those that should run."""
    loaded = containers.registry.load()
    for container in loaded:
        container.dir = containers.container_folder(container.id)
        for point in container.mounts:
            if point["Type"] == "volume":
                containers.volumes.reference(point["Name"], container.id)
    for container in loaded:
        try:
            links.register(containers, container)
        except EngineError as error:
            logger.error("failed to register link for container %s: %s", container.id, error.message)
    limit = asyncio.Semaphore(_TOGETHER)

    async def one(container: Container) -> None:
        async with limit:
            try:
                await _adopt(containers, container)
            except Exception:
                logger.exception("restoring container %s failed", container.id)

    await asyncio.gather(*(one(container) for container in loaded if _was_alive(container)))
    containers.networks.settle()
    containers.volume_mounts.sweep(containers.volumes.find_all())
    _sweep(containers)
    starts: dict[str, asyncio.Task[None]] = {}
    for container in loaded:
        if container.removed:
            continue
        state = container.state
        if state.dead or (container.host_config["AutoRemove"] and not state.running):
            containers.background(_remove(containers, container))
        elif not state.running and _should_start(container):
            starts[container.id] = containers.background(_start(containers, container, starts))


def _was_alive(container: Container) -> bool:
    state = container.state
    return state.running or state.starting


def _should_start(container: Container) -> bool:
    state = container.state
    if not state.started_at:
        return False
    return restart.starts_with_daemon(
        container.host_config["RestartPolicy"],
        stopped_by_hand=container.manually_stopped,
        exit_code=state.exit_code,
        count=container.restart_count,
    )


async def _adopt(containers: "Containers", container: Container) -> None:
    """A container that ran (or was being started) when the last daemon went away."""
    state = container.state
    if state.restarting:
        state.running = state.restarting = False
        containers.registry.save(container)
        return
    found = await containers.runtime.adopt(container.id)
    if isinstance(found, Running):
        mountpoints.adopt_volumes(containers, container)
        settings = containers.networks.adopt(container)
        if settings is not None:
            container.network_settings = settings
        if state.starting:
            state.starting, state.started_at = False, state.started_at or now()
        state.running, state.pid, state.paused = True, found.pid, found.paused
        container.started_once = True
        if not state.paused:
            containers.health.begin(container)
        await connecting.repair(containers, container)
        containers.registry.save(container)
        return
    if state.starting and not state.running and not isinstance(found, Exited):
        # Never came up: as if the start had not been asked for.
        state.starting = False
        await exits.free(containers, container)
        containers.registry.save(container)
        return
    state.starting, state.running = False, True
    state.started_at = state.started_at or now()
    code, oom, at = (
        (found.code, found.oom, found.at) if isinstance(found, Exited) else (exits.LOST_CODE, False, None)
    )
    await exits.ended(containers, container, code, oom, at)


def _sweep(containers: "Containers") -> None:
    """Remove what the store knows no container of: half made, half removed, or a build's RUN that goes on."""
    known = {container.id for container in containers.all()}
    folders, roots, bundles = (
        [path for path in place.iterdir() if path.name not in known] if place.is_dir() else []
        for place in (
            containers.container_folder("x").parent,
            containers.storage.rw,
            containers.runtime.bundle("x").parent,
        )
    )
    for folder in folders:
        if len(folder.name) == 64:
            shutil.rmtree(folder, ignore_errors=True)
    containers.background(
        _sweep_runtime(containers, bundles, [path for path in roots if len(path.name) == 64])
    )


async def _sweep_runtime(containers: "Containers", bundles: list[Path], roots: list[Path]) -> None:
    """First who writes, then what is written to."""
    ended = [containers.runtime.discard(bundle.name) for bundle in bundles]
    for result in await asyncio.gather(*ended, return_exceptions=True):
        if isinstance(result, BaseException):
            logger.error("ending a container that nobody knows: %s", result)
    for root in roots:
        containers.storage.remove_rw(root.name)


async def _remove(containers: "Containers", container: Container) -> None:
    from compatd.engine.containers import remove

    await remove.remove(containers, container, force=True, volumes=True)


async def _start(
    containers: "Containers", container: Container, starts: dict[str, asyncio.Task[None]]
) -> None:
    """Start after those that it needs, if they are started too; in vain for five seconds at most."""
    needed = [starts[c.id] for c in links.dependencies(containers, container) if c.id in starts]
    if needed:
        await asyncio.wait(needed, timeout=_DEPENDENCIES)
    try:
        await start.start_idle(containers, container, by_hand=True)
    except EngineError as error:
        logger.error("failed to start container %s: %s", container.id, error.message)


async def close_all(containers: "Containers") -> None:
    """Stop every running container in parallel, each with its own timeout; nothing with live-restore."""
    containers.shutting_down = True
    for container in containers.all():
        if container.restart_task:
            container.restart_task.cancel()
    if containers.config.live_restore or containers.leaving:
        return

    async def one(container: Container) -> None:
        try:
            if container.state.paused:
                await stop.unpause(containers, container)
            await stop.stop(containers, container)
        except EngineError as error:
            logger.error("stopping container %s: %s", container.id, error.message)

    running = [item for item in containers.all() if item.state.running]
    try:
        async with asyncio.timeout(shutdown_limit(containers)):
            await asyncio.gather(*(one(item) for item in running))
    except TimeoutError:
        logger.error("Force shutdown daemon: not all containers have stopped in time")


def shutdown_limit(containers: "Containers") -> float | None:
    """Seconds for an orderly stop: `shutdown-timeout`, or what a container asks for and five; None: any."""
    limit = containers.config.shutdown_timeout
    for container in containers.all():
        own = container.config.get("StopTimeout")
        own = containers.config.default_stop_timeout if own is None else own
        if own < 0 or limit < 0:
            return None
        limit = max(limit, own + _GRACE)
    return limit if limit >= 0 else None

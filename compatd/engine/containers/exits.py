"""What happens when a container ends: state, events, restart, removal, and whoever waits for it."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import ipc, mountpoints, remove, start
from compatd.engine.containers.model import Container
from compatd.engine.containers.restart import RestartPolicy
from compatd.engine.containers.times import now
from compatd.engine.errors import EngineError, InvalidParameter
from runtime.client import RuntimeError_

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
logger = logging.getLogger(__name__)

CONDITIONS = ("not-running", "next-exit", "removed")
LOST_CODE = 137


def wait(container: Container, condition: str) -> asyncio.Future[tuple[int, str]]:
    """A future for (exit code, error text), done already when the condition holds.

    Conditions: `not-running` (also ""), `next-exit`, `removed`. Raises InvalidParameter for another.
    Cancelling the future is enough to give it up.
    """
    check_condition(condition)
    future: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    state = container.state
    met = container.removed if condition == "removed" else condition != "next-exit" and not state.running
    if met:
        future.set_result((state.exit_code, state.error))
        return future
    waiters = container.remove_waiters if condition == "removed" else container.stop_waiters
    waiters.append(future)
    future.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
    return future


def check_condition(condition: str) -> None:
    """Raise InvalidParameter for a condition that does not exist."""
    if condition and condition not in CONDITIONS:
        raise InvalidParameter(f'invalid condition: "{condition}"')


def notify(container: Container, waiters: list[asyncio.Future[tuple[int, str]]]) -> None:
    """Tell those who wait the container's exit code."""
    result = (container.state.exit_code, container.state.error)
    for future in list(waiters):
        if not future.done():
            future.set_result(result)
    waiters.clear()


async def stopped(container: Container, timeout: float | None) -> bool:
    """Wait until the container does not run; False when it still does after `timeout` seconds."""
    future = wait(container, "not-running")
    try:
        async with asyncio.timeout(timeout):
            await future
    except TimeoutError:
        return False
    return True


async def on_event(containers: "Containers", container: Container, message: Json) -> None:
    """An event of the container's shim."""
    kind = message.get("event")
    if kind == "exit":
        await ended(containers, container, int(message["code"]), bool(message.get("oom")), message.get("at"))
    elif kind == "lost":
        await ended(containers, container, LOST_CODE, False, None)
    elif kind == "oom":
        async with container.lock:
            if container.state.running:
                container.state.oom_killed = True
                containers.registry.save(container)
                containers.emit(container, "oom")


async def ended(containers: "Containers", container: Container, code: int, oom: bool, at: int | None) -> None:
    """The first process is gone: free what the container held, decide about a restart, tell everybody."""
    async with container.lock:
        state = container.state
        if not state.running or state.restarting:
            return
        containers.health.stop(container)
        state.oom_killed = state.oom_killed or oom
        delay = await _finish(containers, container, code, at)
    if delay is not None:
        container.restart_task = containers.background(_restart(containers, container, delay))
    elif container.host_config["AutoRemove"] and not container.manually_restarted:
        await auto_remove(containers, container)


async def _finish(containers: "Containers", container: Container, code: int, at: int | None) -> float | None:
    state = container.state
    finished = at or now()
    ran_for = max(finished - state.started_at, 0) / 1e9
    policy = container.restart
    if policy is None:
        policy = container.restart = RestartPolicy(
            container.host_config["RestartPolicy"], container.restart_count
        )
    delay: float | None = policy.next_delay(
        code,
        stopped_by_hand=containers.shutting_down or container.manually_stopped,
        ran_for=ran_for,
    )
    await free(containers, container)
    state.pid, state.paused, state.exit_code, state.finished_at = 0, False, code, finished
    if delay is None:
        state.running = state.restarting = False
    else:
        state.restarting = True
        container.restart_count += 1
    for tell in containers.on_end:
        tell(container.id)
    containers.registry.save(container)
    containers.emit(container, "die", {"execDuration": str(int(ran_for)), "exitCode": str(code)})
    notify(container, container.stop_waiters)
    return delay


async def free(containers: "Containers", container: Container) -> None:
    """Give back what a run held: the shim, the network, volumes' mounts. Never raises."""
    try:
        await containers.runtime.delete(container.id)
    except (RuntimeError_, OSError) as error:
        logger.warning("freeing container %s: %s", container.id, error)
    ipc.unmount_shm(container)
    await mountpoints.drop_volumes(containers, container)
    containers.networks.release(container.id)
    container.network_settings = containers.networks.idle_settings(container, container.network_settings)
    for point in container.mounts:
        if point["Type"] == "volume":
            containers.events.emit(
                "volume", "unmount", point["Name"], {"container": container.id, "driver": point["Driver"]}
            )


async def _restart(containers: "Containers", container: Container, delay: float) -> None:
    """Start again after the delay; when that fails the container is stopped for good."""
    policy = container.restart
    try:
        await asyncio.sleep(delay)
        async with container.lock:
            if policy.cancelled or containers.shutting_down or not container.state.restarting:
                return
            await start.start(containers, container, by_hand=False)
    except EngineError as error:
        logger.debug("restarting container %s: %s", container.id, error.message)
        await give_up(containers, container)
        await auto_remove(containers, container)


async def give_up(containers: "Containers", container: Container) -> None:
    """A container that waits for its next restart is stopped now instead."""
    if container.state.restarting:
        container.state.running = container.state.restarting = False
        containers.registry.save(container)
        notify(container, container.stop_waiters)


def cancel_restart(container: Container) -> None:
    """No further restarts by policy until the container is started by hand."""
    if container.restart is not None:
        container.restart.cancelled = True
    else:
        container.restart = RestartPolicy(container.host_config["RestartPolicy"], container.restart_count)
        container.restart.cancelled = True


async def auto_remove(containers: "Containers", container: Container) -> None:
    """`--rm`: remove the container and its anonymous volumes once it has ended."""
    if not container.host_config["AutoRemove"] or container.removed:
        return
    try:
        await remove.remove(containers, container, force=True, volumes=True)
    except EngineError as error:
        logger.warning("removing container %s: %s", container.id, error.message)

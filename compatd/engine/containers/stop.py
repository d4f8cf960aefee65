"""Stopping, signalling, pausing and restarting."""

import logging
from typing import TYPE_CHECKING

from compatd.engine.containers import exits, start
from compatd.engine.containers.model import Container
from compatd.engine.containers.signals import check_signal, parse_signal
from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotModified
from runtime.client import RuntimeError_

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

logger = logging.getLogger(__name__)

_KILL_WAIT = 10.0
_SIGKILL, _SIGTERM = 9, 15
_ENDED = frozenset({"Gone", "Refused", "ProcessLookupError"})
"""Kinds of runtime errors that mean: the process ended just now."""


def not_running(container: Container) -> Conflict:
    """The error for operations on a container that does not run."""
    return Conflict(f"container {container.id} is not running")


def stop_signal(container: Container) -> int:
    """The container's own signal for stopping, SIGTERM unless configured."""
    text = container.config.get("StopSignal")
    try:
        return parse_signal(text) if text else _SIGTERM
    except InvalidParameter:
        return _SIGTERM


async def stop_by_hand(containers: "Containers", reference: str, signal: str, timeout: int | None) -> None:
    """Stop on a client's request; `timeout` in seconds, negative for no limit."""
    container = containers.find(reference)
    if not container.state.running:
        raise NotModified("container is already stopped")
    try:
        await stop(containers, container, signal, timeout)
    except EngineError as error:
        raise EngineError(f"cannot stop container: {reference}: {error.message}") from error


async def stop(
    containers: "Containers", container: Container, signal: str = "", timeout: int | None = None
) -> None:
    """Signal, wait, and kill what is still there; nothing when the container does not run."""
    if not container.state.running:
        return
    number = parse_signal(signal) if signal else stop_signal(container)
    if timeout is None:
        timeout = container.config.get("StopTimeout")
    seconds = containers.config.default_stop_timeout if timeout is None else timeout
    wait: float | None = seconds if seconds >= 0 else None
    failure: EngineError | None = None
    try:
        await send_signal(containers, container, number, stopping=True)
    except EngineError as error:
        failure, wait = error, 2.0
    if not await exits.stopped(container, wait):
        if failure and seconds < 0:
            raise failure
        await kill(containers, container)
    containers.emit(container, "stop")


async def send_signal(
    containers: "Containers", container: Container, number: int, *, stopping: bool = False
) -> None:
    """Send one signal and tell so. Raises Conflict when the container does not run.

    The container's own stop signal, or SIGKILL, also ends the restart policy's work.
    """
    async with container.lock:
        state = container.state
        if not state.running:
            raise not_running(container)
        configured = container.config.get("StopSignal")
        final = number == _SIGKILL or not configured or stop_signal(container) == number
        if final:
            exits.cancel_restart(container)
        if not containers.shutting_down:
            container.manually_stopped = True
            containers.registry.save(container)
        if state.restarting:
            await _end_waiting(containers, container, final)
            return
        try:
            await containers.runtime.kill(container.id, number)
        except RuntimeError_ as error:
            if error.kind not in _ENDED:  # else its exit is on the way to us
                raise EngineError(f"Cannot kill container {container.id}: {error.message}") from error
        resumed = final and state.paused and await _resume_quietly(containers, container)
        containers.emit(container, "kill", {"signal": str(number)})
        if resumed:
            _resumed(containers, container)


async def _end_waiting(containers: "Containers", container: Container, final: bool) -> None:
    if final:
        if container.restart_task:
            container.restart_task.cancel()
        await exits.give_up(containers, container)


async def _resume_quietly(containers: "Containers", container: Container) -> bool:
    try:
        await containers.runtime.resume(container.id)
    except RuntimeError_ as error:
        logger.warning("cannot unpause container %s: %s", container.id, error.message)
        return False
    return True


def _resumed(containers: "Containers", container: Container) -> None:
    container.state.paused = False
    containers.health.update(container)
    containers.registry.save(container)
    containers.emit(container, "unpause")


async def kill(containers: "Containers", container: Container) -> None:
    """SIGKILL, and wait for the end. Raises Conflict when it does not run."""
    if not container.state.running:
        raise not_running(container)
    await send_signal(containers, container, _SIGKILL)
    if await exits.stopped(container, _KILL_WAIT):
        return
    try:
        await containers.runtime.kill(container.id, _SIGKILL, all=True)
    except RuntimeError_ as error:
        logger.warning("killing container %s: %s", container.id, error.message)
    if not await exits.stopped(container, 2.0):
        raise EngineError("tried to kill container, but did not receive an exit event")


async def kill_by_hand(containers: "Containers", reference: str, signal: str) -> None:
    """`POST /containers/{id}/kill`; "" is SIGKILL. Errors begin with `cannot kill container: …`."""
    try:
        number = parse_signal(signal) if signal else _SIGKILL
        check_signal(number)
        container = containers.find(reference)
        if number == _SIGKILL:
            await kill(containers, container)
        else:
            await send_signal(containers, container, number)
    except EngineError as error:
        raise type(error)(f"cannot kill container: {reference}: {error.message}") from error


async def restart(containers: "Containers", reference: str, signal: str, timeout: int | None) -> None:
    """Stop and start again; an AutoRemove container is not removed in between."""
    container = containers.find(reference)
    try:
        if container.state.running:
            container.manually_restarted = True
            await stop(containers, container, signal, timeout)
        await start.start_idle(containers, container, by_hand=True)
    except EngineError as error:
        container.manually_restarted = False
        raise EngineError(f"Cannot restart container {reference}: {error.message}") from error
    containers.emit(container, "restart")


async def pause(containers: "Containers", container: Container) -> None:
    """Freeze all processes. Raises Conflict."""
    async with container.lock:
        state = container.state
        if not state.running:
            raise not_running(container)
        if state.paused:
            raise Conflict(f"container {container.id} is already paused")
        if state.restarting:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        try:
            await containers.runtime.pause(container.id)
        except RuntimeError_ as error:
            raise EngineError(f"cannot pause container {container.id}: {error.message}") from error
        state.paused = True
        containers.health.update(container)
        containers.registry.save(container)
        containers.emit(container, "pause")


async def unpause(containers: "Containers", container: Container) -> None:
    """Let frozen processes go on. Raises EngineError unless paused."""
    async with container.lock:
        if not container.state.paused:
            raise EngineError(f"Container {container.id} is not paused")
        try:
            await containers.runtime.resume(container.id)
        except RuntimeError_ as error:
            raise EngineError(f"Cannot unpause container {container.id}: {error.message}") from error
        _resumed(containers, container)


async def resize(containers: "Containers", container: Container, height: int, width: int) -> None:
    """Set the size of the container's terminal. Raises Conflict when it does not run."""
    if not container.state.running:
        raise not_running(container)
    try:
        await containers.runtime.resize(container.id, None, width, height)
    except RuntimeError_ as error:
        if await exits.stopped(container, 1.0):  # it was just about to end
            raise not_running(container) from error
        raise EngineError(error.message) from error
    containers.emit(container, "resize", {"height": str(height), "width": str(width)})

"""`POST /containers/{id}/start`: network, bundle, shim; and what a failed start leaves."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine import apparmor, metrics
from compatd.engine.containers import bundle, exits, ipc, links, mountpoints, validate
from compatd.engine.containers.model import Container
from compatd.engine.containers.restart import RestartPolicy
from compatd.engine.containers.runtimes import find_runtime
from compatd.engine.containers.security import parse_security_options
from compatd.engine.containers.times import now
from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotModified
from compatd.engine.logdrivers import LogOptionError
from compatd.engine.metrics import timed
from runtime.client import RuntimeError_

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
logger = logging.getLogger(__name__)

_PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
_RUNC = "runc create failed: "
LOG_FAILURE = "failed to initialize logging driver: "
_DENIED, _NOT_FOUND, _UNKNOWN = 126, 127, 128
_BAD_COMMAND = (
    "executable file not found",
    "no such file or directory",
    "system cannot find the file specified",
    "failed to run runc create/exec call",
)
_PLAIN = ("unable to find user", "unable to find group", "uids and gids must be in range")


def explain(text: str) -> tuple[int, EngineError]:
    """A runtime's error text as exit code and the error for the client (dockerd's rules, by the text)."""
    lowered = text.lower()
    if "permission denied" in lowered:
        return _DENIED, InvalidParameter(text)
    if "is a directory" in lowered:
        return _DENIED, InvalidParameter(text + ": permission denied")
    if "not a directory" in lowered:
        return _NOT_FOUND, InvalidParameter(
            text + ": Are you trying to mount a directory onto a file (or vice-versa)? "
            "Check if the specified host path exists and is the expected type"
        )
    if any(sign in lowered for sign in _BAD_COMMAND):
        return _NOT_FOUND, InvalidParameter(text)
    return _UNKNOWN, EngineError(text)


def creation_failed(text: str, runtime: str = _RUNC) -> tuple[int, EngineError]:
    """What the runtime says of a container that it could not start, as `explain`; `runtime`: its own name."""
    return explain(f"{_PREFIX}{runtime}{text}: unknown")


async def start_by_hand(containers: "Containers", container: Container) -> None:
    """Start on a client's request. Raises NotModified, Conflict, and what `start` raises."""
    state = container.state
    if state.paused:
        raise Conflict("cannot start a paused container, try unpause instead")
    if state.running:
        raise NotModified("container is already running")
    if state.removing or state.dead:
        raise Conflict("container is marked for removal and cannot be started")
    validate.check_host(container.host_config, containers.capabilities)
    validate.check_platform(None, container.host_config, containers.info)
    await start_idle(containers, container, by_hand=True)


async def start_idle(containers: "Containers", container: Container, *, by_hand: bool) -> None:
    """Start it unless it runs. Raises as `start`; by then a container with `--rm` is removed again.

    So those who wait for the removal hear of it before the client hears of the error, as with dockerd.
    """
    try:
        async with container.lock:
            if not container.state.running:
                await start(containers, container, by_hand=by_hand)
    except Exception:
        await exits.auto_remove(containers, container)
        raise


@timed(metrics.container_actions, "start")
async def start(containers: "Containers", container: Container, *, by_hand: bool) -> None:
    """Start; the caller holds the container's lock. When this returns the program runs.

    Raises EngineError in Docker's words; the container then is as before, with the error in its state.
    """
    state = container.state
    if state.removing or state.dead or container.removed:
        raise Conflict("container is marked for removal and cannot be started")
    state.error = ""
    state.starting = True
    containers.registry.save(container)
    try:
        await _run(containers, container, by_hand)
    except BaseException as error:
        await _failed(containers, container, error)
        if isinstance(error, OSError):
            raise EngineError(state.error) from error
        raise
    containers.emit(container, "start")


async def _run(containers: "Containers", container: Container, by_hand: bool) -> None:
    await _confine(containers, container)
    lease = containers.networks.plan(container)
    attachments: list[Any] = []
    try:
        container.network_settings = lease.settings
        _write_files(containers, container)
        mountpoints.make_sources(container)
        await mountpoints.hold_volumes(containers, container)
        ipc.mount_shm(container)
        _volume_events(containers, container)
        if by_hand:
            container.restart_count = 0
            container.restart = RestartPolicy(container.host_config["RestartPolicy"])
            container.manually_stopped = False
        if container.host_config["LogConfig"]["Type"] == "json-file":  # not when a mount has failed
            container.log_path = str(container.dir / f"{container.id}-json.log")
        try:
            bundle.write_bundle(containers, container, lease.plan)
        except LogOptionError as error:
            raise _no_log(container, f"{LOG_FAILURE}{error}") from None
        began = now()
        attachments = [attachment for _, attachment in container.pending]
        container.pending = []
        try:
            started = await containers.runtime.start(container.id, attachments, lease.holds)
        except RuntimeError_ as error:
            raise _translate(containers, container, error) from error
    finally:
        for sock in lease.holds:
            sock.close()
        for attachment in attachments:
            attachment.sock.close()
    container.manually_restarted = False
    links.address_changed(containers, container)
    _running(containers, container, started.pid, began)


async def _confine(containers: "Containers", container: Container) -> None:
    """Settle the container's AppArmor profile, and see to it that the kernel knows ours."""
    container.apparmor = ""
    if containers.info.apparmor:
        host = container.host_config
        option = parse_security_options(host["SecurityOpt"]).apparmor
        container.apparmor = apparmor.profile_for(option, privileged=host["Privileged"])
        await apparmor.ensure(container.apparmor)


def _translate(containers: "Containers", container: Container, error: RuntimeError_) -> EngineError:
    text = error.message
    if text.startswith(LOG_FAILURE):
        return _no_log(container, text)
    if text.startswith(_PLAIN):
        container.state.exit_code = _UNKNOWN
        return EngineError(text)
    chosen = find_runtime(container.host_config["Runtime"], containers.config.runtimes)
    # runc names itself in what it says; ours says the same, and others speak for themselves.
    own = "" if chosen and "runc" not in Path(chosen["path"]).name else _RUNC
    code, translated = creation_failed(text, own)
    container.state.exit_code = code
    return translated


def _no_log(container: Container, text: str) -> EngineError:
    container.state.exit_code, error = explain(f"failed to create task for container: {text}")
    return error


def _write_files(containers: "Containers", container: Container) -> None:
    links.check(containers, container)
    container.linked_hosts = links.hosts(containers, container)
    containers.networks.link(container, links.children(containers, container).values())
    paths = containers.networks.write_files(container)
    container.hostname_path = str(paths.get("hostname", ""))
    container.hosts_path = str(paths.get("hosts", ""))
    container.resolv_conf_path = str(paths.get("resolv.conf", ""))


def _volume_events(containers: "Containers", container: Container) -> None:
    for point in container.mounts:
        if point["Type"] == "volume":
            containers.events.emit(
                "volume",
                "mount",
                point["Name"],
                {
                    "container": container.id,
                    "destination": point["Destination"],
                    "driver": point["Driver"],
                    "propagation": point["Propagation"],
                    "read/write": "true" if point["RW"] else "false",
                },
            )


def _running(containers: "Containers", container: Container, pid: int, began: int) -> None:
    state = container.state
    state.starting = state.paused = state.restarting = state.oom_killed = False
    state.running = True
    state.pid, state.exit_code, state.error = pid, 0, ""
    state.started_at = began
    container.started_once = True
    containers.health.begin(container)
    containers.registry.save(container)


async def _failed(containers: "Containers", container: Container, error: BaseException) -> None:
    """Undo a start."""
    state = container.state
    state.error = _text(error)
    state.exit_code = state.exit_code or _UNKNOWN
    state.starting = False
    release_pending(container)
    await asyncio.shield(exits.free(containers, container))
    containers.registry.save(container)


def _text(error: BaseException) -> str:
    if isinstance(error, EngineError):
        return error.message
    if isinstance(error, OSError):
        return f"{error.filename or ''}: {(error.strerror or str(error)).lower()}".removeprefix(": ")
    return str(error) or type(error).__name__


def release_pending(container: Container) -> None:
    """Close the streams of those who attached before a start that will not happen."""
    waiting, container.pending = container.pending, []
    for _, attachment in waiting:
        attachment.sock.close()

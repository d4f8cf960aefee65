"""Namespaces of another container (`container:` in PidMode, IpcMode, NetworkMode): its pid, or why not."""

from typing import TYPE_CHECKING

from compatd.engine.containers.ipc import shm_path
from compatd.engine.containers.model import Container
from compatd.engine.errors import Conflict, EngineError, InvalidParameter

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers


def running(containers: "Containers", reference: str) -> Container:
    """The container to share with. Raises InvalidParameter when there is none, Conflict while it is down."""
    try:
        other = containers.find(reference)
    except EngineError as error:
        raise InvalidParameter(error.message) from None
    if not other.state.running:
        raise Conflict(f"container {reference} is not running")
    if other.state.restarting:
        raise Conflict(f"Container {reference} is restarting, wait until the container is running")
    return other


def pid_of(containers: "Containers", kind: str, reference: str) -> int:
    """The pid of a container whose namespace of that kind (OCI's name) is joined.

    Raises EngineError `failed to join … namespace: …`: 500 as with dockerd, where it is found out while the
    spec is made; but of IPC, looked at earlier, InvalidParameter or Conflict.
    """
    try:
        return running(containers, reference).state.pid
    except EngineError as error:
        status = type(error) if kind == "ipc" else EngineError
        raise status(f"failed to join {kind.upper()} namespace: {error.message}") from None


def shared_shm(containers: "Containers", reference: str) -> str:
    """The /dev/shm of the container whose IPC namespace is joined.

    Raises InvalidParameter (no such container, or none that shares) and Conflict (it does not run).
    """
    prefix = "failed to join IPC namespace: "
    try:
        other = running(containers, reference)
    except EngineError as error:
        raise type(error)(prefix + error.message) from None
    mode = str(other.host_config["IpcMode"])
    if mode == "host":
        return "/dev/shm"
    if mode.startswith("container:"):  # it has a third one's
        return shared_shm(containers, mode.partition(":")[2])
    if not shm_path(other).is_dir():
        raise InvalidParameter(
            f"{prefix}container {reference}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )
    return str(shm_path(other))

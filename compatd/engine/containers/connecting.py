"""`POST /networks/{id}/connect` and `/disconnect`: one network more or less of a container in any state."""

import logging
import os
from typing import TYPE_CHECKING, Any

from compatd.engine import metrics
from compatd.engine.containers import filesystem, validate
from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, NotFound
from compatd.engine.metrics import timed
from runtime.client import RuntimeError_, WorkerError
from runtime.shim.files import start_time

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
logger = logging.getLogger(__name__)


@timed(metrics.network_actions, "connect")
async def connect(containers: "Containers", container: Container, network: str, request: Json) -> None:
    """Put a container on a network: at once when it runs, else at its next start.

    `request` are its EndpointSettings there. Raises EngineError in dockerd's words; nothing has changed then.
    """
    request = {key: value for key, value in request.items() if key not in _OPERATIONAL}
    if request.get("MacAddress"):
        request["MacAddress"] = validate.mac_address(request["MacAddress"])
    async with container.lock:
        _check_removal(container)
        networks = containers.networks
        if not _alive(container):
            networks.connect_idle(container, network, request)
            container.network_settings = networks.idle_settings(container, container.network_settings)
            containers.registry.save(container)
            return
        move = networks.join(container, network, request)
        try:
            await _hold(containers, container, move)
            if move.part is not None:
                arguments = {"endpoint": move.part, "default": move.routes}
                await _in_namespace(containers, container, "connect", arguments)
        except BaseException as error:
            container.networking.pop(move.endpoint.network_name, None)
            await _leave(containers, container, move.endpoint.network_id)
            if isinstance(error, WorkerError | OSError | RuntimeError_):
                raise EngineError(str(error)) from error
            raise
        await _changed(containers, container)


def find(containers: "Containers", reference: str, network: str, force: bool) -> Container:
    """Who is to be taken off a network. With `force` dockerd looks for the endpoint of one that is gone."""
    try:
        return containers.find(reference)
    except NotFound:
        if not force:
            raise
        containers.networks.inspect(network)
        raise NotFound(f"endpoint {reference} not found") from None


async def disconnect(containers: "Containers", container: Container, network: str, *, force: bool) -> None:
    """Take a container off a network. Raises EngineError when it is not on it, or cannot leave it."""
    async with container.lock:
        networks = containers.networks
        if not _alive(container) or (force and networks.unknown(network)):
            _check_removal(container)
            networks.disconnect_idle(container, network)
            if not _alive(container):
                settings = networks.idle_settings(container, container.network_settings)
                container.network_settings = settings
            containers.registry.save(container)
            return
        await _leave(containers, container, network)
        await _changed(containers, container)


async def repair(containers: "Containers", container: Container) -> None:
    """A daemon that starts: what the last one was at when it was killed is undone.

    An endpoint that the container's document does not know is of a connect that was not finished, or of a
    disconnect that was.
    """
    async with container.lock:
        for endpoint in containers.networks.endpoints(container.id):
            if endpoint.network_name not in container.networking:
                await _leave(containers, container, endpoint.network_id)
                container.network_settings = containers.networks.running_settings(container)


async def _leave(containers: "Containers", container: Container, network: str) -> None:
    """Raises EngineError when it is not on that network; what else fails is logged."""
    move = containers.networks.leave(container, network)
    containers.registry.save(container)
    if move.endpoint.interface:
        arguments = {"name": move.endpoint.interface, "default": move.routes}
        try:
            await _in_namespace(containers, container, "disconnect", arguments)
        except (WorkerError, OSError, NotFound) as error:
            logger.warning("interface %s of %s: %s", move.endpoint.interface, container.name, error)
    await _hold(containers, container, move, quietly=True)
    containers.networks.left(move)


_OPERATIONAL = frozenset(
    {
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "DNSNames",
    }
)
"""What a client may send back as it was shown; it has no meaning in a request."""


def _alive(container: Container) -> bool:
    """A container that waits for its next restart has no network now."""
    return container.state.running and not container.state.restarting


def _check_removal(container: Container) -> None:
    if container.state.removing or container.state.dead or container.removed:
        raise EngineError(
            f"Container {container.id} is marked for removal and cannot be connected or disconnected to the "
            "network"
        )


async def _changed(containers: "Containers", container: Container) -> None:
    container.network_settings = containers.networks.running_settings(container)
    await containers.networks.moved(container)
    containers.registry.save(container)


async def _hold(containers: "Containers", container: Container, move: Any, *, quietly: bool = False) -> None:
    """The shim holds the sockets of published ports, no more and no less, and carries what is to be."""
    if not move.holds and not move.gone and not move.relays:
        return
    drop = [(port.protocol, port.host_ip, port.host_port) for port in move.gone]
    try:
        await containers.runtime.hold(container.id, move.holds, move.relays, drop)
    except RuntimeError_ as error:
        if not quietly:
            raise
        logger.warning("ports of container %s: %s", container.name, error)


async def _in_namespace(
    containers: "Containers", container: Container, function: str, arguments: Json
) -> None:
    """Run a function of `runtime.net.live` on the container's network. Raises WorkerError, OSError."""
    netns = open_netns(containers, container)
    try:
        await containers.runtime.worker(f"runtime.net.live:{function}", arguments, [netns])
    finally:
        os.close(netns)


def open_netns(containers: "Containers", container: Container) -> int:
    """A descriptor of the container's network namespace. Raises OSError, NotFound when it has ended."""
    process = filesystem.process(containers, container)
    if process is None:
        raise NotFound(f"network sandbox for container {container.id} not found")
    netns = os.open(f"/proc/{process['pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    # Opened first, then asked whose it was: the number cannot have gone to another process in between.
    if start_time(process["pid"]) != process["start_time"]:
        os.close(netns)
        raise NotFound(f"network sandbox for container {container.id} not found")
    return netns

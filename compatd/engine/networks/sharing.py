"""Network mode `container:X`: what a container has of another's network."""

from compatd.engine.errors import Conflict, EngineError
from compatd.engine.networks import documents
from compatd.engine.networks.model import ContainerLike, NetworkLease


def share(container: ContainerLike, other: ContainerLike) -> NetworkLease:
    """For the start of `container` in the namespace of `other`. Raises EngineError, Conflict as dockerd."""
    if other.id == container.id:
        raise EngineError("cannot join own network namespace")
    if not other.pid:
        state = getattr(getattr(other, "state", None), "status", "exited")
        raise Conflict(
            f"cannot join network namespace of a non running container: container {other.name} is {state}"
        )
    # As dockerd: from now on the container is called as the one whose network it shares.
    for key in ("Hostname", "Domainname"):
        container.config[key] = other.config.get(key, "")
    return NetworkLease({"mode": "container", "pid": other.pid}, documents.settings([]))

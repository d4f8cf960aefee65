"""What Swarm operations answer on an engine outside a swarm."""

from __future__ import annotations

from apispec.model import Operation

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
    "node to swarm and try again."
)
_NO_SWARM = "This node is not part of a swarm"
_NEEDS_NO_MANAGER = {
    "SwarmInit": (501, "SwarmInit: this engine has no Swarm mode"),
    "SwarmJoin": (501, "SwarmJoin: this engine has no Swarm mode"),
    "SwarmLeave": (503, _NO_SWARM),
}
_TAGS = frozenset(("swarm", "node", "service", "task", "secret", "config"))


def refusal(operation: Operation) -> tuple[int, str] | None:
    """Status and text for a Swarm operation, None for any other."""
    error = _NEEDS_NO_MANAGER.get(operation.id)
    if error is None and (operation.swarm or operation.tag.lower() in _TAGS):
        return 503, _NO_MANAGER
    return error

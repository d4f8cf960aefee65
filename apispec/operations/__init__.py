"""All operations, one module a noun. Within a noun the literal paths come before those with names in them."""

from apispec.model import Operation
from apispec.operations import (
    configs,
    containers,
    distribution,
    exec,
    images,
    networks,
    nodes,
    plugins,
    secrets,
    services,
    session,
    swarm,
    system,
    tasks,
    volumes,
)

_MODULES = (
    system,
    containers,
    exec,
    images,
    networks,
    volumes,
    distribution,
    session,
    plugins,
    swarm,
    nodes,
    services,
    tasks,
    secrets,
    configs,
)

OPERATIONS: dict[str, Operation] = {
    operation.id: operation for module in _MODULES for operation in module.OPERATIONS
}

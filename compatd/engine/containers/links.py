"""Links of the default bridge (API: HostConfig.Links): names for other containers in `/etc/hosts`.

A container with links is called their parent, those that it names its children. A child can be asked for by
`parent/alias`, too. Environment variables about children are not made, as by no engine since 29.
"""

import re
from typing import TYPE_CHECKING, Any

from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, InvalidParameter, NotFound

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]
_DEFAULT_MODES = ("bridge", "host", "none")
WARNING = (
    "Links on the default bridge network are deprecated and will be removed in a future release. "
    "Use a custom network instead."
)


def parse_link(text: str) -> tuple[str, str]:
    """`name`, `name:alias`, or as inspect shows them `/name:/parent/alias`. Raises InvalidParameter."""
    if not text:
        raise InvalidParameter("empty string specified for links")
    name, *aliases = text.split(":")
    if len(aliases) > 1:
        raise InvalidParameter(f"bad format for links: {text}")
    alias = aliases[0] if aliases else name
    return (name[1:], alias.rpartition("/")[2]) if name.startswith("/") and aliases else (name, alias)


def warnings(container: Container) -> list[str]:
    """What a client is told at create."""
    return [WARNING] if container.host_config["Links"] and container.network_mode == "bridge" else []


def register(containers: "Containers", container: Container) -> None:
    """Take a container's links into the index. Raises InvalidParameter for what cannot be linked to."""
    mode = container.network_mode
    if mode not in _DEFAULT_MODES and not mode.startswith("container:"):
        return
    for entry in container.host_config["Links"] or []:
        name, alias = parse_link(entry)
        child = _find(containers, name)
        while child.network_mode.startswith("container:"):
            child = _find(containers, child.network_mode.partition(":")[2])
        if child.network_mode == "host":
            raise InvalidParameter(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        containers.registry.links.setdefault(container.id, {})[alias] = child


def _find(containers: "Containers", name: str) -> Container:
    try:
        return containers.registry.find(name)
    except NotFound as error:
        raise InvalidParameter(f"could not get container for {name}: {error.message}") from None


def children(containers: "Containers", container: Container) -> dict[str, Container]:
    """A container's links by alias; a child that is removed stays among them."""
    return containers.registry.links.get(container.id, {})


def shown(containers: "Containers", container: Container) -> list[str] | None:
    """HostConfig.Links as inspect shows it."""
    linked = children(containers, container)
    return [f"/{child.name}:/{container.name}/{alias}" for alias, child in linked.items()] or None


def check(containers: "Containers", container: Container) -> None:
    """Before a start. Raises EngineError unless every child runs on the default network."""
    for alias, child in children(containers, container).items():
        if "bridge" not in (child.network_settings.get("Networks") or {}):
            raise EngineError(f"Cannot link to /{child.name}, as it does not belong to the default network")
        if not child.state.running:
            raise EngineError(
                f"Cannot link to a non running container: /{child.name} AS /{container.name}/{alias}"
            )


def hosts(containers: "Containers", container: Container) -> list[tuple[str, str]]:
    """Lines for the container's `/etc/hosts`: address and names of each child."""
    return [
        (address, _names(alias, child))
        for alias, child in children(containers, container).items()
        if (address := _address(child))
    ]


def _names(alias: str, child: Container) -> str:
    names = [alias, child.config["Hostname"]]
    return " ".join([*names, child.name] if alias != child.name else names)


def _address(container: Container) -> str:
    bridge = (container.network_settings.get("Networks") or {}).get("bridge") or {}
    return str(bridge.get("IPAddress") or "")


def address_changed(containers: "Containers", child: Container) -> None:
    """A child has started: put its new address into the files of the parents that run. Raises OSError."""
    address = _address(child)
    if not address:
        return
    for parent, alias in containers.registry.parents(child):
        if parent.state.running:
            line = re.compile(rb"^\S+(\t" + re.escape(alias.encode()) + rb")(?=\s)", re.M)
            _edit(parent, line, address.encode() + rb"\1")
            containers.networks.link(parent, children(containers, parent).values())


def unlink(containers: "Containers", reference: str) -> None:
    """`docker rm --link parent/alias`. Raises EngineError for a container's own name."""
    parent_name, _, alias = reference.removeprefix("/").rpartition("/")
    if not parent_name:
        raise EngineError("Conflict, cannot remove the default link name of the container")
    try:
        parent = containers.registry.find(parent_name)
    except EngineError:
        raise EngineError(f"Cannot get parent /{parent_name} for link name /{reference}") from None
    children(containers, parent).pop(alias, None)
    kept = [entry for entry in parent.host_config["Links"] or [] if parse_link(entry)[1] != alias]
    parent.host_config["Links"] = kept or None
    containers.registry.save(parent)
    if parent.state.running:
        _edit(parent, re.compile(rb"^\S+\t" + re.escape(alias.encode()) + rb"(?=\s).*\n", re.M), b"")


def _edit(container: Container, pattern: "re.Pattern[bytes]", replacement: bytes) -> None:
    """In place: the file is mounted into the container."""
    with open(container.dir / "hosts", "r+b") as file:
        content = pattern.sub(replacement, file.read())
        file.seek(0)
        file.write(content)
        file.truncate()


def dependencies(containers: "Containers", container: Container) -> list[Container]:
    """The containers that must run before this one can: children, and the owner of its network."""
    found = list(children(containers, container).values())
    kind, _, owner = container.network_mode.partition(":")
    if kind == "container" and (other := containers.registry.get(owner)):
        found.append(other)
    return found

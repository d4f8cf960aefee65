"""Names on user-defined networks: which an endpoint has, and the resolver that answers for them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from compatd.engine.networks.model import Json

_WITHOUT_NAMES = ("bridge", "host", "none")


class NamedContainer(Protocol):
    """What is asked of a container; `config` and `host_config` are in the API's spelling."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Json: ...
    @property
    def host_config(self) -> Mapping[str, Any]: ...
    @property
    def pid(self) -> int: ...


def has_names(network_name: str) -> bool:
    """Whether names are answered on this network: on all but the predefined ones."""
    return network_name not in _WITHOUT_NAMES


def dns_names(container: NamedContainer, request: Mapping[str, Any] | None) -> list[str]:
    """The names of a container on a user-defined network (`DNSNames` of inspect), the first for PTR.

    `request` is its EndpointSettings as the client gave them. As dockerd's: name, aliases, short ID, host
    name, each once.
    """
    aliases = (request or {}).get("Aliases") or []
    hostname = str(container.config.get("Hostname") or "")
    found = [container.name.lstrip("/"), *aliases, container.id[:12], hostname]
    return list(dict.fromkeys(name for name in found if name))


class Names:
    """The daemon's side of the resolver. To be used from the event loop's thread."""

    def __init__(self, config: Any, runtime: Any) -> None:
        """`runtime` is a `runtime.client.Runtime`, opened before `open`."""
        self._config = config
        self._runtime = runtime

    async def open(self) -> None:
        """Finds the resolver of an earlier daemon, or prepares the place of a new one. Raises OSError."""

    async def close(self) -> None:
        """Lets go of the resolver. It ends by itself when no container needs it any more."""

    def plan(self, container: NamedContainer, endpoints: Sequence[Any]) -> Json | None:
        """NetPlan's `dns` for a starting container, in the order of its endpoints; None: no resolver."""
        return None

    def up(self, container: NamedContainer, endpoint: Any, network: Any) -> None:
        """An endpoint's names are answered from now on (before its container starts, or at connect)."""

    def down(self, endpoint: Any) -> None:
        """They are not any more. One that never was up is no error."""

    async def changed(self, container: NamedContainer, endpoints: Sequence[Any]) -> None:
        """After connect or disconnect of a container that runs: these are its endpoints now."""

    def renamed(self, container: NamedContainer, endpoints: Sequence[Any]) -> None:
        """A running container has got another name."""

    def adopt(self, container: NamedContainer, endpoints: Sequence[Any]) -> None:
        """At a daemon's start, for each container that runs; then, once, `settle`."""

    def settle(self) -> None:
        """What was adopted is all: the resolver forgets the rest, and gets what it lacks."""

    def sandbox_gone(self, container_id: str) -> None:
        """The container has ended. Its endpoints' names go by `down`."""

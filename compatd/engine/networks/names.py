"""Names on user-defined networks: which an endpoint has, and the resolver that answers for them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from compatd.engine.networks import files, resolvconf
from compatd.engine.networks.model import ContainerLike, Endpoint, Json
from compatd.engine.networks.resolvconf import ResolvConf
from runtime.client.resolver import Resolver
from runtime.client.types import RuntimeError_, WorkerError

log = logging.getLogger(__name__)

has_names = resolvconf.has_names


def dns_names(container: ContainerLike, request: Mapping[str, Any] | None) -> list[str]:
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
        self._resolver = Resolver(runtime)

    async def open(self) -> None:
        """Finds the resolver of an earlier daemon, or prepares the place of a new one. Raises OSError."""
        await self._resolver.open()

    async def close(self) -> None:
        """Lets go of the resolver. It ends by itself when no container needs it any more."""
        await self._resolver.close()

    def plan(self, container: ContainerLike, endpoints: Sequence[Endpoint]) -> Json | None:
        """NetPlan's `dns` for a starting container, in the order of its endpoints; None: no resolver."""
        if not any(has_names(e.network_name) for e in endpoints):
            return None
        return self._resolver.expect(self._sandbox(container, endpoints))

    def up(self, container: ContainerLike, endpoint: Endpoint, network: Any = None) -> None:
        """An endpoint's names are answered from now on (before its container starts, or at connect)."""
        if has_names(endpoint.network_name):
            self._resolver.add(record(container, endpoint))

    def down(self, endpoint: Endpoint) -> None:
        """They are not any more. One that never was up is no error."""
        self._resolver.remove(endpoint.id)

    async def changed(self, container: ContainerLike, endpoints: Sequence[Endpoint]) -> None:
        """After connect or disconnect of a container that runs: these are its endpoints now.

        With the first network that has names it gets a resolver, and keeps it to its end, as with dockerd.
        Without one it goes on: the failure is logged. Raises OSError for its resolv.conf.
        """
        if not self._resolver.has(container.id):
            if not any(has_names(e.network_name) for e in endpoints):
                return
            files.to_resolver(container, self._resolv_conf(container))
        try:
            await self._resolver.change(self._sandbox(container, endpoints))
        except (RuntimeError_, WorkerError, OSError) as error:
            log.error("no resolver for container %s: %s", container.name, error)

    def renamed(self, container: ContainerLike, endpoints: Sequence[Endpoint]) -> None:
        """A running container has got another name."""
        for endpoint in endpoints:
            self.up(container, endpoint)

    def adopt(self, container: ContainerLike, endpoints: Sequence[Endpoint]) -> None:
        """At a daemon's start, for each container that runs; then, once, `settle`."""
        if any(has_names(e.network_name) for e in endpoints):
            self._resolver.adopt(self._sandbox(container, endpoints))
        for endpoint in endpoints:
            self.up(container, endpoint)

    def settle(self) -> None:
        """What was adopted is all: the resolver forgets the rest, and gets what it lacks."""
        self._resolver.settle()

    def sandbox_gone(self, container_id: str) -> None:
        """The container has ended. Its endpoints' names go by `down`."""
        self._resolver.gone(container_id)

    def _resolv_conf(self, container: ContainerLike) -> ResolvConf:
        return files.resolv_conf(container.host_config, self._config, resolver=True)

    def _sandbox(self, container: ContainerLike, endpoints: Sequence[Endpoint]) -> Json:
        resolv = self._resolv_conf(container)
        return {
            "container": container.id,
            "endpoints": [
                {"id": e.id, "network": e.network_id, "links": links(e.request)}
                for e in endpoints
                if has_names(e.network_name)
            ],
            "servers": [list(server) for server in resolv.external],
            # Only internal networks, or none: nothing is asked for it from the host's namespace.
            "forward": any(e.default4 or e.default6 for e in endpoints),
            "ndots": resolv.ndots,
        }


def record(container: ContainerLike, endpoint: Endpoint) -> Json:
    """What the resolver knows of an endpoint."""
    return {
        "endpoint": endpoint.id,
        "network": endpoint.network_id,
        "network_name": endpoint.network_name,
        "names": endpoint.dns_names or dns_names(container, endpoint.request),
        "v4": endpoint.address,
        "v6": endpoint.address6,
    }


def links(request: Mapping[str, Any]) -> dict[str, str]:
    """An endpoint's links, alias → name. A client gives them as `name:alias` or `name`."""
    found = {}
    for entry in request.get("Links") or []:
        name, _, alias = entry.partition(":")
        found[alias or name] = name
    return found

"""The engine's networks, and what each container has of them."""

import copy
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from compatd.engine import metrics
from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from compatd.engine.networks import (
    configuring,
    default_bridge,
    documents,
    files,
    filters,
    icc,
    restoring,
    settings,
)
from compatd.engine.networks.addressing import Addressing
from compatd.engine.networks.catalog import Catalog
from compatd.engine.networks.drivers import DRIVERS
from compatd.engine.networks.joining import Joining
from compatd.engine.networks.making import Making
from compatd.engine.networks.model import ContainerLike, Endpoint, Json, Move, Network, NetworkLease
from compatd.engine.networks.names import Names, dns_names
from compatd.engine.networks.publishing import Publishing
from compatd.engine.networks.rules import Rules, table_name
from compatd.engine.networks.sharing import share
from runtime.net import nft

log = logging.getLogger(__name__)

_FAILED = "failed to set up container networking: "


class Networks:
    """Plans and frees the network of containers. To be used from the event loop's thread only.

    `find` answers a container by ID or name (for `--network container:X` and present names); the
    containers' room sets it. `names` answers for containers' names on user-defined networks, when set.
    """

    def __init__(self, config: Any, store: Any, events: Any) -> None:
        self._config = config
        self.find: Callable[[str], ContainerLike | None] | None = None
        self.names: Names | None = None
        self._store = store
        self._catalog = Catalog(store)
        self._addressing = Addressing(config.default_address_pools, store)
        self._publishing = Publishing(config)
        # libnetwork resolves links in the folder's path, too
        folder = os.path.realpath(config.exec_root) + "/netns/"
        self._joining = Joining(self._catalog, self._addressing, self._publishing, store, folder)
        self._making = Making(
            self._catalog,
            self._addressing,
            events,
            getattr(config, "default_network_opts", None) or {},
            on=self._joining.on,
            changed=self._networks_changed,
        )
        self._adopted: set[str] = set()

    # Start and stop of the daemon

    async def open(self) -> None:
        """Makes what the store knows: bridges that are missing, the firewall's tables with all ports.

        What was half made or half removed is undone. Then the containers' room calls `adopt` for each
        container that runs, and `settle`. Raises EngineError, OSError: without its default network the daemon
        does not start, as dockerd.
        """
        if self.names is not None:
            await self.names.open()
        restoring.restore(self._catalog, self._addressing, self._config)
        self._joining.restore(lambda id, why: log.warning("forgetting endpoint %s: %s", id, why))
        table = table_name("" if self._config.bridge == "none" else default_bridge.bridge_name(self._config))
        self._publishing.rules = Rules(self, self._config, table=table)
        self._publishing.rules.watch()

    async def close(self) -> None:
        """Lets go of sockets. Bridges, rules and addresses stay for containers that live on."""
        if self._publishing.rules is not None:
            self._publishing.rules.close()
            self._publishing.rules = None
        if self.names is not None:
            await self.names.close()

    @property
    def rules(self) -> Rules | None:
        """The firewall, while the daemon runs."""
        return self._publishing.rules

    def refresh_firewall(self) -> None:
        """Writes the whole table anew, at one moment; also after another program has thrown it away."""
        if self.rules is not None:
            self.rules.refresh()

    def finish_forgetting(self) -> None:
        """Waits until the UDP flows of all ports published and withdrawn so far are forgotten."""
        if self.rules is not None:
            self.rules.finish_forgetting()

    def firewall_networks(self) -> list[nft.Network]:
        """What the firewall's tables are made of."""
        found = (DRIVERS[n.driver].firewall(n) for n in self._catalog if not n.config_only)
        return [network for network in found if network is not None]

    def all_endpoints(self) -> list[Endpoint]:
        """Every endpoint that lives."""
        return list(self._joining.all())

    def _networks_changed(self) -> None:
        if self.rules is not None:
            self.rules.networks_changed()

    def adopt(self, container: ContainerLike) -> Json | None:
        """A container that runs since before this daemon: it keeps what the store says it has. Answers its
        NetworkSettings, or None when the store knows nothing (mode `container:`)."""
        sandbox = self._joining.sandboxes.get(container.id)
        if sandbox is None:
            return None
        self._adopted.add(container.id)
        self._joining.arrange(sandbox)
        if self.names is not None:
            self.names.adopt(container, sandbox.endpoints)
        return documents.settings(sandbox.endpoints, sandbox.id, sandbox.key)

    def settle(self) -> None:
        """Ends the start: frees what belongs to containers that nobody adopted."""
        for container_id in [c for c in self._joining.sandboxes if c not in self._adopted]:
            self._free(container_id)
        if self.names is not None:
            self.names.settle()

    # Containers that start and stop

    def plan(self, container: ContainerLike) -> NetworkLease:
        """Allocates a starting container's addresses and ports and publishes them.

        A container that has something already gives it back first. Raises NotFound, Conflict,
        InvalidParameter, EngineError with dockerd's texts; nothing is allocated then.
        """
        began = time.perf_counter()
        self._free(container.id)
        mode = str(container.host_config.get("NetworkMode") or "default")
        if mode.startswith("container:"):
            return share(container, self._other(mode.partition(":")[2]))
        self.configure(container)
        if self._config.bridge == "none" and mode in ("default", "bridge"):
            container.config["NetworkDisabled"] = True  # as dockerd: it runs, without a network
        if container.config.get("NetworkDisabled"):
            return NetworkLease({"mode": "new", "endpoints": [], "sysctls": {}}, documents.settings([]))
        try:
            sandbox, holds = self._joining.start(container)
        except EngineError as e:
            raise type(e)(_FAILED + e.message) from e
        self._adopted.add(container.id)
        for endpoint in sandbox.endpoints:
            self._up(container, endpoint)
        if any(e.driver == "host" for e in sandbox.endpoints):
            plan: Json = {"mode": "host"}
        else:
            parts = [self._part(e) for e in sandbox.endpoints]
            plan = {"mode": "new", "endpoints": [p for p in parts if p is not None], "sysctls": {}}
            if self.names is not None and (dns := self.names.plan(container, sandbox.endpoints)) is not None:
                plan["dns"] = dns
            if relays := self._publishing.relays(sandbox.endpoints):
                plan["relays"] = relays
        metrics.network_actions.since("allocate", began)
        return NetworkLease(plan, documents.settings(sandbox.endpoints, sandbox.id, sandbox.key), holds)

    def _other(self, name: str) -> ContainerLike:
        other = self.find(name) if self.find is not None else None
        if other is None:
            raise NotFound(f"No such container: {name}")
        return other

    def _part(self, endpoint: Endpoint) -> Json | None:
        network = self._joining.network_of(endpoint.network_id)
        return DRIVERS[network.driver].part(network, endpoint)

    def _up(self, container: ContainerLike, endpoint: Endpoint) -> None:
        network = self._joining.network_of(endpoint.network_id)
        if not endpoint.hidden:
            self._making.emit(network, "connect", {"container": endpoint.container_id})
        if self.names is not None:
            self.names.up(container, endpoint, network)

    def _down(self, endpoint: Endpoint) -> None:
        if self.names is not None:
            self.names.down(endpoint)
        network = self._catalog.get(endpoint.network_id)
        if network is not None and not endpoint.hidden:
            self._making.emit(network, "disconnect", {"container": endpoint.container_id})

    def release(self, container_id: str) -> None:
        """Frees a stopped container's ports and addresses and emits `network disconnect`. Never raises
        for a container that has nothing."""
        began = time.perf_counter()
        self._free(container_id)
        metrics.network_actions.since("release", began)

    def _free(self, container_id: str) -> None:
        self._adopted.discard(container_id)
        sandbox = self._joining.sandboxes.pop(container_id, None)
        if sandbox is None:
            return
        self._joining.give_back(sandbox)
        icc.unlink(self.rules, container_id)
        for endpoint in sandbox.endpoints:
            self._down(endpoint)
        if self.names is not None:
            self.names.sandbox_gone(container_id)

    def link(self, container: ContainerLike, linked: Iterable[ContainerLike]) -> None:
        """With icc=false: a container reaches the exposed ports of those that it has links to.

        Raises OSError.
        """
        network = self._catalog.named("bridge")
        here = {e.container_id: e for e in (self._joining.on(network.id) if network is not None else ())}
        others = [here[other.id] for other in linked if other.id in here]
        icc.link(self.rules, network, container.id, here.get(container.id), others)

    # One network more or less of a running container; what follows in its namespace is the caller's

    def join(self, container: ContainerLike, term: str, request: Json) -> Move:
        """Puts a running container on a network. Raises EngineError; nothing is changed then.

        The caller makes the interface as the answer says; when it cannot, it calls `leave`.
        """
        if str(container.host_config.get("NetworkMode")).startswith("container:"):
            raise settings.shares_namespace()
        network = self._catalog.resolve(term)
        kept = {**request, "NetworkID": network.id}
        configuring.describe(container, network, kept)
        here = self._joining.sandbox_of(container)
        if here.on(network.id) is None:
            configuring.check_together(self._catalog, container, network)
        endpoint, holds, gone = self._joining.join(container, network, kept)
        container.networking[network.name] = kept
        self._up(container, endpoint)
        self._in_files(files.connected, container, endpoint)
        routes, relays = here.routes(self._joining.network_of), self._publishing.relays(here.endpoints)
        return Move(endpoint, self._part(endpoint), routes, holds, gone, relays)

    def leave(self, container: ContainerLike, term: str) -> Move:
        """Takes a running container off a network. Raises EngineError when it is not on it."""
        network = self._catalog.resolve(term)
        if container.host_config.get("NetworkMode") == "host" and network.driver == "host":
            raise InvalidParameter(
                "cannot disconnect container from host network - container was created in host network mode"
            )
        sandbox = self._joining.sandboxes.get(container.id)
        endpoint = sandbox.on(network.id) if sandbox is not None else None
        if sandbox is None or endpoint is None:
            raise EngineError(f"container {container.id} is not connected to network {network.name}")
        former = copy.copy(endpoint)  # it loses its addresses
        holds, gone = self._joining.leave(container, endpoint)
        container.networking.pop(network.name, None)
        self._down(endpoint)
        self._in_files(files.disconnected, container, former)
        routes, relays = sandbox.routes(self._joining.network_of), self._publishing.relays(sandbox.endpoints)
        return Move(endpoint, None, routes, holds, gone, relays)

    @staticmethod
    def _in_files(change: Callable[..., None], container: ContainerLike, endpoint: Endpoint) -> None:
        try:
            change(container, endpoint)
        except OSError as e:
            log.warning("the hosts file of %s: %s", container.name, e)

    def left(self, move: Move) -> None:
        """After `leave`, when the container's interface is gone."""
        self._joining.left(move.endpoint)

    def running_settings(self, container: ContainerLike) -> Json:
        """NetworkSettings of a running container as it is now."""
        sandbox = self._joining.sandbox_of(container)
        return documents.settings(sandbox.endpoints, sandbox.id, sandbox.key)

    async def moved(self, container: ContainerLike) -> None:
        """After `join` or `leave`, when the namespace has followed."""
        if self.names is not None:
            await self.names.changed(container, self.endpoints(container.id))

    def unknown(self, term: str) -> bool:
        """Whether there is no such network."""
        return self._catalog.find(term) is None

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """A running container's endpoints."""
        sandbox = self._joining.sandboxes.get(container_id)
        return list(sandbox.endpoints) if sandbox is not None else []

    # Containers that do not run: their configuration only

    def check_request(self, endpoints: Mapping[str, Json]) -> None:
        """EndpointsConfig of a create request. Raises InvalidParameter."""
        settings.check_all(self._catalog.find, endpoints)

    def configure(self, container: ContainerLike) -> None:
        """Gives a container that names no network the one of its mode."""
        configuring.configure(self._catalog, container)

    def connect_idle(self, container: ContainerLike, term: str, request: Json) -> None:
        """For the next start. Raises InvalidParameter."""
        configuring.connect(self._catalog, container, term, request)

    def disconnect_idle(self, container: ContainerLike, term: str) -> None:
        """Not at the next start. Raises EngineError when it is not on that network."""
        configuring.disconnect(self._catalog, container, term)

    def renamed(self, container: ContainerLike) -> Json | None:
        """A running container has another name: it is found by that on its networks. Its new NetworkSettings,
        if it has networks of its own."""
        sandbox = self._joining.sandboxes.get(container.id)
        if sandbox is None:
            return None
        for endpoint in sandbox.endpoints:
            endpoint.container_name = container.name.lstrip("/")
            kept = container.networking.get(endpoint.network_name)
            if kept is not None:  # as dockerd, also where there is no resolver
                kept["DNSNames"] = dns_names(container, kept)
                endpoint.dns_names = list(kept["DNSNames"])
        self._joining.save(sandbox)
        if self.names is not None:
            self.names.renamed(container, sandbox.endpoints)
        return documents.settings(sandbox.endpoints, sandbox.id, sandbox.key)

    def idle_settings(self, container: ContainerLike, running: Json | None = None) -> Json:
        """NetworkSettings of a container that does not run: before its first start, or after `running`."""
        if container.config.get("NetworkDisabled"):
            return documents.settings([])
        self.configure(container)
        return documents.idle_settings(container.networking)

    # Files

    def write_files(self, container: ContainerLike) -> dict[str, Path]:
        """Writes hostname, hosts and resolv.conf in the container's folder; call it after `plan`.

        Answers {"hostname", "hosts", "resolv.conf"} with the paths to mount: with `container:X` they are
        the other container's. Raises OSError, NotFound.
        """
        kind, _, other = str(container.host_config.get("NetworkMode")).partition(":")
        if kind == "container":
            folder = self._other(other).dir
            return {name: folder / name for name in ("hostname", "hosts", "resolv.conf")}
        return files.write(
            container, self._config, self.endpoints(container.id), self._catalog.named("bridge")
        )

    # Networks themselves

    async def create(self, body: Mapping[str, Any]) -> str:
        """Makes the network that an API request describes; its ID. Raises EngineError."""
        return await self._making.create(body)

    async def remove(self, term: str) -> None:
        """Removes a network. Raises NotFound, Forbidden."""
        await self._making.remove(term)

    async def prune(self, given: Mapping[str, Any]) -> list[str]:
        """Removes networks that nothing uses; their names. Raises InvalidParameter."""
        return await self._making.prune(given, lambda id: bool(self._joining.on(id)))

    def list(self, given: Mapping[str, Any] | None = None, *, detailed: bool = False) -> list[Json]:
        """Network resources that pass the filters; `detailed` with containers, as before 1.28.

        Raises InvalidParameter.
        """
        used = {e.network_id for e in self._joining.all()}
        passes = filters.matcher(filters.check(given or {}))
        found = [n for n in self._catalog if passes(n, n.id in used)]
        return [self._with_containers(n) if detailed else documents.network(n) for n in found]

    def inspect(self, term: str, scope: str = "") -> Json:
        """A network by ID, name or the ID's beginning, with `Containers` and `Status`.

        Raises NotFound (also when it is not of `scope`), InvalidParameter when several IDs begin so.
        """
        network = self._catalog.resolve(term)
        if scope and network.scope != scope:
            raise NotFound(f"network {term} not found")
        return {**self._with_containers(network), "Status": {"IPAM": self._addressing.status(network)}}

    def _with_containers(self, network: Network) -> Json:
        here = self._joining.on(network.id)
        attached = documents.attached((e, e.container_name) for e in here)
        return {**documents.network(network), "Containers": attached}

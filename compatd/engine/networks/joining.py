"""Containers on networks: their endpoints are made and given back here, all of a start or one by one."""

import contextlib
import logging
import secrets
from collections.abc import Iterator
from typing import Any

from compatd.engine.errors import EngineError, Forbidden, InvalidParameter, NotFound
from compatd.engine.networks import configuring, ports, settings
from compatd.engine.networks.addressing import Addressing
from compatd.engine.networks.catalog import Catalog
from compatd.engine.networks.default_bridge import mac_for
from compatd.engine.networks.drivers import DRIVERS
from compatd.engine.networks.model import ContainerLike, Endpoint, Json, Network, Publication
from compatd.engine.networks.publishing import Publishing
from compatd.engine.networks.sandboxes import Sandbox
from compatd.store import StoreError

log = logging.getLogger(__name__)


class Joining:
    """The sandboxes of all running containers, by container ID."""

    def __init__(
        self, catalog: Catalog, addressing: Addressing, publishing: Publishing, store: Any, folder: str
    ) -> None:
        """`folder`: below it are the sandboxes' keys, as dockerd shows them."""
        self._catalog, self._addressing, self._publishing = catalog, addressing, publishing
        self._table = store.endpoints
        self._folder = folder
        self.sandboxes: dict[str, Sandbox] = {}

    def network_of(self, network_id: str) -> Network:
        """A network that somebody is on. Raises NotFound."""
        network = self._catalog.get(network_id)
        if network is None:
            raise NotFound(f"network {network_id} not found")
        return network

    def on(self, network_id: str) -> list[Endpoint]:
        """The endpoints on a network."""
        return [e for e in self.all() if e.network_id == network_id]

    def all(self) -> Iterator[Endpoint]:
        """Every endpoint."""
        for sandbox in self.sandboxes.values():
            yield from sandbox.endpoints

    # Starting and stopping

    def start(self, container: ContainerLike) -> tuple[Sandbox, list[Any]]:
        """A new sandbox with an endpoint on each of the container's networks, and the sockets of its ports.

        Raises EngineError with dockerd's texts; nothing is allocated then.
        """
        host_mode = container.host_config.get("NetworkMode") == "host"
        sandbox = Sandbox.new(self._folder, host=host_mode)
        with self._undone(sandbox):
            met: list[Network] = []
            for key, kept in list(container.networking.items()):
                network = configuring.network_of(self._catalog, key, kept)
                settings.check_together(network, met, host_mode=host_mode)
                met.append(network)
                kept = configuring.keep(self._catalog, container, key, network)
                sandbox.add(self._endpoint(container, sandbox, network, kept), self.network_of)
                kept["NetworkID"] = network.id
            sandbox.name_interfaces(self.network_of)
            holds = self._publishing.publish(container, sandbox, self.network_of)
            try:
                self.save(sandbox)
            except BaseException:
                for sock in holds:
                    sock.close()
                raise
        self.sandboxes[container.id] = sandbox
        return sandbox, holds

    @contextlib.contextmanager
    def _undone(self, sandbox: Sandbox) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.give_back(sandbox)
            raise

    def give_back(self, sandbox: Sandbox) -> list[Publication]:
        """Frees ports and addresses and forgets the endpoints; the ports that there were. Never raises."""
        gone = self._publishing.withdraw(sandbox)
        for endpoint in sandbox.endpoints:
            self._addressing.give_back(endpoint)
            try:
                self._table.delete(endpoint.id)
            except StoreError as error:  # a full disk: the next start forgets it
                log.warning("endpoint %s stays in the state: %s", endpoint.id, error)
        return gone

    def _endpoint(self, container: ContainerLike, sandbox: Sandbox, network: Network, kept: Json) -> Endpoint:
        if network.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        if sandbox.on(network.id) is not None:
            raise Forbidden(
                f"endpoint with name {container.name.lstrip('/')} already exists in network {network.name}"
            )
        driver = DRIVERS[network.driver]
        endpoint = Endpoint(
            id=secrets.token_hex(32),
            container_id=container.id,
            container_name=container.name.lstrip("/"),
            network_id=network.id,
            network_name=network.name,
            sandbox_id=sandbox.id,
            sandbox_key=sandbox.key,
            driver=network.driver,
            request=dict(kept),
            dns_names=list(kept.get("DNSNames") or ()),
            hidden=bool(getattr(container, "hidden", False)),
        )
        if network.driver == "bridge":
            endpoint.exposed = [ports.normal_key(k) for k in container.config.get("ExposedPorts") or {}]
        for address in (kept.get("IPAMConfig") or {}).get("LinkLocalIPs") or []:
            if not address.startswith("169.254.") and not address.lower().startswith("fe80:"):
                raise InvalidParameter(f"invalid link local IP address: {address}")
        self._addressing.assign(network, endpoint)
        if driver.has_mac(network):
            endpoint.mac = str(kept.get("MacAddress") or mac_for(endpoint.address, endpoint.id)).lower()
        endpoint.gateway, endpoint.gateway6 = driver.gateways(network, endpoint)
        return endpoint

    def save(self, sandbox: Sandbox) -> None:
        """Writes down all its endpoints. Raises StoreError."""
        for endpoint in sandbox.endpoints:
            self._table.put(endpoint.id, endpoint.document())

    # One more, one less

    def join(
        self, container: ContainerLike, network: Network, kept: Json
    ) -> tuple[Endpoint, list[Any], list[Publication]]:
        """One more endpoint of a running container; sockets of new ports, and ports no longer held.

        Raises EngineError; nothing is allocated then.
        """
        sandbox = self.sandbox_of(container)
        endpoint = self._endpoint(container, sandbox, network, kept)
        sandbox.add(endpoint, self.network_of)
        try:
            sandbox.name_interfaces(self.network_of)
            holds, gone = self._publishing.move(container, sandbox, self.network_of)
            self.save(sandbox)
        except BaseException:
            self.leave(container, endpoint)
            self.left(endpoint)
            raise
        return endpoint, holds, gone

    def leave(self, container: ContainerLike, endpoint: Endpoint) -> tuple[list[Any], list[Publication]]:
        """One endpoint less; its ports go to who has the default route now. As `join` answers.

        The store has it until `left`: a daemon that starts finds by that what is to be finished.
        """
        sandbox = self.sandbox_of(container)
        moving = endpoint.publications
        sandbox.remove(endpoint, self.network_of)
        holds: list[Any] = []
        gone: list[Publication] = []
        try:
            holds, gone = self._publishing.move(container, sandbox, self.network_of, endpoint)
        except EngineError as e:
            log.warning("the ports of %s: %s", container.name, e.message)
            gone = moving
        self._addressing.give_back(endpoint)
        self.save(sandbox)
        return holds, gone

    def left(self, endpoint: Endpoint) -> None:
        """Its interface is gone, too."""
        self._table.delete(endpoint.id)

    def sandbox_of(self, container: ContainerLike) -> Sandbox:
        """A running container's sandbox. Raises NotFound as dockerd."""
        sandbox = self.sandboxes.get(container.id)
        if sandbox is None:
            raise NotFound(f"network sandbox for container {container.id} not found")
        return sandbox

    # Start of the daemon

    def arrange(self, sandbox: Sandbox) -> None:
        """Puts a sandbox of the store in order."""
        sandbox.arrange(self.network_of)

    def restore(self, forget: Any) -> None:
        """Takes what the store says running containers have; `forget` is told what cannot be had."""
        for endpoint_id, document in list(self._table.all()):
            try:
                endpoint = Endpoint.load(document)
                self.network_of(endpoint.network_id)
                self._addressing.take_again(endpoint)
            except (EngineError, TypeError, ValueError, KeyError) as e:
                forget(endpoint_id, e)
                self._table.delete(endpoint_id)
                continue
            self._publishing.restore(endpoint)
            sandbox = self.sandboxes.get(endpoint.container_id)
            if sandbox is None:
                sandbox = Sandbox(endpoint.sandbox_id, endpoint.sandbox_key)
                self.sandboxes[endpoint.container_id] = sandbox
            sandbox.endpoints.append(endpoint)

"""NetworkCreate, NetworkDelete, NetworkPrune: one at a time, written down before the host is changed."""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from compatd.engine.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from compatd.engine.networks import filters, requests
from compatd.engine.networks.addressing import Addressing
from compatd.engine.networks.catalog import Catalog
from compatd.engine.networks.drivers import DRIVERS
from compatd.engine.networks.model import Endpoint, Network
from compatd.engine.timestamps import rfc3339

log = logging.getLogger(__name__)
T = TypeVar("T")


class Making:
    """Makes and removes networks."""

    def __init__(
        self,
        catalog: Catalog,
        addressing: Addressing,
        events: Any,
        default_options: Mapping[str, Mapping[str, str]],
        *,
        on: Callable[[str], list[Endpoint]],
        changed: Callable[[], None],
    ) -> None:
        """`on` answers a network's endpoints by its ID; `changed` is called when the firewall's networks
        are not what they were. Raises OSError from it."""
        self._catalog, self._addressing, self._events = catalog, addressing, events
        self._default_options = default_options
        self._on, self._changed = on, changed
        self._lock = asyncio.Lock()
        self._pruning = False

    async def create(self, body: Mapping[str, Any]) -> str:
        """Makes the network that an API request describes; its ID. Raises EngineError."""
        network = requests.read(body, self._default_options)
        async with self._lock:
            self._check(network)
            network.id, network.created = secrets.token_hex(32), rfc3339(time.time_ns())
            if not network.config_only:
                self._addressing.allocate(network)
            try:
                await self._make(network)
            except BaseException:
                self._addressing.free(network)
                raise
        self.emit(network, "create")
        return network.id

    def _check(self, network: Network) -> None:
        if not network.name.strip():
            raise InvalidParameter("invalid name: name is empty")
        if self._catalog.named(network.name) is not None:
            raise Conflict(f"network with name {network.name} already exists")
        requests.check(network)
        if network.config_only:
            network.scope, network.driver = "local", "null"
            return
        driver = DRIVERS.get(network.driver)
        if driver is None:
            raise NotFound(f'plugin "{network.driver}" not found')
        if network.ingress:
            raise Forbidden("Ingress network can only be global scope network")
        if network.config_from:
            self._take_over(network)
        if network.scope == "swarm":
            raise Forbidden("cannot create a swarm scoped network when swarm is not active")
        network.scope = network.scope or "local"
        driver.check(network)
        if network.ipam_driver not in ("default", "null"):
            raise NotFound(f'plugin "{network.ipam_driver}" not found')

    def _take_over(self, network: Network) -> None:
        """Everything that a configuration-only network says."""
        source = self._catalog.named(network.config_from)
        if source is None or not source.config_only:
            raise NotFound(f'configuration network "{network.config_from}" does not exist')
        network.ipv4, network.ipv6 = source.ipv4, source.ipv6
        network.labels, network.options = dict(source.labels), dict(source.options)
        network.ipam_driver, network.wanted = source.ipam_driver, list(source.wanted)
        network.ipam_options = source.ipam_options or network.ipam_options

    async def _make(self, network: Network) -> None:
        if network.config_only:
            self._catalog.add(network)
            return
        driver, others = DRIVERS[network.driver], self._others(network)
        driver.check_subnets(network, others)
        try:
            network.host_made = await _in_thread(driver.owns, network, others)
        except OSError as error:
            raise EngineError(_reason(error)) from error
        self._catalog.note(network, "creating")
        try:
            await asyncio.shield(_in_thread(driver.create, network, others))
            self._catalog.add(network)
            self._changed()
        except BaseException as error:
            await asyncio.shield(self._undo(network))
            if isinstance(error, OSError):
                raise EngineError(_reason(error)) from error
            raise

    async def _undo(self, network: Network) -> None:
        self._catalog.note(network, "deleting")
        try:
            await _in_thread(DRIVERS[network.driver].remove, network, self._others(network))
        except OSError as e:
            log.warning("undoing network %s: %s", network.name, e)
        self._catalog.forget(network)

    def _others(self, network: Network) -> list[Network]:
        return [n for n in self._catalog if n.driver == network.driver and n.id != network.id]

    async def remove(self, term: str) -> None:
        """Removes a network. Raises NotFound, Forbidden with dockerd's texts."""
        async with self._lock:
            network = self._catalog.resolve(term)
            if not network.user_defined:
                raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
            await self._remove(network)

    async def _remove(self, network: Network) -> None:
        failed = "error while removing network: "
        if network.config_only:
            if any(n.config_from == network.name for n in self._catalog):
                raise Forbidden(f'{failed}configuration network "{network.name}" is in use')
            self._catalog.forget(network)
            return
        if endpoints := self._on(network.id):
            named = ", ".join(f'name:"{e.container_name}" id:"{e.id[:12]}"' for e in endpoints)
            raise Forbidden(f"{failed}network {network.name} has active endpoints ({named})")
        self._catalog.note(network, "deleting")  # from now on no container finds it
        try:
            await asyncio.shield(_in_thread(DRIVERS[network.driver].remove, network, self._others(network)))
        except OSError as e:
            log.warning("removing network %s: %s", network.name, e)  # as dockerd: it is gone for clients
        finally:
            self._addressing.free(network)
            self._catalog.forget(network)
        try:
            self._changed()
        except OSError as e:
            log.warning("the firewall's rules of network %s: %s", network.name, e)
        self.emit(network, "destroy")

    async def prune(self, given: Mapping[str, Any], in_use: Callable[[str], bool]) -> list[str]:
        """Removes the networks that nobody uses and that pass the filters; their names.

        Raises InvalidParameter, and Conflict while another prune goes on.
        """
        if self._pruning:
            raise Conflict("a prune operation is already running")
        wanted = filters.check_prune(given, time.time_ns())
        self._pruning = True
        try:
            removed = await self._prune(wanted, in_use)
        finally:
            self._pruning = False
        self._events.emit("network", "prune", "", {"reclaimed": "0"})
        return removed

    async def _prune(self, wanted: Mapping[str, list[str]], in_use: Callable[[str], bool]) -> list[str]:
        removed = []
        async with self._lock:
            for network in self._catalog:
                if network.config_only or not network.user_defined or in_use(network.id):
                    continue
                if not filters.matches_prune(network, wanted):
                    continue
                try:
                    await self._remove(network)
                except EngineError as e:
                    log.warning("could not remove local network %s: %s", network.name, e.message)
                    continue
                removed.append(network.name)
        return removed

    def emit(self, network: Network, action: str, attributes: Mapping[str, str] | None = None) -> None:
        """An event of a network."""
        self._events.emit(
            "network",
            action,
            network.id,
            {**(attributes or {}), "name": network.name, "type": network.driver},
        )


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """The kernel takes some 10 ms to make or delete a link: the loop does not wait."""
    return await asyncio.to_thread(function, *arguments)


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]

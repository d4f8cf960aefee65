"""The network resources: bridge, host and none, with IDs that stay."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from compatd.engine.errors import InvalidParameter, NotFound
from compatd.engine.networks import documents, filters
from compatd.engine.networks.default_bridge import DefaultBridge
from compatd.engine.networks.model import Json
from compatd.engine.timestamps import rfc3339

_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}


class Catalog:
    """All networks by ID, kept in the store."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._networks: dict[str, Json] = {}

    def load(self, bridge: DefaultBridge | None, *, config: Any) -> None:
        """Reads them, or makes them at the first start; the bridge's are brought up to date."""
        stored = {document["Name"]: document for _, document in self._store.networks.all()}
        for name, driver in _DRIVERS.items():
            if name == "bridge" and bridge is None:
                continue
            old = stored.get(name, {})
            id = old.get("Id") or secrets.token_hex(32)
            created = old.get("Created") or rfc3339(time.time_ns())
            network = documents.network(name, id, created, driver)
            if name == "bridge" and bridge is not None:
                pool = {"Subnet": bridge.subnet, "Gateway": bridge.gateway}
                if bridge.pool.within is not None:
                    pool["IPRange"] = str(bridge.pool.within)
                network["IPAM"]["Config"] = [pool]
                network["Options"] = documents.bridge_options(
                    bridge.name,
                    icc=bridge.icc,
                    masquerade=bridge.masquerade,
                    host_ip=config.default_ip,
                    mtu=bridge.mtu,
                )
            self._networks[id] = network
            if network != old:
                self._store.networks.put(id, network)

    def driver(self, network_id: str) -> str:
        """The driver of a network; "" when it is not there."""
        return str(self._networks.get(network_id, {}).get("Driver", ""))

    def matching(self, given: Mapping[str, Any], used: set[str]) -> list[Json]:
        """Those that pass the filters of NetworkList; `used` are the IDs with containers.

        Raises InvalidParameter.
        """
        wanted = filters.check(given)
        networks = self._networks.values()
        return [n for n in networks if filters.matches(n, wanted, in_use=n["Id"] in used)]

    def resolve(self, term: str) -> Json:
        """By ID, name or the ID's beginning, in this order. Raises NotFound, InvalidParameter."""
        if term in self._networks:
            return self._networks[term]
        for network in self._networks.values():
            if network["Name"] == term:
                return network
        found = [n for n in self._networks.values() if term and n["Id"].startswith(term)]
        if len(found) > 1:
            raise InvalidParameter(f"network {term} is ambiguous")
        if not found:
            raise NotFound(f"network {term} not found")
        return found[0]

"""A container's network namespace: its endpoints in order, their interfaces, and its default routes."""

import dataclasses
import secrets
from collections.abc import Callable

from compatd.engine.errors import EngineError
from compatd.engine.networks.drivers import DRIVERS
from compatd.engine.networks.model import Endpoint, Json, Network

IFNAME_OPTION = "com.docker.network.endpoint.ifname"


@dataclasses.dataclass(slots=True)
class Sandbox:
    """Endpoints are kept in libnetwork's order: who comes first carries the default routes."""

    id: str
    key: str
    endpoints: list[Endpoint] = dataclasses.field(default_factory=list)

    @classmethod
    def new(cls, folder: str, *, host: bool = False) -> "Sandbox":
        """One with a new ID; its key is a path below `folder`, as dockerd shows it."""
        id = secrets.token_hex(32)
        return cls(id, folder + ("default" if host else id[:12]))

    def on(self, network_id: str) -> Endpoint | None:
        """The endpoint on that network."""
        return next((e for e in self.endpoints if e.network_id == network_id), None)

    def carrier(self, version: int = 4) -> Endpoint | None:
        """The endpoint with the default route."""
        found = (e for e in self.endpoints if (e.default4 if version == 4 else e.default6))
        return next(found, None)

    def add(self, endpoint: Endpoint, network_of: Callable[[str], Network]) -> None:
        """Takes it in, and decides anew about default routes."""
        self.endpoints.append(endpoint)
        self.arrange(network_of)

    def remove(self, endpoint: Endpoint, network_of: Callable[[str], Network]) -> None:
        """Lets it go."""
        self.endpoints.remove(endpoint)
        self.arrange(network_of)

    def arrange(self, network_of: Callable[[str], Network]) -> None:
        """Order: the higher priority, not internal, more gateways, the name."""

        def rank(e: Endpoint) -> tuple[int, bool, int, str]:
            network = network_of(e.network_id)
            ways = DRIVERS[network.driver].connects(network, e)
            return -e.priority, network.internal, -sum(ways), network.name

        self.endpoints.sort(key=rank)
        for e in self.endpoints:
            e.default4 = e.default6 = False
        for version, field in ((0, "default4"), (1, "default6")):
            for e in self.endpoints:
                network = network_of(e.network_id)
                if DRIVERS[network.driver].connects(network, e)[version]:
                    setattr(e, field, True)
                    break

    def name_interfaces(self, network_of: Callable[[str], Network]) -> None:
        """Gives those without one a name: the one asked for, else the first free number of their prefix.

        Raises EngineError for a name that another one has.
        """
        waiting = [e for e in self.endpoints if not e.interface and DRIVERS[e.driver].addressed]
        for e in waiting:
            asked = (e.request.get("DriverOpts") or {}).get(IFNAME_OPTION)
            if asked:
                if any(other.interface == asked for other in self.endpoints):
                    raise EngineError(f'error renaming interface "{e.host_name}" to "{asked}": file exists')
                e.interface = str(asked)
        for e in waiting:
            if not e.interface:
                network = network_of(e.network_id)
                e.interface = self._free_name(DRIVERS[network.driver].interface_prefix(network))

    def _free_name(self, prefix: str) -> str:
        taken = {e.interface for e in self.endpoints}
        number = 0
        while f"{prefix}{number}" in taken:
            number += 1
        return f"{prefix}{number}"

    def routes(self, network_of: Callable[[str], Network]) -> Json:
        """The default routes as `runtime.net.live.default_route` takes them."""
        found: Json = {"device": None, "gateway": None, "gateway6": None}
        for version, suffix in ((4, ""), (6, "6")):
            carrier = self.carrier(version)
            if carrier is None:
                continue
            network = network_of(carrier.network_id)
            part = DRIVERS[network.driver].part(network, carrier) or {}
            found["device" + suffix] = carrier.interface
            found["gateway" + suffix] = part.get("gateway" + suffix)
            found["default_device" + suffix] = part.get("default_device" + suffix) or False
        return found

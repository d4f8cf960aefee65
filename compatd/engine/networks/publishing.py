"""Published ports of a container: at the endpoints that carry its default routes, as in libnetwork."""

import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.networks import ports
from compatd.engine.networks.drivers import DRIVERS, bridge
from compatd.engine.networks.model import ContainerLike, Endpoint, Network, Publication
from compatd.engine.networks.rules import Rules
from compatd.engine.networks.sandboxes import Sandbox

log = logging.getLogger(__name__)
NetworkOf = Callable[[str], Network]


class Publishing:
    """Allocates ports, and tells the firewall of them."""

    def __init__(self, config: Any) -> None:
        self._ports = ports.PortAllocator()
        self._proxies = bool(getattr(config, "userland_proxy", True))
        self._ipv6 = ports.ipv6_listenable()
        self.rules: Rules | None = None

    def publish(
        self, container: ContainerLike, sandbox: Sandbox, network_of: NetworkOf
    ) -> list[socket.socket]:
        """Publishes what the container's HostConfig asks for; the sockets that hold the ports.

        Raises EngineError; nothing is published then.
        """
        carriers = self._carriers(sandbox, network_of)
        if not carriers:
            return []
        first = next(iter(carriers.values()))
        wanted = ports.requests(
            container.host_config, first.exposed, _default_ip(network_of(first.network_id)), ipv6=self._ipv6
        )
        exposed = first.exposed
        keys = [f"{r.container_port}/{r.protocol}" for r in wanted]
        first.exposed = list(dict.fromkeys([*exposed, *keys]))
        holds: list[socket.socket] = []
        try:
            for request in wanted:
                holds += self._allocate(request, carriers, network_of)
            self._open(set(map(id, carriers.values())), sandbox)
        except (EngineError, OSError) as e:
            for sock in holds:
                sock.close()
            self.withdraw(sandbox)
            first.exposed = exposed
            reason = e.message if isinstance(e, EngineError) else str(e)
            raise EngineError(
                f"driver failed programming external connectivity on endpoint {first.container_name} "
                f"({first.id}): {reason}"
            ) from e
        return holds

    def _carriers(self, sandbox: Sandbox, network_of: NetworkOf) -> dict[int, Endpoint]:
        """Who has the default routes, by IP version, if ports can be published there."""
        found = {}
        for version in (4, 6):
            endpoint = sandbox.carrier(version)
            if endpoint is None:
                continue
            network = network_of(endpoint.network_id)
            if DRIVERS[network.driver].publishes(network):
                found[version] = endpoint
        return found

    def _allocate(
        self, request: ports.Request, carriers: dict[int, Endpoint], network_of: NetworkOf
    ) -> list[socket.socket]:
        """IPv4 addresses are for who carries IPv4; IPv6 ones, if nobody carries it, too: they are held."""
        translated = []
        for ip in request.host_ips:
            version = 6 if ":" in ip else 4
            # From IPv6 to IPv4 there is only the relay.
            instead = carriers.get(4) if version == 6 and self._proxies else None
            carrier = carriers.get(version) or instead
            if carrier is None:
                continue
            options = bridge.parse(network_of(carrier.network_id).options)
            if (options.mode6 if version == 6 else options.mode4) != "routed":
                translated.append(ip)
            elif carriers.get(version):
                any_ip = ports.ANY6 if version == 6 else ports.ANY4
                carrier.publications.append(Publication(any_ip, 0, request.protocol, request.container_port))
        if not translated:
            return []
        made, sockets = self._ports.allocate(
            ports.Request(
                tuple(translated), request.first, request.last, request.protocol, request.container_port
            )
        )
        for publication in made:
            place = self._place(publication, carriers)
            if place is not None:
                place.publications.append(publication)
        return sockets

    def _open(self, carriers: set[int], sandbox: Sandbox) -> None:
        if self.rules is not None:
            for endpoint in sandbox.endpoints:
                if id(endpoint) in carriers and endpoint.publications:
                    self.rules.publish(endpoint)

    def relays(self, endpoints: Iterable[Endpoint]) -> list[tuple[str, str, int, str, int]]:
        """As `Rules.relays`."""
        return self.rules.relays(endpoints) if self.rules is not None else []

    def withdraw(self, sandbox: Sandbox) -> list[Publication]:
        """Takes all ports of a container back. Answers those that there were; never raises."""
        return [p for endpoint in sandbox.endpoints for p in self._take_back(endpoint)]

    def _take_back(self, endpoint: Endpoint) -> list[Publication]:
        if not endpoint.publications:
            return []
        self._close(endpoint)
        gone, endpoint.publications = endpoint.publications, []
        for publication in gone:
            if publication.host_port:
                self._ports.release(publication)
        return gone

    def _close(self, endpoint: Endpoint) -> None:
        try:
            if self.rules is not None:
                self.rules.withdraw(endpoint)
        except OSError as e:
            log.warning("withdrawing the ports of %s: %s", endpoint.container_name, e)

    def move(
        self, container: ContainerLike, sandbox: Sandbox, network_of: NetworkOf, left: Endpoint | None = None
    ) -> tuple[list[socket.socket], list[Publication]]:
        """After an endpoint has come, or `left`: ports follow the default routes, with the numbers they have.

        Answers the sockets of new ports, and the ports that are no longer held. Raises EngineError.
        """
        carriers = self._carriers(sandbox, network_of)
        present = [e for e in (*sandbox.endpoints, left) if e is not None and e.publications]
        if not present:
            return self.publish(container, sandbox, network_of), []
        gone: list[Publication] = []
        if not carriers or not all(self._translates(e, network_of) for e in (*present, *carriers.values())):
            for endpoint in present:
                gone += self._take_back(endpoint)
            return self.publish(container, sandbox, network_of), gone
        moving = [(p, e) for e in present for p in e.publications]
        if all(self._place(p, carriers) is e for p, e in moving):
            return [], []
        for endpoint in present:
            self._close(endpoint)
            endpoint.publications = []
        for publication, _ in moving:
            place = self._place(publication, carriers)
            if place is None:
                self._ports.release(publication)
                gone.append(publication)
            else:
                place.publications.append(publication)
                if publication.container_key not in place.exposed:
                    place.exposed.append(publication.container_key)
        self._open(set(map(id, carriers.values())), sandbox)
        return [], gone

    @staticmethod
    def _place(publication: Publication, carriers: dict[int, Endpoint]) -> Endpoint | None:
        return carriers.get(6 if ":" in publication.host_ip else 4) or carriers.get(4)

    @staticmethod
    def _translates(endpoint: Endpoint, network_of: NetworkOf) -> bool:
        options = bridge.parse(network_of(endpoint.network_id).options)
        return "routed" not in (options.mode4, options.mode6)

    def restore(self, endpoint: Endpoint) -> None:
        """Ports of an endpoint that runs since before this daemon."""
        for publication in endpoint.publications:
            if publication.host_port:
                self._ports.mark(publication)


def _default_ip(network: Network) -> str:
    """Where ports that name no host address are published."""
    return bridge.parse(network.options).host_ip

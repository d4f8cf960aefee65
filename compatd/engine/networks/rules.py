"""The firewall's table as the engine keeps it: networks and the endpoints' published ports."""

import ipaddress
import logging
import threading
from collections.abc import Mapping

from compatd.engine.networks.default_bridge import DefaultBridge
from compatd.engine.networks.model import Endpoint
from runtime.net import bridge, conntrack, forward, nft

log = logging.getLogger(__name__)


class Rules:
    """One daemon's table. `endpoints` is the live mapping of all that have ports, by container ID."""

    def __init__(
        self, default: DefaultBridge | None, endpoints: Mapping[str, Endpoint], *, enabled_forwarding: bool
    ) -> None:
        """Writes the table. `enabled_forwarding`: this daemon has just switched ip_forward on.

        Raises OSError, as when the kernel has no nf_tables.
        """
        self._bridge = default
        self._endpoints = endpoints
        table = table_name(default.name if default is not None else "")
        self._router = self._host_is_router(table, enabled_forwarding)
        self._firewall = nft.Firewall(table)
        self._forgetting: list[threading.Thread] = []
        self.refresh()

    def _host_is_router(self, table: str, enabled_forwarding: bool) -> bool:
        """As dockerd: a host that forwards only for our sake does not become a router for its neighbours,
        and stays none after a restart of the daemon. Where another program's chain drops, see
        `runtime.net.forward`."""
        drops = [str(chain) for chain in forward.chains() if chain.drops]
        if self._bridge is not None and "ip filter FORWARD" in drops:
            forward.accept_bridge(self._bridge.name)
        for other in drops:
            if not other.startswith(("ip compatd", "ip filter FORWARD")):
                log.warning("chain %s drops forwarded packets by default, those of containers too", other)
        return not enabled_forwarding and f"ip {table} forward" not in drops

    def refresh(self) -> None:
        """Writes the whole table anew, at one moment. Raises OSError."""
        networks = []
        if self._bridge is not None:
            bridge.allow_loopback(self._bridge.name)
            networks.append(self._bridge.firewall)
        bindings = [b for e in self._endpoints.values() for b in _bindings(e)]
        self._firewall.rebuild(networks, bindings, router=self._router)

    def publish(self, endpoint: Endpoint) -> None:
        """Adds an endpoint's ports, all or none. Raises OSError."""
        bindings = _bindings(endpoint)
        if not bindings:
            return
        try:
            self._firewall.publish(bindings)
        except FileNotFoundError:  # `nft flush ruleset` took our table away
            self.refresh()
            self._firewall.publish(bindings)
        self._forget_flows(bindings)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Removes an endpoint's ports. Raises OSError."""
        bindings = _bindings(endpoint)
        if bindings:
            self._firewall.withdraw(bindings)
            self._forget_flows(bindings)

    def _forget_flows(self, bindings: list[nft.Binding]) -> None:
        """A UDP flow that the kernel tracks keeps its old target, or none, while its packets go on.

        In a thread: the kernel walks its whole table, which takes some 10 ms however few flows there are.
        """
        udp = {b.host_port for b in bindings if b.protocol == "udp"}
        if udp:
            self._forgetting = [t for t in self._forgetting if t.is_alive()]
            thread = threading.Thread(target=_forget, args=(udp,), name="forget-udp", daemon=True)
            self._forgetting.append(thread)
            thread.start()

    def finish_forgetting(self) -> None:
        """Waits until all flows are forgotten that are to be."""
        for thread in self._forgetting:
            thread.join()

    def close(self) -> None:
        """Lets go of the socket; the table stays for containers that live on."""
        self.finish_forgetting()
        self._firewall.close()


def table_name(bridge_name: str) -> str:
    """The firewall table of the daemon with that default bridge: several daemons have one each."""
    return "compatd" if bridge_name in ("", "docker0") else f"compatd-{bridge_name}"


def _forget(ports: set[int]) -> None:
    try:
        conntrack.forget_udp(ports)
    except OSError as e:
        log.warning("forgetting UDP flows: %s", e)


def _bindings(endpoint: Endpoint) -> list[nft.Binding]:
    """The table's elements: IPv4 only, since the container has no other address."""
    return [
        nft.Binding(
            str(ipaddress.IPv4Address(p.host_ip)),
            p.protocol,
            p.host_port,
            endpoint.address,
            p.container_port,
            endpoint.container_name,
        )
        for p in endpoint.publications
        if ":" not in p.host_ip
    ]

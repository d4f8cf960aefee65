"""The firewall's tables as the engine keeps them: networks, the endpoints' published ports, links."""

import asyncio
import collections
import logging
import threading
from collections.abc import Iterable
from typing import Any, Protocol

from compatd.engine.networks.flows import Flows
from compatd.engine.networks.hostchains import HostChains
from compatd.engine.networks.model import Endpoint
from runtime.net import bridge, forward, nft, nft_watch

log = logging.getLogger(__name__)
_PAUSE = 0.05  # seconds between two repairs, should somebody flush in a loop


class Source(Protocol):
    """Who knows the networks and the endpoints that live."""

    def firewall_networks(self) -> list[nft.Network]:
        """All bridge networks."""

    def all_endpoints(self) -> list[Endpoint]:
        """All endpoints that have something published."""


class Rules:
    """One daemon's tables. Methods may be called from any thread."""

    def __init__(self, source: Source, config: Any, *, table: str) -> None:
        """Writes the tables with what `source` has, and switches the kernel's forwarding on.

        Raises OSError, as when the kernel has no nf_tables.
        """
        self._source = source
        self._forwards = bool(config.ip_forward)
        self._keeps_router = bool(getattr(config, "ip_forward_no_drop", False))
        self._direct = bool(getattr(config, "allow_direct_routing", False))
        self._proxies = bool(getattr(config, "userland_proxy", True))
        self._table = table
        families = [4] if config.iptables else []
        if families and getattr(config, "ip6tables", True) and bridge.has_ipv6():
            families.append(6)
        self._families = tuple(families)
        self._options = nft.Options(
            respect_host=getattr(config, "firewall", "") == "respect-host",
            relayed=self._proxies,
            accept_mark=parse_mark(getattr(config, "bridge_accept_fwmark", "") or ""),
        )
        self._lock = threading.RLock()
        self._networks: list[nft.Network] = []
        self._prepared: set[nft.Network] = set()
        self._bindings = {e.id: bindings(e) for e in source.all_endpoints()}
        self._in_use = collections.Counter(b.container_ip for found in self._bindings.values() for b in found)
        self._links: dict[str, list[nft.Link]] = {}
        self._firewall = nft.Firewall(table, self._families)
        self._flows = Flows(lambda address: not self._in_use[address])
        self._host = HostChains(table, self._families)
        self._watch: nft_watch.Watch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._repairing = False
        self._news: set[str] = set()
        self._start()

    def _start(self) -> None:
        drops = [chain for chain in forward.chains() if chain.drops] if self._families else []
        known = {"ip": 4, "ip6": 6}
        ours = {known[c.family] for c in drops if c.table == self._table and c.family in known}
        enabled = {4} if self._forwards and bridge.enable_forwarding() else set()
        self._set_router(4, 4 not in enabled | ours)
        self._set_router(6, 6 not in ours)
        for chain in drops:
            if not chain.table.startswith("compatd") and chain.table not in nft_watch.OTHERS:
                log.warning("chain %s drops forwarded packets by default, those of containers too", chain)
        self.networks_changed()

    def _set_router(self, version: int, forwards: bool) -> None:
        """As dockerd: a host that forwards only for our sake does not become a router for its neighbours,
        and stays none after a restart of the daemon."""
        forwards = forwards or self._keeps_router
        if version == 4:
            self._options = self._options._replace(router4=forwards)
        else:
            self._options = self._options._replace(router6=forwards)

    # Networks

    def networks_changed(self) -> None:
        """Writes the tables anew with the networks that there are now. Raises OSError."""
        networks = self._source.firewall_networks()
        if self._direct:
            networks = [n._replace(trusted=("*",)) for n in networks]
        with self._lock:
            self._networks = networks
            for network in networks:
                self._prepare(network)
            self._prepared &= set(networks)
            if self._forwards and any(":" in s for n in networks for s in n.subnets):
                try:
                    if bridge.enable_forwarding(6):
                        self._set_router(6, False)
                except OSError as e:
                    log.warning("IPv6 forwarding: %s", e)
            self._rebuild()
            self._host.ensure(n.bridge for n in networks)

    def _prepare(self, network: nft.Network) -> None:
        if network in self._prepared:
            return
        self._prepared.add(network)
        try:
            if 4 in self._families:
                bridge.allow_loopback(network.bridge)
            bridge.isolate(network.bridge, on=not network.icc)
        except FileNotFoundError:
            log.warning("bridge %s is not there", network.bridge)

    def refresh(self) -> None:
        """Writes all anew, at one moment each: the tables, and what iptables' chains are to have of ours.
        Raises OSError."""
        with self._lock:
            self._rebuild()
            self._host.ensure(n.bridge for n in self._networks)

    def _rebuild(self) -> None:
        every = [b for found in self._bindings.values() for b in found]
        links = [link for found in self._links.values() for link in found]
        self._firewall.rebuild(self._networks, every, links, options=self._options)

    # Ports and links

    def publish(self, endpoint: Endpoint) -> None:
        """Adds an endpoint's ports, all or none. Raises OSError."""
        found = bindings(endpoint)
        if not found:
            return
        with self._lock:
            self._forget(endpoint.id)
            self._bindings[endpoint.id] = found
            self._in_use.update(b.container_ip for b in found)
            try:
                self._add(found, [])
            except OSError:
                self._forget(endpoint.id)
                raise
        self._flows.forget(udp_ports={b.host_port for b in found if b.protocol == "udp"})

    def withdraw(self, endpoint: Endpoint) -> None:
        """Removes an endpoint's ports; tracked flows to them are forgotten. Raises OSError."""
        with self._lock:
            found = self._forget(endpoint.id) or bindings(endpoint)
            if not found:
                return
            self._firewall.withdraw(found)
        udp = {b.host_port for b in found if b.protocol == "udp"}
        self._flows.forget(udp_ports=udp, addresses={b.container_ip for b in found})

    def _forget(self, endpoint_id: str) -> list[nft.Binding]:
        found = self._bindings.pop(endpoint_id, [])
        self._in_use.subtract(b.container_ip for b in found)
        return found

    def _add(self, found: list[nft.Binding], links: list[nft.Link]) -> None:
        try:
            self._firewall.publish(found, links)
        except (FileNotFoundError, FileExistsError):
            # Somebody took the table away (`nft flush ruleset`), or what we took out came back.
            self._rebuild()

    def link(self, container_id: str, links: Iterable[nft.Link]) -> None:
        """With icc=false: a container may reach these ports of others. Replaces what it had."""
        with self._lock:
            self.unlink(container_id)
            found = list(links)
            if found:
                self._links[container_id] = found
                self._add([], found)

    def unlink(self, container_id: str) -> None:
        """Takes a container's links away; none is no error. Raises OSError."""
        with self._lock:
            old = self._links.pop(container_id, [])
            others = {link for found in self._links.values() for link in found}
            gone = [link for link in old if link not in others]
            if gone:
                self._firewall.withdraw([], gone)

    def finish_forgetting(self) -> None:
        """Waits until all flows are forgotten that are to be."""
        self._flows.finish()

    def relays(self, endpoints: Iterable[Endpoint]) -> list[tuple[str, str, int, str, int]]:
        """A container's published ports that the shim carries for those whom the kernel does not serve
        (docs/firewall.md): protocol, host address, host port, and the container's address and port."""
        if not self._proxies and not self._options.respect_host:
            return []
        found = []
        for e in endpoints:
            for p in e.publications:
                six = ":" in p.host_ip
                target = (e.address6 or e.address) if six else e.address
                if p.host_port and target:
                    found.append((p.protocol, p.host_ip, p.host_port, target, p.container_port))
        return found

    # What others do

    def watch(self) -> None:
        """Puts back at once what others take away, as long as the present event loop runs."""
        if not self._families or self._watch is not None:
            return
        try:
            self._watch = nft_watch.Watch(lambda: {self._firewall.port_id})
        except OSError as e:
            log.warning("watching the firewall: %s", e)
            return
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._watch.fileno(), self._heard)

    def _heard(self) -> None:
        if self._watch is None or self._loop is None:
            return
        try:
            self._news |= self._watch.changed(self._table)
        except OSError as e:
            log.warning("watching the firewall: %s", e)
        if self._news and not self._repairing:
            self._repairing = True
            self._loop.run_in_executor(None, self._repair).add_done_callback(self._repaired)

    def _repair(self) -> None:
        news, self._news = self._news, set()
        try:
            if self._table in news:
                log.warning("another program took firewall rules of containers away; they are put back")
                self.refresh()
            else:
                with self._lock:
                    self._host.ensure(n.bridge for n in self._networks)
        except OSError as e:
            log.warning("putting firewall rules back: %s", e)

    def _repaired(self, _: object) -> None:
        def again() -> None:
            self._repairing = False
            self._heard()

        if self._watch is not None and self._loop is not None:
            self._loop.call_later(_PAUSE, again)

    def close(self) -> None:
        """Lets go of the sockets; the tables stay for containers that live on."""
        if self._watch is not None and self._loop is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None
        self.finish_forgetting()
        with self._lock:
            self._firewall.close()


def table_name(bridge_name: str) -> str:
    """The firewall tables of the daemon with that default bridge: several daemons have one each."""
    return "compatd" if bridge_name in ("", "docker0") else f"compatd-{bridge_name}"


def bindings(endpoint: Endpoint) -> list[nft.Binding]:
    """The tables' elements for what an endpoint has published, in the family that both sides have."""
    found = []
    for p in endpoint.publications:
        target = endpoint.address6 if ":" in p.host_ip else endpoint.address
        if target:
            name = endpoint.container_name
            found.append(nft.Binding(p.host_ip, p.protocol, p.host_port, target, p.container_port, name))
    return found


def parse_mark(text: str) -> tuple[int, int] | None:
    """`--bridge-accept-fwmark`: "1" or "0x1/0x3" as (value, mask). Raises ValueError."""
    if not text:
        return None
    value, _, bits = text.partition("/")
    return _number(value), _number(bits) if bits else 0xFFFFFFFF


def _number(text: str) -> int:
    """As Go reads it: a leading 0 alone means octal."""
    octal = len(text) > 1 and text[0] == "0" and text[1:].isdecimal()
    return int(text, 8 if octal else 0)

"""One daemon's networks for tests; the kernel is a fake: bridges by name with their addresses."""

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.networks import NetworkLease, Networks, hostchains, ports, rules
from runtime.net import bridge, conntrack, forward, nft, vlan
from tests.integration.net_lab import Events, Tables, config, container


class FakeFirewall:
    """Keeps what the kernel would."""

    port_id = 1

    def __init__(self, table: str, families: tuple[int, ...]) -> None:
        self.table = table
        self.families = families
        self.ports: list[nft.Binding] = []
        self.fail: OSError | None = None

    def rebuild(
        self, networks: list[nft.Network], bindings: list[nft.Binding], links: object, *, options: nft.Options
    ) -> None:
        self.networks, self.ports, self.options = networks, list(bindings), options

    def publish(self, bindings: list[nft.Binding], links: object) -> None:
        if self.fail:
            raise self.fail
        self.ports += bindings

    def withdraw(self, bindings: list[nft.Binding], links: object = ()) -> None:
        self.ports = [p for p in self.ports if p not in bindings]

    def close(self) -> None:
        pass


class Kernel:
    """The host's links: bridges with their addresses, parents of macvlan networks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.links: dict[str, list[str]] = {"eth0": []}
        self.routes: list[str] = []
        self.fail: OSError | None = None
        replaced: dict[Any, dict[str, Any]] = {
            nft: {"Firewall": FakeFirewall},
            bridge: {
                "ensure_bridge": self.ensure_bridge,
                "delete_link": self.delete_link,
                "find_link": lambda name: "bridge" if name in self.links else None,
                "link_addresses": lambda name: self.links.get(name, []),
                "routed_networks": lambda without="": self.routes,
                "allow_loopback": lambda name: None,
                "enable_forwarding": lambda version=4: False,
                "isolate": lambda name, *, on: None,
            },
            vlan: {"ensure_parent": self.ensure_parent, "ensure_dummy": self.ensure_parent},
            hostchains.HostChains: {"ensure": lambda self, bridges: None},
            rules.Rules: {"watch": lambda self: None},
            conntrack: {"forget": lambda ports, addresses, still: 0},
            forward: {"chains": list},
            ports: {"hold": lambda ip, port, protocol: socket.socket(), "ipv6_listenable": lambda: True},
        }
        for owner, names in replaced.items():
            for name, value in names.items():
                monkeypatch.setattr(owner, name, value)

    def ensure_bridge(self, name: str, addresses: list[str], mtu: int = 0, *, keep_ipv4: bool = False) -> int:
        if self.fail:
            raise self.fail
        self.links[name] = list(addresses)
        return 1

    def ensure_parent(self, name: str) -> bool:
        if self.fail:
            raise self.fail
        new = name not in self.links
        self.links.setdefault(name, [])
        return new

    def delete_link(self, name: str) -> None:
        self.links.pop(name, None)


class World:
    """One daemon's networks with what they stand on."""

    def __init__(self, tables: Tables | None = None, **changes: Any) -> None:
        self.tables = tables or Tables()
        self.events = Events()
        self.networks = Networks(config(**changes), self.tables, self.events)
        asyncio.run(self.networks.open())
        rules = self.networks.rules
        self.firewall: Any = rules and rules._firewall
        self.leases: list[NetworkLease] = []

    def plan(
        self, name: str, on: dict[str, Any] | None = None, folder: Any = None, **host_config: Any
    ) -> NetworkLease:
        """Starts a container of that name; `on` is its EndpointsConfig."""
        return self.start(self.container(name, on, folder, **host_config))

    def start(self, which: SimpleNamespace) -> NetworkLease:
        lease = self.networks.plan(which)
        self.leases.append(lease)
        which.pid, which.network_settings = 4711, lease.settings
        return lease

    @staticmethod
    def container(
        name: str, on: dict[str, Any] | None = None, folder: Any = None, **host_config: Any
    ) -> SimpleNamespace:
        which = container(name, folder or Path("/nonexistent"), **host_config)
        which.networking = dict(on or {})
        return which

    def create(self, name: str, **fields: Any) -> str:
        """A network; its ID."""
        return asyncio.run(self.networks.create({"Name": name, **fields}))

    def remove(self, name: str) -> None:
        asyncio.run(self.networks.remove(name))

    def seen(self, kind: str = "network") -> list[tuple[str, str]]:
        """Actions of events, and the network's name."""
        return [(action, a.get("name", "")) for k, action, _, a in self.events.seen if k == kind]

    def close(self) -> None:
        for lease in self.leases:
            lease.close()


def bindings(key: str, *given: tuple[str, str]) -> dict[str, Any]:
    return {key: [{"HostIp": ip, "HostPort": port} for ip, port in given]}


def subnet(prefix: str, **more: str) -> dict[str, Any]:
    """A request's IPAM."""
    return {"Config": [{"Subnet": prefix, **more}]}

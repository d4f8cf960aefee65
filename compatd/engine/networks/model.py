"""What the networks' room works with: containers as it sees them, networks, endpoints, leases."""

import dataclasses
import socket
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]


class ContainerLike(Protocol):
    """What is asked of a container; `config`, `host_config` and `networking` are in the API's spelling."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Json: ...
    @property
    def host_config(self) -> Json: ...
    @property
    def networking(self) -> Json: ...
    @property
    def network_settings(self) -> Json: ...
    @property
    def dir(self) -> Path: ...
    @property
    def pid(self) -> int: ...


@dataclasses.dataclass(slots=True)
class NetworkLease:
    """What a starting container gets.

    `plan` is the shim's NetPlan (docs/architecture.md), `holds` bound sockets that keep its host ports
    (the shim gets them, the daemon closes its copies), `settings` inspect's NetworkSettings.
    """

    plan: Json
    settings: Json
    holds: list[socket.socket] = dataclasses.field(default_factory=list)

    def close(self) -> None:
        """Closes this process's copies of the held sockets."""
        for sock in self.holds:
            sock.close()
        self.holds.clear()


@dataclasses.dataclass(slots=True, frozen=True)
class Publication:
    """One published port as it is in effect."""

    host_ip: str
    host_port: int
    protocol: str
    container_port: int

    @property
    def container_key(self) -> str:
        """`80/tcp`, the key in the API's port maps."""
        return f"{self.container_port}/{self.protocol}"


@dataclasses.dataclass(slots=True)
class Subnet:
    """One of a network's subnets, as it was allocated; all texts, "" for none."""

    prefix: str  # 172.18.0.0/16
    range: str = ""  # addresses are given out of this part only
    gateway: str = ""
    auxiliary: dict[str, str] | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.prefix else 4

    @property
    def prefix_length(self) -> int:
        """16 of 172.18.0.0/16."""
        return int(self.prefix.rpartition("/")[2])


@dataclasses.dataclass(slots=True)
class Network:
    """A network; kept in the store under its ID."""

    name: str
    id: str
    created: str  # RFC 3339
    driver: str
    scope: str = "local"
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    wanted: list[Subnet] = dataclasses.field(default_factory=list)  # as the client asks; prefix "": any
    subnets: list[Subnet] = dataclasses.field(default_factory=list)  # as allocated
    host_made: bool = False  # its bridge or parent link is of our making, and goes with it
    state: str = ""  # "creating", "deleting": a daemon that starts undoes it

    @property
    def user_defined(self) -> bool:
        """Whether containers are found by name on it: all but the predefined ones."""
        return self.name not in PREDEFINED

    @property
    def bridge(self) -> str:
        """The bridge's link name; "" with drivers that have none."""
        if self.driver != "bridge" or self.config_only:
            return ""
        return self.options.get("com.docker.network.bridge.name") or f"br-{self.id[:12]}"

    def of_version(self, version: int) -> list[Subnet]:
        """The allocated subnets of IP version 4 or 6."""
        return [s for s in self.subnets if s.version == version]

    def document(self) -> Json:
        """For the store."""
        return dataclasses.asdict(self)

    @classmethod
    def load(cls, document: Json) -> "Network":
        """From the store. Raises TypeError, KeyError for what is none."""
        fields = {f.name for f in dataclasses.fields(cls)}
        known = {k: v for k, v in document.items() if k in fields}
        for key in ("wanted", "subnets"):
            known[key] = [Subnet(**s) for s in known.get(key, [])]
        return cls(**known)


PREDEFINED = ("bridge", "host", "none")
"""Names of the networks that every daemon has."""


@dataclasses.dataclass(slots=True)
class Endpoint:
    """A container's place in a network; kept in the store while the container runs."""

    id: str
    container_id: str
    container_name: str
    network_id: str
    network_name: str
    sandbox_id: str
    sandbox_key: str
    driver: str = "bridge"
    interface: str = ""  # eth0; "" where the network has none (host, none)
    mac: str = ""
    address: str = ""  # 172.17.0.2
    prefix_length: int = 0
    gateway: str = ""
    address6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    default4: bool = False  # the container's default route is here
    default6: bool = False
    exposed: list[str] = dataclasses.field(default_factory=list)
    publications: list[Publication] = dataclasses.field(default_factory=list)
    request: Json = dataclasses.field(default_factory=dict)  # the client's EndpointSettings
    dns_names: list[str] = dataclasses.field(default_factory=list)
    hidden: bool = False  # of a build's RUN: no events tell of it

    @property
    def host_name(self) -> str:
        """The host's end of the veth pair: from the ID, since names made from time collide."""
        return f"veth{self.id[:7]}"

    @property
    def addresses(self) -> list[str]:
        """With their prefix lengths, for the interface."""
        found = [f"{self.address}/{self.prefix_length}"] if self.address else []
        if self.address6:
            found.append(f"{self.address6}/{self.prefix_length6}")
        return found

    @property
    def priority(self) -> int:
        """`GwPriority`: who has the highest carries the default route."""
        return int(self.request.get("GwPriority") or 0)

    def document(self) -> Json:
        """For the store."""
        # Not by dataclasses.asdict, which copies thousands of ports one by one.
        document = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        document["publications"] = [
            (p.host_ip, p.host_port, p.protocol, p.container_port) for p in self.publications
        ]
        return document

    @classmethod
    def load(cls, document: Json) -> "Endpoint":
        """From the store."""
        fields = {f.name for f in dataclasses.fields(cls)}
        known = {k: v for k, v in document.items() if k in fields}
        known["publications"] = [Publication(*p) for p in known.get("publications", [])]
        return cls(**known)


@dataclasses.dataclass(slots=True)
class Move:
    """A running container has got on a network, or off it: what is to be done in its namespace, and by its
    shim, which holds the ports."""

    endpoint: Endpoint
    part: Json | None  # NetPlan endpoint to be made; None: where it goes, or where there is no interface
    routes: Json  # `runtime.net.live.default_route`'s arguments
    holds: list[socket.socket]  # of new ports
    gone: list[Publication]  # ports that are no longer published
    # What the shim carries from now on (`Rules.relays`).
    relays: list[tuple[str, str, int, str, int]] = dataclasses.field(default_factory=list)

"""What the networks' room works with: a container as it sees it, leases, endpoints."""

import dataclasses
import socket
from collections.abc import Mapping
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
    def host_config(self) -> Mapping[str, Any]: ...
    @property
    def networking(self) -> Mapping[str, Any]: ...
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
class Endpoint:
    """A container's place in a network; kept in the store while the container runs."""

    id: str
    container_id: str
    container_name: str
    network_id: str
    network_name: str
    sandbox_id: str
    sandbox_key: str
    mac: str = ""
    address: str = ""  # 172.17.0.2
    prefix_length: int = 0
    gateway: str = ""
    exposed: list[str] = dataclasses.field(default_factory=list)
    publications: list[Publication] = dataclasses.field(default_factory=list)
    request: Json = dataclasses.field(default_factory=dict)  # the client's EndpointSettings

    @property
    def host_name(self) -> str:
        """The host's end of the veth pair: from the ID, since names made from time collide."""
        return f"veth{self.id[:7]}"

    def document(self) -> Json:
        """For the store."""
        document = dataclasses.asdict(self)
        document["publications"] = [dataclasses.astuple(p) for p in self.publications]
        return document

    @classmethod
    def load(cls, document: Json) -> "Endpoint":
        """From the store."""
        fields = {f.name for f in dataclasses.fields(cls)}
        known = {k: v for k, v in document.items() if k in fields}
        known["publications"] = [Publication(*p) for p in known.get("publications", [])]
        return cls(**known)

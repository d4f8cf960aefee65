"""The engine's networks: the three predefined ones, and what each container has of them."""

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compatd.engine.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from compatd.engine.networks import documents, files, ports
from compatd.engine.networks.catalog import Catalog
from compatd.engine.networks.default_bridge import DefaultBridge, mac_for
from compatd.engine.networks.model import ContainerLike, Endpoint, Json, NetworkLease
from compatd.engine.networks.rules import Rules, table_name
from runtime.net import nft

log = logging.getLogger(__name__)

_FAILED = "failed to set up container networking: "


class Networks:
    """Plans and frees the network of containers. To be used from the event loop's thread only.

    `find` answers a container by ID or name (for `--network container:X` and present names); the
    containers' room sets it.
    """

    def __init__(self, config: Any, store: Any, events: Any) -> None:
        self._config = config
        self._sandboxes = os.path.realpath(config.exec_root) + "/netns/"  # libnetwork resolves links, too
        self._store = store
        self._events = events
        self.find: Callable[[str], ContainerLike | None] | None = None
        self._catalog = Catalog(store)
        self._endpoints: dict[str, Endpoint] = {}  # by container ID
        self._adopted: set[str] = set()
        self._ports = ports.PortAllocator()
        self._ipv6 = ports.ipv6_listenable()
        self._bridge = None if config.bridge == "none" else DefaultBridge(config)
        self._rules: Rules | None = None

    # Start and stop of the daemon

    async def open(self) -> None:
        """Makes the bridge and the firewall's table, with all ports and addresses that the store knows.

        Then the containers' room calls `adopt` for each container that runs, and `settle`.
        Raises EngineError, OSError: without its network the daemon does not start, as dockerd.
        """
        if self._bridge is not None:
            self._bridge.open()
        self._catalog.load(self._bridge, config=self._config)
        for endpoint_id, document in list(self._store.endpoints.all()):
            try:
                self._restore(Endpoint.load(document))
            except (EngineError, TypeError, ValueError) as e:
                log.warning("forgetting endpoint %s: %s", endpoint_id, e)
                self._store.endpoints.delete(endpoint_id)
        table = table_name(self._bridge.name if self._bridge is not None else "")
        self._rules = Rules(self, self._config, table=table)
        self._rules.watch()

    async def close(self) -> None:
        """Lets go of sockets. Bridge, rules and addresses stay for containers that live on."""
        if self._rules is not None:
            self._rules.close()
            self._rules = None

    def refresh_firewall(self) -> None:
        """Writes the whole table anew, at one moment; also after another program has thrown it away."""
        if self._rules is not None:
            self._rules.refresh()

    def firewall_networks(self) -> list[nft.Network]:
        """For `Rules`: all bridge networks."""
        return [self._bridge.firewall] if self._bridge is not None else []

    def all_endpoints(self) -> list[Endpoint]:
        """For `Rules`."""
        return list(self._endpoints.values())

    def finish_forgetting(self) -> None:
        """Waits until the UDP flows of all ports published and withdrawn so far are forgotten."""
        if self._rules is not None:
            self._rules.finish_forgetting()

    def adopt(self, container: ContainerLike) -> Json | None:
        """A container that runs since before this daemon: it keeps what the store says it has.

        Answers its NetworkSettings, or None when the store knows nothing (mode `container:`).
        """
        endpoint = self._endpoints.get(container.id)
        if endpoint is None:
            return None
        self._adopted.add(container.id)
        return documents.settings([endpoint], endpoint.sandbox_id, endpoint.sandbox_key)

    def settle(self) -> None:
        """Ends the start: frees what belongs to containers that nobody adopted."""
        for container_id in [c for c in self._endpoints if c not in self._adopted]:
            self._free(container_id)

    # Containers

    def plan(self, container: ContainerLike) -> NetworkLease:
        """Allocates a starting container's addresses and ports and publishes them.

        A container that has something already gives it back first. Raises NotFound, Conflict,
        InvalidParameter, EngineError with dockerd's texts; nothing is allocated then.
        """
        self._free(container.id)
        if container.config.get("NetworkDisabled"):
            return NetworkLease({"mode": "new", "endpoints": [], "sysctls": {}}, documents.settings([]))
        mode = str(container.host_config.get("NetworkMode") or "default")
        if mode.startswith("container:"):
            return self._join(container, mode.partition(":")[2])
        if mode in ("default", "bridge"):
            return self._attach(container)
        network = self._catalog.resolve(mode)
        if network["Name"] == "bridge":
            return self._attach(container)
        endpoint = self._endpoint(container, network)
        if network["Name"] == "host":
            endpoint.sandbox_key = self._sandboxes + "default"
        self._connect(endpoint)
        host = network["Name"] == "host"
        plan = {"mode": "host"} if host else {"mode": "new", "endpoints": [], "sysctls": {}}
        return NetworkLease(plan, documents.settings([endpoint], endpoint.sandbox_id, endpoint.sandbox_key))

    def release(self, container_id: str) -> None:
        """Frees a stopped container's ports and addresses and emits `network disconnect`. Never raises
        for a container that has nothing."""
        self._free(container_id)

    def _free(self, container_id: str) -> None:
        endpoint = self._endpoints.pop(container_id, None)
        self._adopted.discard(container_id)
        if endpoint is None:
            return
        self._unpublish(endpoint)
        if self._bridge is not None and endpoint.address:
            self._bridge.pool.release(endpoint.address)
        self._store.endpoints.delete(endpoint.id)
        self._emit("disconnect", endpoint)

    def _join(self, container: ContainerLike, name: str) -> NetworkLease:
        other = self._other(name)
        if other.id == container.id:
            raise EngineError("cannot join own network namespace")
        if not other.pid:
            state = getattr(getattr(other, "state", None), "status", "exited")
            raise Conflict(
                f"cannot join network namespace of a non running container: container {other.name} is {state}"
            )
        # As dockerd: from now on the container is called as the one whose network it shares.
        for key in ("Hostname", "Domainname"):
            container.config[key] = other.config.get(key, "")
        return NetworkLease({"mode": "container", "pid": other.pid}, documents.settings([]))

    def _other(self, name: str) -> ContainerLike:
        other = self.find(name) if self.find is not None else None
        if other is None:
            raise NotFound(f"No such container: {name}")
        return other

    def _attach(self, container: ContainerLike) -> NetworkLease:
        if self._bridge is None:
            raise NotFound("network bridge not found")
        endpoint = self._endpoint(container, self._catalog.resolve("bridge"))
        if (endpoint.request.get("IPAMConfig") or {}).get("IPv4Address"):
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        wanted = ports.requests(
            container.host_config, endpoint.exposed, self._config.default_ip, ipv6=self._ipv6
        )
        for r in wanted:
            key = f"{r.container_port}/{r.protocol}"
            if key not in endpoint.exposed:
                endpoint.exposed.append(key)
        endpoint.address = self._bridge.pool.allocate()
        endpoint.prefix_length = self._bridge.pool.subnet.prefixlen
        endpoint.gateway = self._bridge.gateway
        mac = endpoint.request.get("MacAddress") or container.config.get("MacAddress")
        endpoint.mac = str(mac or mac_for(endpoint.address)).lower()
        lease = NetworkLease({}, {})
        try:
            self._publish(endpoint, wanted, lease)
            self._connect(endpoint)
        except BaseException:
            lease.close()
            self._endpoints.pop(container.id, None)
            self._unpublish(endpoint)
            self._bridge.pool.release(endpoint.address)
            raise
        part = self._bridge.endpoint_plan(endpoint.host_name, endpoint.mac, endpoint.address)
        lease.plan = {"mode": "new", "endpoints": [part], "sysctls": {}}
        lease.settings = documents.settings([endpoint], endpoint.sandbox_id, endpoint.sandbox_key)
        return lease

    def _endpoint(self, container: ContainerLike, network: Json) -> Endpoint:
        sandbox = secrets.token_hex(32)
        given: Mapping[str, Any] = container.networking or {}
        request = given.get(network["Name"]) or given.get(network["Id"])
        if request is None and network["Name"] == "bridge":
            request = given.get("default")
        return Endpoint(
            id=secrets.token_hex(32),
            container_id=container.id,
            container_name=container.name.lstrip("/"),
            network_id=network["Id"],
            network_name=network["Name"],
            sandbox_id=sandbox,
            sandbox_key=self._sandboxes + sandbox[:12],
            exposed=[ports.normal_key(k) for k in container.config.get("ExposedPorts") or {}],
            request=dict(request or {}),
        )

    def _connect(self, endpoint: Endpoint) -> None:
        self._store.endpoints.put(endpoint.id, endpoint.document())
        self._endpoints[endpoint.container_id] = endpoint
        self._adopted.add(endpoint.container_id)
        self._emit("connect", endpoint)

    def _publish(self, endpoint: Endpoint, wanted: list[ports.Request], lease: NetworkLease) -> None:
        try:
            for request in wanted:
                made, sockets = self._ports.allocate(request)
                endpoint.publications += made
                lease.holds += sockets
            if self._rules is not None:
                self._rules.publish(endpoint)
        except (EngineError, OSError) as e:
            reason = e.message if isinstance(e, EngineError) else str(e)
            raise EngineError(
                f"{_FAILED}driver failed programming external connectivity on endpoint "
                f"{endpoint.container_name} ({endpoint.id}): {reason}"
            ) from e

    def _unpublish(self, endpoint: Endpoint) -> None:
        try:
            if self._rules is not None:
                self._rules.withdraw(endpoint)
        except OSError as e:
            log.warning("withdrawing the ports of %s: %s", endpoint.container_name, e)
        for publication in endpoint.publications:
            self._ports.release(publication)
        endpoint.publications = []

    def _restore(self, endpoint: Endpoint) -> None:
        if endpoint.address:
            if self._bridge is None:
                raise NotFound("network bridge not found")
            self._bridge.pool.reserve(endpoint.address)
        for publication in endpoint.publications:
            self._ports.mark(publication)
        self._endpoints[endpoint.container_id] = endpoint

    def _emit(self, action: str, endpoint: Endpoint) -> None:
        driver = self._catalog.driver(endpoint.network_id)
        attributes = {"container": endpoint.container_id, "name": endpoint.network_name, "type": driver}
        self._events.emit("network", action, endpoint.network_id, attributes)

    # Files

    def write_files(self, container: ContainerLike) -> dict[str, Path]:
        """Writes hostname, hosts and resolv.conf in the container's folder; call it after `plan`.

        Answers {"hostname", "hosts", "resolv.conf"} with the paths to mount: with `container:X` they are
        the other container's. Raises OSError, NotFound.
        """
        mode = str(container.host_config.get("NetworkMode") or "default")
        if mode.startswith("container:"):
            folder = self._other(mode.partition(":")[2]).dir
            return {name: folder / name for name in ("hostname", "hosts", "resolv.conf")}
        content = files.contents(
            container.config,
            container.host_config,
            self._config,
            address=getattr(self._endpoints.get(container.id), "address", ""),
            gateway=self._bridge.gateway if self._bridge is not None else "",
            linked=getattr(container, "linked_hosts", ()),
        )
        for name, data in content.items():
            (container.dir / name).write_bytes(data)
        return {name: container.dir / name for name in content}

    # What clients see

    def idle_settings(self, container: ContainerLike, running: Json | None = None) -> Json:
        """NetworkSettings of a container that does not run: before its first start, or after `running`."""
        if running:
            return documents.cleared(running)
        mode = str(container.host_config.get("NetworkMode") or "default")
        if mode.startswith("container:") or container.config.get("NetworkDisabled"):
            return documents.settings([])
        name = "bridge" if mode == "default" else mode
        given = container.networking or {}
        return documents.idle_settings({name: given.get(name) or given.get("default") or {}}, {})

    def list(self, given: Mapping[str, Any] | None = None, *, detailed: bool = False) -> list[Json]:
        """Network resources that pass the filters; `detailed` with containers, as before 1.28.

        Raises InvalidParameter.
        """
        used = {e.network_id for e in self._endpoints.values()}
        found = self._catalog.matching(given or {}, used)
        return [self._detailed(n) if detailed else dict(n) for n in found]

    def inspect(self, term: str, scope: str = "") -> Json:
        """A network by ID, name or the ID's beginning, with `Containers` and `Status`.

        Raises NotFound (also when it is not of `scope`), InvalidParameter when several IDs begin so.
        """
        network = self._catalog.resolve(term)
        if scope and network["Scope"] != scope:
            raise NotFound(f"network {term} not found")
        return self._detailed(network)

    def remove(self, term: str) -> None:
        """Removes a network: none can be yet. Raises NotFound, Forbidden."""
        name = self._catalog.resolve(term)["Name"]
        raise Forbidden(f"{name} is a pre-defined network and cannot be removed")

    def _detailed(self, network: Json) -> Json:
        here = [e for e in self._endpoints.values() if e.network_id == network["Id"]]
        document = {**network, "Containers": documents.attached((e, self._name(e)) for e in here)}
        if network["Name"] == "bridge" and self._bridge is not None:
            document["Status"] = documents.ipam_status(self._bridge.subnet, self._bridge.pool.taken)
        else:
            document["Status"] = {"IPAM": {}}
        return document

    def _name(self, endpoint: Endpoint) -> str:
        container = self.find(endpoint.container_id) if self.find is not None else None
        return container.name.lstrip("/") if container is not None else endpoint.container_name

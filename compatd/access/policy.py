"""Whether a request is within a rule's limits. Pure functions of limits, identity, request and facts.

Every operation of the API is in one of the sets below; a test sees to it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from compatd.access import privileges
from compatd.access.facts import Container, Facts, Network
from compatd.config.access import (
    DENY,
    NO_HOST_NAMESPACES,
    NO_HOST_PATHS,
    NO_PRIVILEGED,
    OWN,
    READ_ONLY,
)

ALWAYS = frozenset(("SystemPing", "SystemPingHead", "SystemVersion"))
"""What clients need to find out that they may do nothing."""

LOOKS = frozenset(
    (
        *("SystemInfo", "SystemEvents", "SystemDataUsage", "DistributionInspect", "ImageSearch"),
        *("ContainerList", "ContainerInspect", "ContainerTop", "ContainerLogs", "ContainerChanges"),
        *("ContainerExport", "ContainerStats", "ContainerWait", "ContainerArchive", "ContainerArchiveInfo"),
        *("ExecInspect", "ImageList", "ImageInspect", "ImageAttestations", "ImageHistory", "ImageGet"),
        *("ImageGetAll", "NetworkList", "NetworkInspect", "VolumeList", "VolumeInspect"),
        *("PluginList", "PluginInspect"),
    )
)
"""What changes nothing."""

# What is called on the connections of Grpc is judged by compatd.engine.builder.buildkit.limits.
CHANGES = frozenset(
    (
        *("SystemAuth", "ContainerCreate", "ContainerPrune", "ContainerResize", "ContainerStart"),
        *("ContainerStop", "ContainerRestart", "ContainerKill", "ContainerUpdate", "ContainerRename"),
        *("ContainerPause", "ContainerUnpause", "ContainerAttach", "ContainerAttachWebsocket"),
        *("PutContainerArchive", "ContainerDelete", "ContainerExec", "ExecStart", "ExecResize"),
        *("ImageCreate", "ImageLoad", "ImagePrune", "ImagePush", "ImageTag", "ImageDelete", "ImageBuild"),
        *(
            "BuildPrune",
            "BuildCancel",
            "Session",
            "Grpc",
            "ImageCommit",
            "NetworkCreate",
            "NetworkPrune",
            "NetworkConnect",
        ),
        *(
            "NetworkDisconnect",
            "NetworkDelete",
            "VolumeCreate",
            "VolumePrune",
            "VolumeUpdate",
            "VolumeDelete",
        ),
    )
)

WHOLE = ("Plugin", "GetPlugin", "Swarm", "Node", "Service", "Task", "Secret", "Config")
"""Operations whose names begin so are for callers without limits: they reach the machine, or cannot be read
here."""

_ENTERS = frozenset(
    (
        *("ContainerExec", "ContainerAttach", "ContainerAttachWebsocket"),
        *("PutContainerArchive", "ContainerArchive", "ContainerArchiveInfo", "ExecStart"),
    )
)
"""What gives the caller all that the container has."""

_STARTS = frozenset(("ContainerStart", "ContainerRestart"))
_ALL_AT_ONCE = frozenset(("ContainerPrune", "NetworkPrune", "VolumePrune", "ImagePrune", "BuildPrune"))
_EXECS = frozenset(("ExecStart", "ExecResize", "ExecInspect"))

Refuse = Callable[[str], Exception]


class Request(NamedTuple):
    """A decoded request: its operation's ID, the names in its path, its query and JSON body."""

    operation: str
    path: dict[str, str]
    query: dict[str, Any]
    body: Any = None


class Refused(Exception):
    """Beyond the limits. `status` 403, or 404 for what the caller cannot even see."""

    def __init__(self, text: str, status: int = 403) -> None:
        super().__init__(text)
        self.text, self.status = text, status


class Policy:
    """One rule's limits for one caller; `identity` says whose objects are its own."""

    def __init__(self, limits: frozenset[str], identity: str, facts: Facts) -> None:
        self.own = OWN in limits
        if self.own:  # with the host's files one has everybody's containers
            limits = limits | {NO_PRIVILEGED, NO_HOST_PATHS}
        self.limits, self.identity, self.facts = limits, identity, facts
        self.confined = bool(limits & privileges.CONFINED)

    def check(self, request: Request) -> None:
        """Raises Refused."""
        operation = request.operation
        if not self.limits or operation in ALWAYS:
            return
        if DENY in self.limits:
            raise Refused("no operation is allowed")
        if READ_ONLY in self.limits and operation not in LOOKS:
            raise Refused(f"{operation} changes something: only looking is allowed")
        if operation not in LOOKS and operation not in CHANGES:
            raise Refused(f"{operation} is not allowed")
        if self.own and operation in _ALL_AT_ONCE:
            raise Refused(f"{operation} concerns everybody's: only own containers are allowed")
        target = self._target(request)
        if operation in _EXECS:
            target = self._exec_target(request.path["id"])
        if target is not None and self.confined and operation in _ENTERS | _STARTS:
            self._refuse(privileges.of_joined([target.id], self.limits, self.facts))
        if target is not None and operation in _STARTS:
            self._stored(target)
        special = getattr(self, f"_{operation}", None)
        if special is not None:
            special(request, request.body or {})

    @staticmethod
    def _refuse(why: str) -> None:
        if why:
            raise Refused(why)

    # objects of others

    def owns(self, owner: str) -> bool:
        """Whether something of this owner's may be seen and used."""
        return not self.own or owner == self.identity

    def _container(self, reference: str) -> Container | None:
        found = self.facts.container(reference) if reference else None
        if found is not None and not self.owns(found.owner):
            raise Refused(f"No such container: {reference}", 404)
        return found

    def _network(self, reference: str, *, to_change: bool = False) -> Network | None:
        found = self.facts.network(reference) if reference else None
        if found is None or not self.own:
            return found
        if not found.predefined and not self.owns(found.owner):
            raise Refused(f"network {reference} not found", 404)
        if found.predefined and to_change:
            raise Refused(f"network {found.name} is everybody's")
        return found

    def _volume(self, name: str) -> None:
        found = self.facts.volume(name) if name else None
        if found is not None and not self.owns(found.owner) and privileges.SHARED not in found.labels:
            raise Refused(f"get {name}: no such volume", 404)

    def _target(self, request: Request) -> Container | None:
        operation, path = request.operation, request.path
        if operation.startswith("Container") or operation == "PutContainerArchive":
            found = self._container(path.get("id", ""))
            if found is not None and self.own:
                path["id"] = found.id  # no other may take its name meanwhile
            return found
        if operation.startswith("Network"):
            changes = operation not in ("NetworkInspect", "NetworkConnect", "NetworkDisconnect")
            self._network(path.get("id", ""), to_change=changes)
        elif operation.startswith("Volume"):
            self._volume(path.get("name", ""))
        return None

    def _exec_target(self, exec_id: str) -> Container | None:
        found = self.facts.exec_container(exec_id)
        if found is not None and not self.owns(found.owner):
            raise Refused(f"No such exec instance: {exec_id}", 404)
        return found

    # operations with something in them to look at

    def _stored(self, container: Container) -> None:
        """A container that starts joins what is behind its names now."""
        self._shares(container.host_config, container.networks)
        for name in container.volumes:
            self._volume(name)

    def _shares(self, host: dict[str, Any], networks: Any) -> None:
        """Whose objects a HostConfig names."""
        for reference in privileges.joined(host):
            self._container(reference)
        for link in host.get("Links") or ():
            self._container(str(link).partition(":")[0].removeprefix("/"))
        mode = str(host.get("NetworkMode") or "")
        for name in (*networks, *((mode,) if not mode.startswith("container:") else ())):
            self._network(name)
            self._refuse(privileges.of_network_mode(name, self.limits, self.facts))

    def _ContainerCreate(self, request: Request, body: dict[str, Any]) -> None:
        host = body.get("HostConfig") or {}
        endpoints = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        self._shares(host, endpoints)
        for endpoint in endpoints.values():
            self._links(endpoint)
        for bind in host.get("Binds") or ():
            source, colon, _ = str(bind).partition(":")
            if colon and not privileges.is_path(source):
                self._uses_volume(source)
        for mount in host.get("Mounts") or ():
            if mount.get("Type") == "volume":
                self._uses_volume(str(mount.get("Source") or ""))
        self._refuse(privileges.of_host_config(host, self.limits, self.facts))
        self._pin(host)
        if NO_HOST_NAMESPACES in self.limits and not host.get("CgroupnsMode"):
            # clients older than 1.41 would get the host's
            body["HostConfig"] = {**host, "CgroupnsMode": self.facts.default_cgroupns}

    def _uses_volume(self, name: str) -> None:
        """What is in a volume may be a program of whoever else has it."""
        self._volume(name)
        found = self.facts.volume(name) if name and self.confined else None
        if found is not None and privileges.SHARED not in found.labels:
            self._refuse(privileges.of_joined(found.users, self.limits, self.facts))

    def _pin(self, host: dict[str, Any]) -> None:
        """Names of joined containers become IDs: later another container might have the name."""
        for key in ("NetworkMode", "PidMode", "IpcMode"):
            mode = str(host.get(key) or "")
            found = self.facts.container(mode[len("container:") :]) if mode.startswith("container:") else None
            if found is not None:
                host[key] = f"container:{found.id}"

    def _links(self, endpoint: Any) -> None:
        for link in (endpoint or {}).get("Links") or ():
            self._container(str(link).partition(":")[0])

    def _ContainerUpdate(self, request: Request, body: dict[str, Any]) -> None:
        if self.confined:
            self._refuse(privileges.of_resources(body))

    def _ContainerExec(self, request: Request, body: dict[str, Any]) -> None:
        if self.confined and body.get("Privileged"):
            raise Refused("privileged commands are not allowed")

    def _ImageCommit(self, request: Request, body: dict[str, Any]) -> None:
        self._container(str(request.query.get("container") or ""))

    def _ImageBuild(self, request: Request, body: dict[str, Any]) -> None:
        query = request.query
        if self.confined and query.get("cgroupparent"):
            raise Refused("a parent cgroup is not allowed")
        mode = str(query.get("networkmode") or "")
        host = {"NetworkMode": mode}
        self._shares(host, ())
        self._refuse(privileges.of_host_config(host, self.limits, self.facts))
        self._pin(host)
        network = self.facts.network(mode) if mode else None
        if network is not None and not network.predefined:
            host["NetworkMode"] = network.id
        query["networkmode"] = host["NetworkMode"]  # its commands run later, when another may have the name

    def _NetworkCreate(self, request: Request, body: dict[str, Any]) -> None:
        self._refuse(privileges.of_network(body, self.limits))
        self._network(str((body.get("ConfigFrom") or {}).get("Network") or ""))

    def _NetworkConnect(self, request: Request, body: dict[str, Any]) -> None:
        self._container(str(body.get("Container") or ""))
        self._refuse(privileges.of_network_mode(request.path["id"], self.limits, self.facts))
        self._links(body.get("EndpointConfig"))

    def _NetworkDisconnect(self, request: Request, body: dict[str, Any]) -> None:
        self._container(str(body.get("Container") or ""))

    def _VolumeCreate(self, request: Request, body: dict[str, Any]) -> None:
        self._volume(str(body.get("Name") or ""))
        if self.confined:
            driver, options = str(body.get("Driver") or ""), body.get("DriverOpts") or {}
            self._refuse(privileges.of_volume_options(driver, options))


def needs_host_network_rule(limits: frozenset[str]) -> bool:
    """Whether the host's network stays open to callers who may not have its paths: worth a warning."""
    return bool(limits & (privileges.CONFINED | {OWN})) and NO_HOST_NAMESPACES not in limits

"""What the rules must know of the engine's objects, and nothing more."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from compatd.access.owners import Owners
from compatd.engine.containers import hostconfig

Json = dict[str, Any]


_PREDEFINED = ("bridge", "host", "none")


class Container(NamedTuple):
    """A container: its full ID, its HostConfig, the networks it was made for, its volumes' names."""

    id: str
    host_config: Json
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    owner: str = ""


class Volume(NamedTuple):
    """A volume; `options` are the local driver's, `users` the IDs of containers that have it."""

    name: str
    options: Json
    labels: Json
    owner: str = ""
    users: tuple[str, ...] = ()


class Network(NamedTuple):
    """A network; `predefined` are bridge, host and none."""

    id: str
    name: str
    driver: str
    predefined: bool
    owner: str = ""


class Facts(Protocol):
    """The engine, as the rules see it. References are names, IDs or their beginnings; None: no such thing."""

    def container(self, reference: str) -> Container | None: ...
    def exec_container(self, exec_id: str) -> Container | None: ...
    def volume(self, name: str) -> Volume | None: ...
    def network(self, reference: str) -> Network | None: ...
    @property
    def default_runtime(self) -> str: ...
    @property
    def default_cgroupns(self) -> str: ...
    @property
    def masked_paths(self) -> Iterable[str]: ...
    @property
    def readonly_paths(self) -> Iterable[str]: ...


class EngineFacts:
    """Facts out of a running engine."""

    def __init__(self, engine: Any, owners: Owners) -> None:
        self._engine, self._owners = engine, owners

    def container(self, reference: str) -> Container | None:
        """As clients refer to it."""
        try:
            found = self._engine.containers.find(reference)
        except Exception:  # there is none, or more than one: the engine will say so
            return None
        return self._container(found)

    def _container(self, found: Any) -> Container:
        volumes = tuple(str(point["Name"]) for point in found.mounts if point.get("Type") == "volume")
        return Container(
            found.id,
            found.host_config,
            tuple(found.networking),
            volumes,
            self._owners.of("container", found.id),
        )

    def exec_container(self, exec_id: str) -> Container | None:
        """The container that an exec's command runs in."""
        try:
            return self._container(self._engine.execs.get(exec_id).container)
        except Exception:
            return None

    def volume(self, name: str) -> Volume | None:
        """By its name."""
        try:
            found = self._engine.volumes.get(name)
        except Exception:
            return None
        owner = self._owners.of("volume", name)
        users = tuple(sorted(self._engine.volumes.users(name)))
        return Volume(name, found.get("Options") or {}, found.get("Labels") or {}, owner, users)

    def network(self, reference: str) -> Network | None:
        """As clients refer to it."""
        try:
            found = self._engine.networks.inspect(reference)
        except Exception:
            return None
        name = str(found["Name"])
        owner = self._owners.of("network", found["Id"])
        return Network(found["Id"], name, found["Driver"], name in _PREDEFINED, owner)

    @property
    def default_runtime(self) -> str:
        """The runtime of containers that name none."""
        return str(self._engine.config.default_runtime)

    @property
    def default_cgroupns(self) -> str:
        """The cgroup namespace of containers that ask for none."""
        v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        return str(self._engine.config.default_cgroupns_mode or ("private" if v2 else "host"))

    @property
    def masked_paths(self) -> Iterable[str]:
        """What every container finds masked."""
        return hostconfig.masked_paths()

    @property
    def readonly_paths(self) -> Iterable[str]:
        """What every container finds read-only."""
        return hostconfig.READONLY_PATHS

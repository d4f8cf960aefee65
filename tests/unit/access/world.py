"""Facts for the rules' tests: a few containers, volumes and networks of several owners."""

from typing import Any

from compatd.access.facts import Container, Network, Volume
from compatd.access.policy import Policy, Refused, Request
from compatd.config.access import NO_HOST_NAMESPACES, NO_HOST_PATHS, NO_PRIVILEGED

CONFINED = frozenset((NO_PRIVILEGED, NO_HOST_PATHS, NO_HOST_NAMESPACES))
ME, OTHER = "uid:1000", "uid:2000"
IDS = {name: name[0] * 64 for name in ("mine", "others", "privileged", "bound", "net-host", "joins")}


class World:
    """A stand-in for the engine."""

    default_runtime = "compatd"
    default_cgroupns = "private"
    masked_paths = ("/proc/kcore", "/proc/keys")
    readonly_paths = ("/proc/sys",)

    def __init__(self) -> None:
        def container(name: str, owner: str = ME, **host: Any) -> Container:
            volumes = ("grants",) if name == "volumed" else ()
            return Container(IDS.get(name, name * 8), host, (), volumes, owner)

        self.containers = {
            "mine": container("mine"),
            "others": container("others", OTHER),
            "privileged": container("privileged", Privileged=True),
            "bound": container("bound", Binds=["/etc:/e"]),
            "net-host": container("net-host", NetworkMode="host"),
            "joins": container("joins", NetworkMode="container:net-host"),
            "volumed": container("volumed", Binds=["grants:/x"]),
        }
        self.volumes = {
            "mine": Volume("mine", {}, {}, ME),
            "others": Volume("others", {}, {}, OTHER),
            "nobodys": Volume("nobodys", {}, {}),
            "grants": Volume("grants", {"type": "none", "o": "bind", "device": "/"}, {}, ME),
            "programs": Volume("programs", {}, {}, ME, (IDS["privileged"],)),
            "shared": Volume(
                "shared",
                {"type": "none", "device": "/srv", "o": "bind"},
                {"compatd.access.shared": "1"},
                users=(IDS["privileged"],),
            ),
        }
        self.networks = {
            "bridge": Network("b" * 64, "bridge", "bridge", True),
            "host": Network("h" * 64, "host", "host", True),
            "mine": Network("m" * 64, "mine", "bridge", False, ME),
            "others": Network("o" * 64, "others", "bridge", False, OTHER),
        }

    def container(self, reference: str) -> Container | None:
        by_id = {container.id: container for container in self.containers.values()}
        return self.containers.get(reference) or by_id.get(reference)

    def exec_container(self, exec_id: str) -> Container | None:
        return self.containers.get(exec_id.removeprefix("exec-"))

    def volume(self, name: str) -> Volume | None:
        return self.volumes.get(name)

    def network(self, reference: str) -> Network | None:
        by_id = {network.id: network for network in self.networks.values()}
        return self.networks.get(reference) or by_id.get(reference)


def refused(limits: Any, operation: str, body: Any = None, path: str = "", **query: Any) -> str:
    """Why a request is refused, "" when it is not; `404: …` for what cannot be seen."""
    names = {"id": path, "name": path} if path else {}
    try:
        Policy(frozenset(limits), ME, World()).check(Request(operation, names, query, body))
    except Refused as error:
        return f"404: {error.text}" if error.status == 404 else error.text
    return ""


def create(limits: Any, **host: Any) -> str:
    """Why a container with this HostConfig is refused."""
    return refused(limits, "ContainerCreate", {"Image": "x", "HostConfig": host})

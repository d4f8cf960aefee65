"""`GET /containers/json`: one summary a container."""

from typing import TYPE_CHECKING, Any

from compatd.engine.containers import filters, mountspec, sizes
from compatd.engine.containers.model import Container
from compatd.engine.containers.times import now
from compatd.engine.errors import EngineError, NotFound

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

_ENDPOINT_EMPTY: Json = {"Links": None, "Aliases": None, "DriverOpts": None, "DNSNames": None}


async def list_containers(
    containers: "Containers",
    *,
    all: bool = False,
    limit: int = 0,
    size: bool = False,
    wanted: filters.Filters | None = None,
) -> list[Json]:
    """Summaries (API: ContainerSummary), newest first. `limit` 0: no limit. Raises InvalidParameter."""
    wanted = wanted or {}
    tests = filters.compile_filters(containers, wanted)
    before = _named(containers, wanted.get("before"))
    since = _named(containers, wanted.get("since"))
    everything = all or bool(wanted.get("status")) or limit > 0
    moment = now()
    found: list[Container] = []
    for container in sorted(containers.all(), key=lambda item: item.created, reverse=True):
        if before:
            if container is before:
                before = None
            continue
        if since and container is since:
            break
        if not everything and not container.state.running:
            continue
        if not all_pass(tests, container):
            continue
        if limit > 0 and len(found) == limit:
            break
        found.append(container)
    names: dict[str, str] = {}
    summaries = [summary(containers, container, moment, names) for container in found]
    if size:
        for container, entry in zip(found, summaries, strict=True):
            entry["SizeRw"], entry["SizeRootFs"] = await sizes.container_sizes(containers, container)
    return summaries


def all_pass(tests: list[filters.Test], container: Container) -> bool:
    """Whether the container passes every test."""
    return not any(not test(container) for test in tests)


def _named(containers: "Containers", values: list[str] | None) -> Container | None:
    """`before` and `since` name a container by its whole ID or its name."""
    container: Container | None = None
    for value in values or []:
        container = containers.registry.find(value)
        if value.removeprefix("/") not in (container.id, container.name):
            raise NotFound(f"No such container: {value}")
    return container


def summary(
    containers: "Containers", container: Container, moment: int, names: dict[str, str] | None = None
) -> Json:
    """One container's summary. `names` remembers within one answer which image a reference is."""
    cached = container.cache
    if cached is None or cached[0] != container.version:
        cached = container.cache = (container.version, _static(container))
    state = container.state
    return {
        **cached[1],
        "Names": _names(containers, container),
        "Image": _image_name(containers, container, {} if names is None else names),
        "State": state.status,
        "Status": state.describe(moment),
    }


def _names(containers: "Containers", container: Container) -> list[str]:
    """Its own name, and those that links give it."""
    linked = [f"/{parent.name}/{alias}" for parent, alias in containers.registry.parents(container)]
    return [f"/{container.name}", *linked]


def _image_name(containers: "Containers", container: Container, names: dict[str, str]) -> str:
    """The reference the container was made with, or the ID when that means another image by now."""
    reference: str = container.config["Image"]
    if reference == container.image_id:
        return reference
    if reference not in names:
        try:
            names[reference] = containers.images.resolve(reference).id
        except EngineError:
            names[reference] = ""
    return reference if names[reference] == container.image_id else container.image_id


def _static(container: Container) -> Json:
    """What of a summary changes only with the container's document."""
    host = container.host_config
    networks = {
        name: {**endpoint, **_ENDPOINT_EMPTY}
        for name, endpoint in (container.network_settings.get("Networks") or {}).items()
    }
    shown: Json = {"NetworkMode": host["NetworkMode"]}
    if host.get("Annotations"):
        shown["Annotations"] = host["Annotations"]
    health = container.state.health or {}
    found: Json = {
        "Id": container.id,
        "Names": [],
        "Image": "",
        "ImageID": container.image_id,
        "Command": command(container),
        "Created": container.created // 1_000_000_000,
        "Ports": ports(container),
        "Labels": container.config["Labels"] or {},
        "State": "",
        "Status": "",
        "HostConfig": shown,
        "Health": {
            "Status": health.get("Status", "none"),
            "FailingStreak": health.get("FailingStreak", 0),
        },
        "NetworkSettings": {"Networks": networks},
        "Mounts": [mountspec.shown(point) for point in container.mounts],
    }
    if container.image_descriptor:
        found["ImageManifestDescriptor"] = container.image_descriptor
    return found


def command(container: Container) -> str:
    """Program and arguments; arguments with a space are quoted."""
    words = [f"'{arg}'" if " " in arg else arg for arg in container.args]
    return " ".join([container.path, *words])


def ports(container: Container) -> list[Json]:
    """Exposed and published ports (API: PortSummary)."""
    found: list[Json] = []
    for port, bindings in (container.network_settings.get("Ports") or {}).items():
        number, _, protocol = port.partition("/")
        if not bindings:
            found.append({"PrivatePort": int(number), "Type": protocol})
        for binding in bindings or []:
            entry: Json = {"IP": binding["HostIp"]} if binding.get("HostIp") else {}
            entry["PrivatePort"] = int(number)
            if binding.get("HostPort"):  # none where the network routes
                entry["PublicPort"] = int(binding["HostPort"])
            entry["Type"] = protocol
            found.append(entry)
    return found

"""`GET /containers/{id}/json`."""

from typing import TYPE_CHECKING, Any

from compatd.engine.containers import links, mountspec, sizes
from compatd.engine.containers.model import Container
from compatd.engine.containers.times import rfc3339

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]


async def inspect(containers: "Containers", container: Container, *, size: bool = False) -> Json:
    """All about a container (API: ContainerInspectResponse); with GraphDriver for clients before 1.52."""
    host = {**container.host_config, "Links": links.shown(containers, container)}
    named = {limit.get("Name") for limit in host["Ulimits"] or []}
    extra = [
        {"Name": name, "Hard": limit.get("Hard", 0), "Soft": limit.get("Soft", 0)}
        for name, limit in containers.config.default_ulimits.items()
        if name not in named
    ]
    if extra:
        host["Ulimits"] = [*(host["Ulimits"] or []), *extra]
    answer: Json = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": container.path,
        "Args": container.args,
        "State": container.state.to_api(),
        "Image": container.image_id,
        "ResolvConfPath": container.resolv_conf_path,
        "HostnamePath": container.hostname_path,
        "HostsPath": container.hosts_path,
        "LogPath": container.log_path,
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": container.driver,
        "Platform": container.platform.get("os", "linux"),
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": container.apparmor,
        "ExecIDs": list(container.exec_ids) or None,
        "HostConfig": host,
        "GraphDriver": {
            "Name": container.driver,
            "Data": containers.storage.graph_data(container.id, container.chain_ids),
        },
        "Storage": {"RootFS": {"Snapshot": {"Name": container.driver}}},
        "Mounts": [mountspec.shown(point) for point in container.mounts],
        "Config": _config(container),
        "NetworkSettings": container.network_settings,
    }
    if container.image_descriptor:
        answer["ImageManifestDescriptor"] = container.image_descriptor
    if size:
        answer["SizeRw"], answer["SizeRootFs"] = await sizes.container_sizes(containers, container)
    return answer


def _config(container: Container) -> Json:
    """The Config, with the MAC address that was asked for (shown to clients before 1.52)."""
    wanted = container.networking.get(container.network_mode) or {}
    mac = wanted.get("MacAddress")
    return {**container.config, "MacAddress": mac} if mac else container.config

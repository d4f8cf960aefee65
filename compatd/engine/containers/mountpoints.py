"""From a create request's mount options to a container's mount points, with the volumes made on the way."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import mountspec
from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, InvalidParameter

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]


def register(containers: "Containers", container: Container) -> None:
    """Set `container.mounts` from VolumesFrom, Binds, Mounts and the config's Volumes; later ones win.

    Volumes are made and noted as used. On an error they are released again.
    Raises InvalidParameter `Duplicate mount point: …` and what `mountspec` and volumes raise.
    """
    points: dict[str, Json] = {}
    try:
        _inherited(containers, container, points)
        taken = _binds(containers, container, points)
        _mounts(containers, container, points, taken)
        _anonymous(containers, container, points)
    except EngineError:
        container.mounts = list(points.values())
        release(containers, container)
        container.mounts = []
        raise
    container.mounts = list(points.values())


def release(containers: "Containers", container: Container) -> None:
    """Note that the container uses its volumes no longer."""
    for point in container.mounts:
        if point["Type"] == "volume" and point.get("Name"):
            containers.volumes.release(point["Name"], container.id)


def _put(containers: "Containers", container: Container, points: dict[str, Json], point: Json) -> None:
    old = points.get(point["Destination"])
    if old and old["Type"] == "volume" and old.get("Name") != point.get("Name"):
        containers.volumes.release(old["Name"], container.id)
    points[point["Destination"]] = point


def _inherited(containers: "Containers", container: Container, points: dict[str, Json]) -> None:
    for entry in container.host_config["VolumesFrom"] or []:
        name, writable = mountspec.parse_volumes_from(entry)
        try:
            other = containers.registry.find(name)
        except EngineError as error:
            raise InvalidParameter(error.message) from None
        for point in other.mounts:
            copy = {**point, "RW": point["RW"] and writable, "CopyData": False, "Mode": ""}
            if copy["Type"] == "volume":
                containers.volumes.reference(copy["Name"], container.id)
            _put(containers, container, points, copy)


def _binds(containers: "Containers", container: Container, points: dict[str, Json]) -> set[str]:
    taken: set[str] = set()
    host = container.host_config
    for raw in host["Binds"] or []:
        point = mountspec.parse_bind(raw, host["VolumeDriver"])
        destination = point["Destination"]
        if destination in taken or destination in (host.get("Tmpfs") or {}):
            raise InvalidParameter(f"Duplicate mount point: {destination}")
        if point["Type"] == "volume":
            _attach_volume(containers, container, point)
        taken.add(destination)
        _put(containers, container, points, point)
    return taken


def _mounts(containers: "Containers", container: Container, points: dict[str, Json], taken: set[str]) -> None:
    for mount in container.host_config.get("Mounts") or []:
        mountspec.check_mount(mount)
        point = mountspec.mount_point(mount)
        if point["Destination"] in taken:
            raise InvalidParameter(f"Duplicate mount point: {mount['Target']}")
        if point["Type"] == "volume":
            _attach_volume(containers, container, point)
        elif point["Type"] == "image":
            raise InvalidParameter("mount type image is not supported by this engine yet")
        taken.add(point["Destination"])
        _put(containers, container, points, point)


def _anonymous(containers: "Containers", container: Container, points: dict[str, Json]) -> None:
    tmpfs = container.host_config.get("Tmpfs") or {}
    for path in container.config["Volumes"] or {}:
        point = mountspec.mount_point({"Type": "volume", "Target": path})
        if point["Destination"] in points or path in tmpfs:
            continue
        point["Driver"] = container.host_config["VolumeDriver"]
        _attach_volume(containers, container, point)
        point["Mode"] = ""
        points[point["Destination"]] = point


def _attach_volume(containers: "Containers", container: Container, point: Json) -> None:
    options = point["Options"]
    point["Anonymous"] = not point["Name"]
    volume = containers.volumes.create(
        point["Name"],
        point["Driver"],
        (options.get("DriverConfig") or {}).get("Options"),
        options.get("Labels"),
    )
    containers.volumes.reference(volume["Name"], container.id)
    point["Name"], point["Driver"] = volume["Name"], volume["Driver"]
    point["Source"] = volume["Mountpoint"]
    point["Mode"] = point["Mode"] or "z"


async def populate(containers: "Containers", container: Container) -> None:
    """Copy the image's files into the container's volumes that are empty. Raises EngineError."""
    for point in container.mounts:
        if point["Type"] != "volume" or not point.get("CopyData") or not container.chain_ids:
            continue
        if (containers.volumes.get(point["Name"])["Options"] or {}).get("type"):
            continue
        source = Path(point["Source"])
        if any(source.iterdir()):
            continue
        await _copy_up(containers, container, point["Destination"], source)


async def _copy_up(containers: "Containers", container: Container, path: str, target: Path) -> None:
    plan = containers.storage.root_plan(container.id, container.chain_ids)
    mount = containers.container_folder(container.id) / "copyup"
    mount.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = await containers.runtime.worker(
            "runtime.storage.copyup:run",
            {"overlay": plan["overlay"], "path": path, "mount": str(mount), "target_fd": 0},
            [folder],
        )
    finally:
        os.close(folder)
        mount.rmdir()
    if answer.get("error"):
        raise EngineError(f"failed to populate volume: {answer['error']}")


def make_sources(container: Container) -> None:
    """Make the missing host folders of `-v` binds, as dockerd does at start. Raises EngineError."""
    for point in container.mounts:
        if point["Type"] != "bind" or not point.get("CreateSource"):
            continue
        try:
            Path(point["Source"]).mkdir(mode=0o755, parents=True)
        except (FileExistsError, NotADirectoryError):
            pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise EngineError(
                f"error while creating mount source path '{point['Source']}': "
                f"mkdir {error.filename}: {reason}"
            ) from None

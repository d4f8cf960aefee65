"""From a create request's mount options to a container's mount points, with the volumes made on the way."""

import asyncio
import contextlib
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import mountspec
from compatd.engine.containers.model import Container
from compatd.engine.errors import EngineError, InvalidParameter, NotFound
from runtime import syscalls

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]


def register(containers: "Containers", container: Container, *, old_readonly: bool = False) -> None:
    """Set `container.mounts` from VolumesFrom, Binds, Mounts and the config's Volumes; later ones win.

    old_readonly: read-only binds leave mounts below them writable, as before API 1.44.
    Volumes are made and noted as used. On an error they are released again.
    Raises InvalidParameter `Duplicate mount point: …` and what `mountspec` and volumes raise.
    """
    points: dict[str, Json] = {}
    try:
        _inherited(containers, container, points)
        taken = _binds(containers, container, points)
        _mounts(containers, container, points, taken)
        _anonymous(containers, container, points)
        for point in points.values():
            if old_readonly and point["Type"] == "bind" and point["ReadOnly"]:
                point["Options"] = {**point["Options"], "ReadOnlyNonRecursive": True}
    except EngineError:
        container.mounts = list(points.values())
        release(containers, container)
        container.mounts = []
        raise
    container.mounts = list(points.values())


def release(containers: "Containers", container: Container) -> None:
    """Note that the container uses its volumes and images no longer."""
    for point in container.mounts:
        if point["Type"] == "image" and containers.images.get(point["ImageId"]) is None:
            containers.images.index.release(point["ChainIds"])
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
            _attach_image(containers, point)
        taken.add(point["Destination"])
        _put(containers, container, points, point)


def _anonymous(containers: "Containers", container: Container, points: dict[str, Json]) -> None:
    tmpfs = container.host_config.get("Tmpfs") or {}
    for path in container.config["Volumes"] or {}:
        point = mountspec.mount_point({"Type": "volume", "Target": path})
        point["Destination"] = posixpath.normpath(path)
        if point["Destination"] in points or path in tmpfs:
            continue
        point["Driver"], point["FromConfig"] = container.host_config["VolumeDriver"], True
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


def _attach_image(containers: "Containers", point: Json) -> None:
    image = containers.images.resolve(point["Source"])
    point.update(
        Name=point["Source"],
        ImageId=image.id,
        ChainIds=list(image.chain_ids),
        Source=str(containers.storage.layer_path(image.chain_ids[-1])) if image.chain_ids else "",
        RW=False,
    )


async def hold_volumes(containers: "Containers", container: Container) -> None:
    """Mount the volumes that have options of the driver, for as long as the container runs.

    Raises EngineError; what is held by then goes with the undoing of the start.
    """
    for volume in _volumes(containers, container):
        await containers.volume_mounts.hold(volume, container.id)


async def drop_volumes(containers: "Containers", container: Container) -> None:
    """The inverse of `hold_volumes`; never raises."""
    for volume in _volumes(containers, container):
        await containers.volume_mounts.drop(volume, container.id)


def adopt_volumes(containers: "Containers", container: Container) -> None:
    """As `hold_volumes`, of a container that a daemon finds running."""
    for volume in _volumes(containers, container):
        containers.volume_mounts.adopt(volume, container.id)


def _volumes(containers: "Containers", container: Container) -> list[Json]:
    found = {point["Name"] for point in container.mounts if point["Type"] == "volume"}
    volumes = []
    for name in sorted(found):
        with contextlib.suppress(NotFound):  # a store that was changed by hand
            volumes.append(containers.volumes.get(name))
    return volumes


async def populate(containers: "Containers", container: Container) -> None:
    """Copy the image's files into the container's volumes that are empty. Raises EngineError."""
    for point in container.mounts:
        if point["Type"] != "volume" or not point.get("CopyData") or not container.chain_ids:
            continue
        volume, user = containers.volumes.get(point["Name"]), f"populate {container.id}"
        # Mounting may fail, or take long: only when the image has something to be copied.
        needed = containers.volume_mounts.needed(volume)
        if needed and not (await _copy_up(containers, container, point, -1)).get("folder"):
            continue
        try:
            await containers.volume_mounts.hold(volume, user)
            # A network's file system may hang: not here, on the loop.
            subpath = point["Options"].get("Subpath") or ""
            folder = await asyncio.to_thread(_open_empty, point["Source"], subpath)
            if folder < 0:
                continue
            try:
                found = await _copy_up(containers, container, point, folder)
            finally:
                os.close(folder)
        except EngineError as error:
            raise type(error)(f"failed to populate volume: {error.message}") from None
        finally:
            await containers.volume_mounts.drop(volume, user)
        if found.get("file") and point.get("FromConfig"):
            path = f"{containers.storage.rw / container.id / 'merged'}{point['Destination']}"
            raise EngineError(f"cannot mount volume over existing file, file exists {path}")


async def _copy_up(containers: "Containers", container: Container, point: Json, folder: int) -> Json:
    """What `runtime.storage.copyup` answers; folder: the volume's, -1 to only look. Raises EngineError."""
    plan = containers.storage.root_plan(container.id, container.chain_ids)
    mount = containers.container_folder(container.id) / "copyup"
    arguments = {
        "overlay": plan["overlay"],
        "path": point["Destination"],
        "mount": str(mount),
        "target_fd": 0 if folder >= 0 else -1,
    }
    mount.mkdir(mode=0o700, exist_ok=True)
    try:
        fds = [folder] if folder >= 0 else []
        answer: Json = await containers.runtime.worker("runtime.storage.copyup:run", arguments, fds)
    finally:
        with contextlib.suppress(OSError):
            mount.rmdir()
    if answer.get("error"):
        raise EngineError(str(answer["error"]))
    return answer


def _open_empty(source: str, subpath: str) -> int:
    """A descriptor of a volume's folder, or of one inside of it, -1 when it is not there or has content."""
    found = -1
    try:
        root = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            below = os.path.relpath(
                os.path.realpath(posixpath.join(source, subpath)), os.path.realpath(source)
            )
            resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
            found = syscalls.openat2(root, below, os.O_RDONLY | os.O_DIRECTORY, resolve)
        finally:
            os.close(root)
        if not os.listdir(found):
            return found
        os.close(found)
    except OSError:
        pass  # the start tells what is wrong with it
    return -1


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

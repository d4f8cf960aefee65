"""`POST /containers/create`: from a request's body to a container on disk."""

import contextlib
import platform as machine
import socket
from typing import TYPE_CHECKING, Any

from compatd.engine import logdrivers, metrics
from compatd.engine.containers import hostconfig, links, merge, mountpoints, names, rootfs, validate
from compatd.engine.containers.model import Container
from compatd.engine.containers.runtimes import find_runtime
from compatd.engine.containers.security import parse_security_options
from compatd.engine.containers.times import now
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.metrics import timed
from runtime.storage import workdir

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


@timed(metrics.container_actions, "create")
async def create(
    containers: "Containers", body: Json, name: str, platform: str, *, old_readonly: bool = False
) -> tuple[Container, list[str]]:
    """Make a container; it is in the store when this returns. Gives it with the warnings for the client.

    `body` is the request's (API: ContainerConfig with HostConfig and NetworkingConfig) in its newest form;
    old_readonly: as `mountpoints.register` takes it.
    Raises InvalidParameter, NotFound (image, volume driver), Conflict (name).
    """
    if not any(field in merge.CONFIG_FIELDS for field in body):
        raise InvalidParameter("config cannot be empty in order to create a container")
    config = merge.user_config(body)
    host = hostconfig.user_host_config(body.get("HostConfig"))
    endpoints: dict[str, Json] = {
        network: dict(settings or {})
        for network, settings in ((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}).items()
    }
    for settings in endpoints.values():
        if settings.get("MacAddress"):
            settings["MacAddress"] = validate.mac_address(settings["MacAddress"])
    containers.networks.check_request(endpoints)
    validate.check_modes(config, host)
    validate.check_realtime(host, containers.info)
    warnings = _check(containers, config, host)
    reference = config["Image"]
    if not platform and reference:
        containers.images.resolve(reference)
    adapt(containers, host)
    image = containers.images.resolve(reference) if reference else None
    image_config = image.config if image else {}
    if platform and image:
        _check_platform(reference, platform, image_config)
    merge.merge_config(config, image_config.get("config") or image_config.get("Config"))
    logdrivers.check(host["LogConfig"], containers.config.log_driver, dict(containers.config.log_opts))
    container = _container(containers, config, host, image, name)
    try:
        container.networking = endpoints
        container.network_settings = containers.networks.idle_settings(container)
        container.apparmor = parse_security_options(host["SecurityOpt"]).apparmor
        await _build(containers, container, old_readonly)
    except BaseException:
        _undo(containers, container)
        raise
    containers.emit(container, "create")
    return container, warnings + links.warnings(container)


def _check(containers: "Containers", config: Json, host: Json) -> list[str]:
    validate.check_config(config)
    validate.check_host(host, containers.capabilities)
    warnings = validate.check_platform(config, host, containers.info)
    host["Runtime"] = host["Runtime"] or containers.config.default_runtime
    find_runtime(host["Runtime"], containers.config.runtimes)
    return warnings


def adapt(containers: "Containers", host: Json) -> None:
    """Fill in what the daemon says where the HostConfig does not. Raises InvalidParameter."""
    v2 = containers.info.cgroup_v2
    hostconfig.fill_host_defaults(
        host,
        cgroup_v2=v2,
        shm_size=int(containers.config.default_shm_size or hostconfig.SHM_SIZE),
        ipc_mode=containers.config.default_ipc_mode or "private",
        cgroupns=containers.config.default_cgroupns_mode or ("private" if v2 else "host"),
    )
    for field in ("PidMode", "IpcMode", "NetworkMode"):
        kind, colon, other = host[field].partition(":")
        if kind == "container" and colon:
            try:
                host[field] = f"container:{containers.registry.find(other).id}"
            except EngineError as error:
                # Of another's network only the start asks; the labels of its IPC and PIDs are needed here.
                if field != "NetworkMode":
                    raise InvalidParameter(error.message) from None


def _container(containers: "Containers", config: Json, host: Json, image: Any, name: str) -> Container:
    container_id = names.new_id()
    plain = containers.registry.reserve(container_id, name)
    if not config["Hostname"]:
        config["Hostname"] = socket.gethostname() if host["NetworkMode"] == "host" else container_id[:12]
    path, args = merge.command_of(config)
    details = image.config if image else {}
    container = Container(
        id=container_id,
        name=plain,
        created=now(),
        image_id=image.id if image else "",
        config=config,
        host_config=host,
        path=path,
        args=args,
        driver=containers.storage.name,
        platform={
            "os": details.get("os") or "linux",
            "architecture": details.get("architecture") or _ARCHITECTURES.get(machine.machine(), ""),
        },
        chain_ids=list(image.chain_ids) if image else [],
        image_descriptor=getattr(image, "descriptor", None),
    )
    container.dir = containers.container_folder(container_id)
    return container


async def _build(containers: "Containers", container: Container, old_readonly: bool) -> None:
    mountpoints.register(containers, container, old_readonly=old_readonly)
    containers.container_folder(container.id).mkdir(mode=0o710, parents=True)
    await rootfs.make(containers, container)
    await _working_directory(containers, container)
    await mountpoints.populate(containers, container)
    links.register(containers, container)
    containers.registry.add(container)


async def _working_directory(containers: "Containers", container: Container) -> None:
    """Make it in the container's own layer when the image has none: so `cp` and `diff` see it from now on."""
    path = container.config["WorkingDir"]
    plan = containers.storage.root_plan(container.id, container.chain_ids)["overlay"]
    folders = [plan["flat"]] if "flat" in plan else plan["lower"]
    if path in ("", "/") or not folders or workdir.is_there(folders, path):
        return
    mount = containers.container_folder(container.id) / "workdir"
    mount.mkdir(mode=0o700)
    try:
        answer = await containers.runtime.worker(
            "runtime.storage.workdir:run", {"overlay": plan, "path": path, "mount": str(mount)}
        )
    finally:
        mount.rmdir()
    if answer.get("error"):
        raise EngineError(str(answer["error"]))


def _undo(containers: "Containers", container: Container) -> None:
    mountpoints.release(containers, container)
    for point in container.mounts:
        if point.get("Anonymous"):
            with contextlib.suppress(EngineError):
                containers.volumes.remove(point["Name"])
    containers.registry.release(container.name)
    containers.remove_files(container)


def _check_platform(reference: str, platform: str, image: Json) -> None:
    """The image must be of the platform asked for (`os[/arch[/variant]]`)."""
    wanted = platform.split("/")
    have = [image.get("os") or "linux", image.get("architecture") or "", image.get("variant") or ""]
    if len(wanted) == 1 and wanted[0] not in ("linux", "windows"):
        wanted = ["linux", wanted[0]]
    aliases = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
    if len(wanted) > 1:
        wanted[1] = aliases.get(wanted[1], wanted[1])
    if any(mine and other and mine != other for mine, other in zip(wanted[:2], have[:2], strict=False)):
        text = f"image with reference {reference} was found but its platform "
        raise InvalidParameter(
            f"{text}({'/'.join(part for part in have if part)}) "
            f"does not match the specified platform ({'/'.join(wanted)})"
        )

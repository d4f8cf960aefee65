"""`Containers`: the room's state and its operations, each in a module of its own."""

import asyncio
import builtins
import logging
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from compatd.engine import sysinfo
from compatd.engine.cgroupdriver import check_parent
from compatd.engine.containers import (
    capabilities,
    connecting,
    create,
    exits,
    health,
    inspection,
    listing,
    recovery,
    remove,
    start,
    stop,
    top,
    update,
)
from compatd.engine.containers.model import Container
from compatd.engine.containers.neighbours import Config, Events, Images, Networks, Runtime, Storage
from compatd.engine.containers.registry import Registry
from compatd.engine.containers.stats import Stats
from compatd.engine.errors import EngineError
from compatd.engine.volumemounts import VolumeMounts
from compatd.engine.volumes import Volumes

Json = dict[str, Any]
logger = logging.getLogger(__name__)


class Containers:
    """All containers of this engine; to be used from the event loop.

    Operations take an ID, a name or the beginning of an ID and raise NotFound `No such container: …`.
    """

    def __init__(
        self,
        config: Config,
        store: Any,
        events: Events,
        images: Images,
        networks: Networks,
        volumes: Volumes,
        runtime: Runtime,
        storage: Storage,
    ) -> None:
        self.config, self.events, self.images = config, events, images
        self.networks, self.volumes, self.runtime, self.storage = networks, volumes, runtime, storage
        self.volume_mounts = volumes.mounts = VolumeMounts(runtime)
        self.registry = Registry(store.containers)
        self.health = health.Health(self)
        self.info = sysinfo.detect(exec_opts=config.exec_opts)
        check_parent(config.cgroup_parent, self.info.cgroup_driver)
        self.capabilities = capabilities.available()
        self.stats = Stats(self)
        self.shutting_down = False
        self.leaving = False  # the daemon ends, the containers do not
        self.pruning = False
        self.on_end: list[Callable[[str], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        networks.find = self._find_for_networks
        images.uses = self._image_uses

    def _find_for_networks(self, reference: str) -> Container | None:
        try:
            return self.registry.find(reference)
        except EngineError:
            return None

    def _image_uses(self, image_id: str) -> builtins.list[tuple[str, bool]]:
        return [
            (container.id, container.state.running)
            for container in self.registry.all()
            if container.image_id == image_id
            or any(point.get("ImageId") == image_id for point in container.mounts)
        ]

    # What the operations share ---------------------------------------------------------------------------

    def find(self, reference: str) -> Container:
        """The container. Raises NotFound, InvalidParameter."""
        return self.registry.find(reference)

    def all(self) -> list[Container]:
        """Every container, oldest first."""
        return self.registry.all()

    def counts(self) -> tuple[int, int, int]:
        """How many are running, paused and stopped, for `/info`."""
        running = paused = stopped = 0
        for container in self.registry.all():
            if container.state.paused:
                paused += 1
            elif container.state.running:
                running += 1
            else:
                stopped += 1
        return running, paused, stopped

    def container_folder(self, container_id: str) -> Path:
        """`<data-root>/containers/<id>`, with the log, hostname, hosts and resolv.conf."""
        return Path(self.config.data_root) / "containers" / container_id

    def remove_files(self, container: Container) -> None:
        """Everything of a container on disk except its document; what is gone already is no error."""
        self.storage.remove_rw(container.id)
        shutil.rmtree(self.container_folder(container.id), ignore_errors=True)

    def emit(self, container: Container, action: str, attributes: dict[str, str] | None = None) -> None:
        """An event of a container, with its labels, image and name as attributes."""
        self.events.emit(
            "container",
            action,
            container.id,
            {
                **(attributes or {}),
                **(container.config["Labels"] or {}),
                **({"image": container.config["Image"]} if container.config["Image"] else {}),
                "name": container.name,
            },
        )

    def background(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside the request; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            logger.error("container task failed", exc_info=task.exception())

    # Operations ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load all containers and find those again that outlived the last daemon."""
        self.info = sysinfo.forwarding_now(self.info)  # the networks, opened by now, have turned it on
        await recovery.open_all(self)

    async def close(self) -> None:
        """Stop all containers, unless `live-restore` lets them live on."""
        await recovery.close_all(self)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_runtime_event(self, container_id: str, message: Json) -> None:
        """What a shim tells (docs/architecture.md, `runtime.client`)."""
        container = self.registry.get(container_id)
        if container:
            self.background(exits.on_event(self, container, message))

    async def create(
        self, body: Json, name: str = "", platform: str = "", *, old_readonly: bool = False
    ) -> Json:
        """`POST /containers/create`: {"Id", "Warnings"}; see `create.create`."""
        container, warnings = await create.create(self, body, name, platform, old_readonly=old_readonly)
        return {"Id": container.id, "Warnings": warnings}

    async def start(self, reference: str) -> None:
        """Start a container. Raises NotModified when it runs already; see `start.start`."""
        await start.start_by_hand(self, self.find(reference))

    async def stop(self, reference: str, *, signal: str = "", timeout: int | None = None) -> None:
        """Stop a container: signal, wait, SIGKILL. Raises NotModified when it does not run."""
        await stop.stop_by_hand(self, reference, signal, timeout)

    async def restart(self, reference: str, *, signal: str = "", timeout: int | None = None) -> None:
        """Stop and start."""
        await stop.restart(self, reference, signal, timeout)

    async def kill(self, reference: str, signal: str = "") -> None:
        """Send a signal; SIGKILL also waits for the end."""
        await stop.kill_by_hand(self, reference, signal)

    async def pause(self, reference: str) -> None:
        """Freeze. Raises Conflict unless running."""
        await stop.pause(self, self.find(reference))

    async def unpause(self, reference: str) -> None:
        """Let go on."""
        await stop.unpause(self, self.find(reference))

    async def remove(
        self, reference: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """Remove a container. Raises Conflict while it runs, unless `force`."""
        await remove.remove_by_hand(self, reference, force=force, volumes=volumes, link=link)

    async def prune(self, filters: dict[str, list[str]]) -> Json:
        """Remove all that do not run and pass the filters."""
        return await remove.prune(self, filters)

    async def rename(self, reference: str, name: str) -> None:
        """Give another name."""
        await remove.rename(self, reference, name)

    async def connect(self, reference: str, network: str, request: Json) -> None:
        """Put on a network; see `connecting.connect`."""
        await connecting.connect(self, self.find(reference), network, request)

    async def disconnect(self, reference: str, network: str, *, force: bool = False) -> None:
        """Take off a network."""
        await connecting.disconnect(
            self, connecting.find(self, reference, network, force), network, force=force
        )

    async def resize(self, reference: str, height: int, width: int) -> None:
        """Set the terminal's size in characters."""
        await stop.resize(self, self.find(reference), height, width)

    async def list(
        self,
        *,
        all: bool = False,
        limit: int = 0,
        size: bool = False,
        filters: dict[str, list[str]] | None = None,
    ) -> builtins.list[Json]:
        """Summaries, newest first; see `listing.list_containers`."""
        return await listing.list_containers(self, all=all, limit=limit, size=size, wanted=filters)

    async def inspect(self, reference: str, *, size: bool = False) -> Json:
        """All about a container."""
        return await inspection.inspect(self, self.find(reference), size=size)

    async def top(self, reference: str, arguments: str) -> Json:
        """The container's processes, as the host's ps shows them."""
        return await top.top(self, self.find(reference), arguments)

    async def update(self, reference: str, body: Json) -> builtins.list[str]:
        """Change limits and restart policy; the warnings for the client."""
        return await update.update(self, reference, body)

    def who_needs_daemon(self) -> str:
        """Why the daemon cannot leave its running containers alone for good; "" when it can."""
        for item in self.all():
            if not (item.state.running or item.state.restarting):
                continue
            if item.host_config["AutoRemove"]:
                return f"{item.name} is to be removed at its end"
            if item.host_config["RestartPolicy"]["Name"] not in ("", "no"):
                return f"{item.name} has a restart policy"
            if item.state.health is not None:
                return f"{item.name} has a health check"
        return ""

    def wait(self, reference: str, condition: str) -> asyncio.Future[tuple[int, str]]:
        """A future for exit code and error; see `exits.wait`."""
        return exits.wait(self.find(reference), condition)

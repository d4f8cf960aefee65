"""All parts of the engine, made in the order of their dependencies."""

import contextlib
import logging
from pathlib import Path
from typing import Any

from compatd.config import Config
from compatd.engine import apparmor
from compatd.engine.builder.buildkit.service import BuildKit
from compatd.engine.builder.running.runs import Runs
from compatd.engine.builder.service import Builder
from compatd.engine.containers import Containers
from compatd.engine.errors import EngineError
from compatd.engine.events import Events
from compatd.engine.execs import Execs
from compatd.engine.images import Images
from compatd.engine.logdrivers import check_defaults
from compatd.engine.networks import Networks
from compatd.engine.networks.names import Names
from compatd.engine.probing import Prober
from compatd.engine.system import System
from compatd.engine.usage import Usage
from compatd.engine.volumes import Volumes
from compatd.store import Store
from runtime.client import Runtime
from runtime.storage.base import Storage, StorageError
from runtime.storage.drivers import choose_storage

logger = logging.getLogger(__name__)


class Engine:
    """The engine's parts as attributes, one a noun of the API."""

    def __init__(self, config: Config) -> None:
        """Make all parts; nothing runs yet. Raises StoreError (the data root), EngineError (log options)."""
        self.config = config
        check_defaults(config.log_driver, dict(config.log_opts))
        _make_roots(config)
        self.store = Store(config.root)
        self.events = Events()
        self.runtime = Runtime(Path(config.exec_root), on_event=self._on_runtime_event)
        self.storage = self._choose_storage()
        config.storage_driver = self.storage.name
        self.images = Images(config, self.store, self.events, self.runtime, self.storage)
        self.networks = Networks(config, self.store, self.events)
        self.networks.names = Names(config, self.runtime)
        self.volumes = Volumes(config, self.store, self.events)
        self.containers = Containers(
            config,
            self.store,
            self.events,
            self.images,
            self.networks,
            self.volumes,
            self.runtime,
            self.storage,
        )
        self.execs = Execs(self.containers, self.events, self.runtime)
        self.containers.health.probe = Prober(self.execs, self.runtime)
        self.runs = Runs()
        self.builder = Builder(self)
        self.buildkit = BuildKit(self)
        self.usage = Usage(self.images, self.containers, self.volumes, self.builder)
        self.system = System(
            config,
            self.store,
            self.events,
            features=self.containers.info,
            counts=self.containers.counts,
            images=self.images.count,
        )

    def _choose_storage(self) -> Storage:
        config, given = self.config, "storage-driver" in self.config.given
        try:
            return choose_storage(config.storage_driver, config.root, config.container_size, given=given)
        except StorageError as error:
            raise self._no_storage(error) from None

    def _no_storage(self, error: StorageError) -> EngineError:
        named = f": {self.config.storage_driver}" if "storage-driver" in self.config.given else ""
        return EngineError(f"error initializing graphdriver: {error}{named}")

    def _on_runtime_event(self, container_id: str, message: dict[str, Any]) -> None:
        if self.runs.hear(container_id, message):
            return
        if message.get("event") == "exec-exit":
            self.execs.on_exit(container_id, message)
        else:
            self.containers.on_runtime_event(container_id, message)

    async def open(self) -> None:
        """Start what runs and repair what a crash left half done."""
        if apparmor.supported():
            await apparmor.install_at_start()
        await self.runtime.open()
        try:
            await self.images.open()
        except StorageError as error:
            raise self._no_storage(error) from None
        self.volumes.open(self.storage)
        await self.networks.open()
        await self.containers.open()
        await self.builder.open()

    async def close(self, *, leave: bool = False) -> None:
        """Stop in order, containers first; with `leave` or live-restore they live on. Never raises."""
        self.containers.leaving = leave
        for part in (self.builder, self.containers, self.networks, self.images, self.runtime):
            with contextlib.suppress(AttributeError):
                try:
                    await part.close()
                except Exception:
                    logger.exception("stopping %s failed", type(part).__name__)
        self.store.close()


def _make_roots(config: Config) -> None:
    """The folders of docs/architecture.md: passable for all, listable for root only (CVE-2021-41091)."""
    for path, mode in (
        (Path(config.data_root), 0o711),
        (config.root, 0o711),
        (Path(config.data_root) / "containers", 0o710),
        (Path(config.data_root) / "volumes", 0o711),
        (Path(config.exec_root), 0o711),
    ):
        path.mkdir(mode=mode, parents=True, exist_ok=True)

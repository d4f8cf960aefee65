"""SIGHUP: the changed configuration goes into the running engine."""

import asyncio
import logging
import platform
from collections.abc import Callable
from typing import Any

from compatd import log
from compatd.config import ConfigError, reload
from compatd.engine.engine import Engine

logger = logging.getLogger(__name__)


class Reloader:
    """Called at every SIGHUP. flags, file: what the engine's configuration was made of at start.

    named: the file must be there; `then` is called when the new values are in force.
    """

    def __init__(
        self,
        engine: Engine,
        flags: dict[str, Any],
        file: str,
        *,
        named: bool,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._flags, self._file, self._named = engine, flags, file, named
        self._then = then

    async def __call__(self) -> None:
        """A wrong file is told in the log, and nothing changes."""
        logger.info("Got signal to reload configuration", extra={"fields": {"config-file": self._file}})
        engine, config = self._engine, self._engine.config
        try:
            new = await asyncio.to_thread(reload.changes, config, self._flags, self._file, named=self._named)
        except ConfigError as error:
            logger.error("Error reloading configuration", extra={"fields": {"error": error}})
            return
        except reload.ReloadError as error:
            logger.error("Error reconfiguring the daemon", extra={"fields": {"error": error}})
        else:
            reload.apply(config, new)
            engine.images.limit_transfers(config.max_concurrent_downloads, config.max_concurrent_uploads)
            self._then()
            log.set_level("debug" if config.debug else config.log_level)
            attributes = {**reload.attributes(config), "name": platform.node()}
            engine.events.emit("daemon", "reload", engine.system.id, attributes)
        logger.info("Reloaded configuration", extra={"fields": {"config": reload.shown(config)}})

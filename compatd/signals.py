"""What the daemon does at SIGTERM, SIGINT, SIGHUP and SIGUSR2."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable

from compatd import notify

logger = logging.getLogger(__name__)

_NAMES = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}
_FORCE = 3
"""After so many signals the next one ends the process at once."""


class Signals:
    """`stop` is set by the first SIGTERM or SIGINT; made in a running loop.

    After SIGUSR2 `leaving` is true, too: the daemon ends and its containers run on (an upgrade).
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.leaving = False
        self._count = 0
        self._reload: Callable[[], Awaitable[None]] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        loop = asyncio.get_running_loop()
        for number in _NAMES:
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self.leave)

    def on_reload(self, reload: Callable[[], Awaitable[None]]) -> None:
        """What SIGHUP does from now on; before that it does nothing."""
        self._reload = reload

    def leave(self) -> None:
        """End without the containers, unless an orderly stop has begun."""
        if not self.stop.is_set():
            self.leaving = True
            self.stop.set()

    def _end(self, number: signal.Signals) -> None:
        logger.info("Processing signal '%s'", _NAMES[number])
        if self._count < _FORCE:
            self._count += 1
            self.stop.set()
            return
        logger.info("Forcing docker daemon shutdown without cleanup; 3 interrupts received")
        os._exit(128 + number)

    def _hang_up(self) -> None:
        if self._reloading is not None and not self._reloading.done():
            self._again = True
        elif self._reload is not None:
            self._reloading = asyncio.ensure_future(self._run(self._reload))

    async def _run(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Once, and once more for all signals that came meanwhile."""
        while True:
            self._again = False
            notify.reloading()
            try:
                await reload()
            except Exception:
                logger.exception("Error reloading configuration")
            finally:
                notify.send("READY=1")
            if not self._again:
                return

"""Ways of the daemon's life that systemd takes part in: the watchdog, and leaving while containers run on."""

import asyncio
import logging
import os
from collections.abc import Callable

from compatd import notify

logger = logging.getLogger(__name__)

LEFT = 80
"""Exit status of a daemon that has left by itself: systemd does not start it at once, the socket does."""
_ROUNDS = 4


async def feed_watchdog() -> None:
    """Tell systemd again and again that the event loop turns (sd_watchdog_enabled(3)); ends when nobody asks.

    A daemon that hangs is killed and started anew; its containers run on.
    """
    interval = os.environ.get("WATCHDOG_USEC", "")
    if not interval.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify.send("WATCHDOG=1")
        await asyncio.sleep(int(interval) / 1e6 / _ROUNDS)


async def wait_idle(
    seconds: float, last_request: Callable[[], float | None], needed: Callable[[], str]
) -> None:
    """Return when for `seconds` no request was under way and nothing needs a daemon.

    last_request: when the last one came, by the loop's clock; None while one is under way. needed: why the
    daemon must stay, "" when it need not.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    told = ""
    while True:
        last = last_request()
        if last is None:
            begun = loop.time()
        left = max(last or begun, begun) + seconds - loop.time()
        if left <= 0:
            reason = needed()
            if not reason:
                logger.info("No request for %g seconds: leaving, the socket wakes the daemon", seconds)
                return
            if reason != told:
                logger.info("Idle, but staying: %s", reason)
                told = reason
            left = seconds
        await asyncio.sleep(min(left, max(seconds / _ROUNDS, 0.05)))

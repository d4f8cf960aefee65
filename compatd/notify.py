"""What systemd is told (sd_notify(3)); without NOTIFY_SOCKET nothing happens."""

import contextlib
import os
import time


def send(state: str) -> None:
    """Tell systemd `state`, such as `READY=1`."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    with contextlib.suppress(ImportError):
        from systemd import daemon

        daemon.notify(state)


def reloading() -> None:
    """The configuration is being read again; `READY=1` follows (systemd.service(5), Type=notify-reload)."""
    send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

"""The sockets that the configuration asks for, with dockerd's warnings about those that are open to all."""

import asyncio
import contextlib
import logging
import socket

from compatd.config import Config
from compatd.config.access import socket_group
from compatd.config.hosts import is_loopback
from compatd.http.listeners import UnixListener, listen

logger = logging.getLogger(__name__)

SLOWED = 15.0
"""Seconds that a start waits for somebody to read the warnings about an open socket."""

_WARNINGS = (
    "Binding to IP address without --tlsverify is insecure and gives root access on this machine to everyone "
    "who has access to your network.",
    "Binding to an IP address, even on localhost, can also give access to scripts run in a browser. "
    "Be safe out there!",
    "[DEPRECATION NOTICE] In future versions this will be a hard failure preventing the daemon from "
    "starting! Learn more at: https://docs.docker.com/go/api-security/",
)
_MORE_WARNINGS = (
    "Binding to an IP address without --tlsverify is deprecated. Startup is intentionally being slowed down "
    "to show this message",
    "Please consider generating tls certificates with client validation to prevent exposing unauthenticated "
    "root access to your network",
    "You can override this by explicitly specifying '--tls=false' or '--tlsverify=false'",
    "Support for listening on TCP without authentication or explicit intent to run without authentication "
    "will be removed in the next release",
)


class ListenError(Exception):
    """An address that cannot be listened on."""


async def load(config: Config) -> list[socket.socket]:
    """Listening sockets for all of `hosts`. Raises ListenError; then none stays open."""
    found: list[socket.socket] = []
    try:
        for host in config.hosts:
            if host.startswith("tcp://") and not (config.tls and config.tlsverify):
                await _warn(config, host)
            found += listen(host, group=socket_group(config.access, host) or config.group)
            proto, _, address = host.partition("://")
            logger.debug("Listener created for HTTP on %s (%s)", proto, address)
    except (OSError, ValueError) as error:
        close(found)
        raise ListenError(_text(error)) from None
    except BaseException:
        close(found)
        raise
    return found


async def _warn(config: Config, host: str) -> None:
    fields = {"fields": {"host": host}}
    for text in _WARNINGS:
        logger.warning(text, extra=fields)
    if config.tls is not None or await asyncio.to_thread(is_loopback, host):
        return
    for text in _MORE_WARNINGS:
        logger.warning(text, extra=fields)
    await asyncio.sleep(SLOWED)


def _text(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


def close(sockets: list[socket.socket]) -> None:
    """Close them, and remove the files of unix sockets."""
    for sock in sockets:
        if isinstance(sock, UnixListener):
            with contextlib.suppress(OSError):
                sock.unlink()
        sock.close()

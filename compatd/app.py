"""The composition root: builds engine and server, starts them in order, stops them in order."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from compatd import VERSION, log, pidfile
from compatd.config import Config, proxies
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError
from compatd.engine.system import API_VERSION
from compatd.store import StoreError

DEFAULT_HOST = "unix:///var/run/docker.sock"

logger = logging.getLogger("compatd")


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT. Returns the process's exit code: 1 when the daemon cannot start."""
    log.set_up("debug" if config.debug else config.log_level, config.log_format)
    proxies.export(config)
    if os.geteuid() != 0:
        print("dockerd needs to be started with root privileges", file=sys.stderr)
        return 1
    factory: Callable[[], asyncio.AbstractEventLoop]
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    pid_path = Path(config.pidfile)
    try:
        pidfile.write(pid_path)
    except (pidfile.PidFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_serve(config))
    except (EngineError, StoreError, OSError) as error:
        logger.debug("start failed", exc_info=True)
        print(f"failed to start daemon: {error}", file=sys.stderr)
        return 1
    finally:
        pidfile.remove(pid_path)


async def _serve(config: Config) -> int:
    os.umask(0o022)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: logger.info("SIGHUP: nothing is reloaded yet"))
    engine = Engine(config)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a container and a client take one file each
    try:
        listeners = _listeners(config)
        # the server's import is long and the engine's start waits for others: do both at once
        server_import = asyncio.to_thread(_import_server)
        await asyncio.gather(engine.open(), server_import)
        await _answer(engine, listeners, stop)
    finally:
        await engine.close()
    return 0


def _listeners(config: Config) -> list[socket.socket]:
    from compatd.http.listeners import listen

    found = []
    for address in config.hosts or [DEFAULT_HOST]:
        found += listen(address, group=config.group)
        if address.startswith("tcp://"):
            logger.warning(
                "API is served on %s without authentication: anyone who reaches it has root on this machine",
                address,
            )
    return found


def _import_server() -> None:
    import compatd.http.server  # noqa: F401


async def _answer(engine: Engine, listeners: list[socket.socket], stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let requests under way finish for a moment."""
    from compatd.api import archive, build, container, exec, image, network, plugin, system, volume
    from compatd.http.server import Identity, Server

    handlers = {}
    for noun in (archive, build, container, exec, image, network, plugin, system, volume):
        handlers.update(noun.HANDLERS)

    identity = Identity(
        server_header=f"Docker/{VERSION} (linux)",
        api_version=API_VERSION,
        ostype="linux",
        experimental=engine.config.experimental,
        builder_version="1",
        swarm="inactive",
    )
    server = Server(engine, handlers, identity=identity)
    await server.start(listeners)
    gc.collect()
    gc.freeze()  # what start-up made stays: later collections need not walk it
    for listener in listeners:
        logger.info("API listen on %s", _name(listener))
    _notify("READY=1")
    logger.info("Daemon has completed initialization")
    await stop.wait()
    _notify("STOPPING=1")
    logger.info("Processing signal 'terminated'")
    await server.stop(timeout=2)


def _name(listener: socket.socket) -> str:
    address = listener.getsockname()
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); without NOTIFY_SOCKET nothing happens."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    with contextlib.suppress(ImportError):
        from systemd import daemon

        daemon.notify(state)

"""The composition root: builds engine and server, starts them in order, stops them in order."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd import VERSION, listening, log, notify, pidfile
from compatd.access import Gate
from compatd.config import Config, proxies, told
from compatd.config.config import DEFAULT_FILE
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError
from compatd.engine.system import API_VERSION, MIN_API_VERSION
from compatd.listening import ListenError
from compatd.reloader import Reloader
from compatd.signals import Signals
from compatd.store import StoreError
from compatd.supervision import LEFT, feed_watchdog, wait_idle

if TYPE_CHECKING:
    from compatd.http.server import Server
    from compatd.status.service import Status

logger = logging.getLogger("compatd")


class MetricsError(Exception):
    """`metrics-addr` cannot be listened on."""


def run(config: Config, flags: dict[str, Any], file: str | None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the process's exit code: 1 when the daemon cannot start.

    flags, file: what `config` was made of; at SIGHUP the file is read again.
    """
    log.set_up("debug" if config.debug else config.log_level, config.log_format, raw=config.raw_logs)
    proxies.export(config)
    logger.info("Starting up")
    if os.geteuid() != 0:
        print(
            "dockerd needs to be started with root privileges. To run dockerd in rootless mode as an "
            "unprivileged user, see https://docs.docker.com/go/rootless/",
            file=sys.stderr,
        )
        return 1
    told.tell(config)
    factory: Callable[[], asyncio.AbstractEventLoop]
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    pid_path = Path(config.pidfile) if config.pidfile else None
    try:
        if pid_path:
            pidfile.write(pid_path)
    except pidfile.PidFileError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_serve(config, flags, file))
    except ListenError as error:
        print(f"failed to load listeners: {error}", file=sys.stderr)
        return 1
    except MetricsError as error:
        print(error, file=sys.stderr)
        return 1
    except (EngineError, StoreError, OSError) as error:
        logger.debug("start failed", exc_info=True)
        print(f"failed to start daemon: {error}", file=sys.stderr)
        return 1
    finally:
        if pid_path:
            pidfile.remove(pid_path)


_MMAP_THRESHOLD = -3  # malloc.h: M_MMAP_THRESHOLD
_LARGE = 256 << 10


def _give_large_blocks_back() -> None:
    """Tell glibc to keep no freed buffers: they are a hundred MB after pushes and pulls (measured)."""
    with contextlib.suppress(AttributeError):  # other C libraries have no such thing
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


async def _serve(config: Config, flags: dict[str, Any], file: str | None) -> int:
    os.umask(0o022)
    _give_large_blocks_back()
    signals = Signals()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a container and a client take one file each
    sockets = await listening.load(config)
    try:
        engine = Engine(config)
    except BaseException:
        listening.close(sockets)
        raise
    try:
        # the server's import is long and the engine's start waits for others: do both at once
        server_import = asyncio.to_thread(_import_server)
        await asyncio.gather(engine.open(), server_import)
        gate = Gate(engine)
        reloader = Reloader(engine, flags, file or DEFAULT_FILE, named=file is not None, then=gate.reload)
        signals.on_reload(reloader)
        await _answer(engine, sockets, signals, gate)
        gate.close()
    finally:
        listening.close(sockets)
        await engine.close(leave=signals.leaving)
    logger.info("Daemon shutdown complete")
    return LEFT if signals.leaving else 0


def _import_server() -> None:
    import compatd.http.server  # noqa: F401


async def _answer(engine: Engine, sockets: list[socket.socket], signals: Signals, gate: Gate) -> None:
    """Serve until a signal to stop, then let requests under way finish for a moment."""
    from compatd.api import archive, build, container, exec, grpc, image, network, plugin, system, volume
    from compatd.http.server import Identity, Server

    handlers = {}
    for noun in (archive, build, container, exec, grpc, image, network, plugin, system, volume):
        handlers.update(noun.HANDLERS)

    identity = Identity(
        server_header=f"Docker/{VERSION} (linux)",
        api_version=API_VERSION,
        oldest=engine.config.min_api_version or MIN_API_VERSION,
        ostype="linux",
        experimental=engine.config.experimental,
        builder_version=lambda: "2" if engine.config.features.get("buildkit", True) else "1",
        swarm="inactive",
    )
    status = await _serve_metrics(engine)
    server = Server(engine, handlers, identity=identity, gate=gate, refused=grpc.REFUSED)
    await server.start(sockets, tls=_tls(engine.config))
    gc.collect()
    gc.freeze()  # what start-up made stays: later collections need not walk it
    logger.info("Daemon has completed initialization")
    for listener in sockets:
        logger.info("API listen on %s", _name(listener))
    notify.send("READY=1")
    tasks = [asyncio.ensure_future(feed_watchdog())]
    if engine.config.idle_exit and any(host.startswith("fd://") for host in engine.config.hosts):
        tasks.append(asyncio.ensure_future(_leave_idle(engine, server, signals)))
    await signals.stop.wait()
    for task in tasks:
        task.cancel()
    notify.send("STOPPING=1")
    if status is not None:
        await status.stop()
    await server.stop(timeout=2)


async def _serve_metrics(engine: Engine) -> "Status | None":
    """On `metrics-addr`. Raises MetricsError when it cannot be listened on."""
    if not engine.config.metrics_addr:
        return None
    from compatd.status.service import Status, StatusError  # most daemons have no need of it

    status = Status(engine)
    try:
        await status.start(engine.config.metrics_addr)
    except StatusError as error:
        raise MetricsError(str(error)) from None
    return status


async def _leave_idle(engine: Engine, server: "Server", signals: Signals) -> None:
    await wait_idle(engine.config.idle_exit, server.last_request, engine.containers.who_needs_daemon)
    signals.leave()


def _tls(config: Config) -> ssl.SSLContext | None:
    """For the sockets that are no unix sockets. The files were looked at when the options were read."""
    if not config.tls:
        return None
    from compatd.http.tls import make_context

    return make_context(config.tlscert, config.tlskey, config.tlscacert, verify=config.tlsverify is not False)


def _name(listener: socket.socket) -> str:
    address = listener.getsockname()
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)

"""Carries out a RUN: container, streams, end."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.builder.errors import BuildError
from compatd.engine.builder.running import bundle, failures, files, place, stubs
from compatd.engine.builder.running.model import Run
from compatd.engine.builder.running.mounting import Mounting
from compatd.engine.builder.running.runs import End
from compatd.engine.builder.running.streams import Output, pump
from runtime.client import Attachment, AttachOptions, RuntimeError_

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

Json = dict[str, Any]
log = logging.getLogger(__name__)

_SIGKILL = 9
_PATIENCE = 60.0  # seconds in which what was killed must have ended


async def run(engine: "Engine", run: Run, output: Output) -> None:
    """Run it to its end. Nothing of it is left but the snapshot.

    `output(stream, data)` gets stdout (1) and stderr (2) as they come; while it waits the command is held
    back. Cancelled: all its processes are killed and all is cleared away first. Raises BuildError with both
    builders' texts when the command fails or cannot be started, NotFound for a secret that must be there.
    """
    place.check_entitlements(run)
    life = _Life(engine, run)
    try:
        try:
            await life.start()
            end = await life.follow(output)
        finally:
            await _to_the_end(life.end())
    except RuntimeError_ as error:
        failed, text = failures.not_started(run, error.message)
        if text and not run.classic:
            await output(2, text)
        raise failed from None
    except OSError as error:
        raise BuildError(f"{error.filename or 'RUN'}: {(error.strerror or str(error)).lower()}") from error
    if end.code:
        raise failures.ended(run, end)


class _Life:
    """All that a RUN has on this machine. `end` takes away whatever there is by then."""

    def __init__(self, engine: "Engine", run: Run) -> None:
        self._engine, self._run = engine, run
        self._bundle: Path = engine.runtime.bundle(run.id)
        self._mounting = Mounting(engine, run, self._bundle)
        self._root: Json | None = None
        self._exit: asyncio.Future[End] | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._stream: socket.socket | None = None

    async def start(self) -> None:
        """The command runs when this returns. Raises RuntimeError_, EngineError, OSError."""
        engine, run = self._engine, self._run
        self._bundle.mkdir(mode=0o700, parents=True)
        await self._mounting.prepare()
        run.environment = [*run.environment, *self._mounting.environment, *_agent_variable(run)]
        container = await place.container(engine, run, self._bundle)
        lease = engine.networks.plan(container)
        try:
            mounts = self._files(container) + self._mounting.mounts
            self._root = bundle.root_plan(engine, run)
            bundle.write(engine, run, container, self._root, lease.plan, mounts)
            self._exit = engine.runs.begin(run.id)
            self._stream, theirs = socket.socketpair()
            self._stream.setblocking(False)
            attachment = Attachment(theirs, AttachOptions())
            starting = engine.runtime.start(run.id, [attachment], lease.holds)
            self._starting = asyncio.get_running_loop().create_task(starting)
        except BaseException:
            for sock in lease.holds:
                sock.close()
            raise
        await asyncio.shield(self._starting)

    def _files(self, container: Any) -> list[Json]:
        if not self._run.classic:
            run = self._run
            return files.write(
                self._engine, self._bundle, container.config["Hostname"], run.extra_hosts, run.network
            )
        paths = self._engine.networks.write_files(container)
        container.hostname_path = str(paths.get("hostname", ""))
        container.hosts_path = str(paths.get("hosts", ""))
        container.resolv_conf_path = str(paths.get("resolv.conf", ""))
        return []

    async def follow(self, output: Output) -> End:
        """Hand on all output, then how it ended. Raises what `output` raises."""
        assert self._stream is not None
        assert self._exit is not None
        await pump(self._stream, output)
        return await self._exit

    async def end(self) -> None:
        """Kill what runs and take all away. Never raises."""
        engine, run = self._engine, self._run
        if self._stream is not None:
            self._stream.close()
        if self._starting is not None:
            await self._kill(self._starting)
        for step in (self._clean, self._mounting.close, partial(engine.runtime.delete, run.id)):
            try:
                await step()
            except (RuntimeError_, OSError) as error:
                log.warning("clearing away the RUN %s: %s", run.id, error)
        engine.runs.over(run.id)
        engine.networks.release(run.id)

    async def _clean(self) -> None:
        """Take the mount points out of what was written."""
        if self._root is not None and not self._run.classic and (made := stubs.made(self._bundle)):
            await asyncio.to_thread(stubs.remove, bundle.changes(self._root), made)

    async def _kill(self, starting: "asyncio.Task[Any]") -> None:
        """Nothing of it runs when this returns."""
        await asyncio.wait([starting])
        if starting.cancelled() or starting.exception() or self._exit is None or self._exit.done():
            return
        with contextlib.suppress(RuntimeError_):
            await self._engine.runtime.kill(self._run.id, _SIGKILL)
        await asyncio.wait([self._exit], timeout=_PATIENCE)


def _agent_variable(run: Run) -> list[str]:
    """The first agent's socket, unless the step says another."""
    if any(entry.startswith("SSH_AUTH_SOCK=") for entry in run.environment):
        return []
    sockets = [one.target for one in run.mounts if one.mount.type == "ssh"]
    return [f"SSH_AUTH_SOCK={socket}" for socket in sorted(sockets)[:1]]


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it whole, however often this is cancelled meanwhile."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled

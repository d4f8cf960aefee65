"""Processes that `docker exec` brings into running containers (API: Exec operations)."""

import asyncio
import base64
import contextlib
import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from compatd.engine import apparmor
from compatd.engine.containers import Container, Containers
from compatd.engine.containers.attach import InputWatch
from compatd.engine.containers.signals import parse_detach_keys
from compatd.engine.containers.spec import exec_process
from compatd.engine.containers.start import explain
from compatd.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from runtime.client import Attachment, AttachOptions, RuntimeError_

Json = dict[str, Any]

_PREFIX = "OCI runtime exec failed: "
_KEPT = 300
"""Seconds that a finished exec can still be inspected, at least."""

_EXIT_WAIT = 10.0


@dataclass(eq=False)
class Exec:
    """One exec. `options` is the request (API: ExecConfig), `exit_code` None until it has ended."""

    id: str
    container: Container
    options: Json
    detach_keys: bytes
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    ended_at: float = 0.0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def command(self) -> str:
        """As events show it."""
        words = self.options["Cmd"]
        return f"{words[0]} {' '.join(words[1:])}"


class Execs:
    """All execs of this daemon's life; they are not kept over a restart, as in dockerd."""

    def __init__(self, containers: Containers, events: Any, runtime: Any) -> None:
        del events  # container events go through `containers.emit`
        self._containers, self._runtime = containers, runtime
        self._execs: dict[str, Exec] = {}
        containers.on_end.append(self.on_container_end)

    def get(self, exec_id: str) -> Exec:
        """The exec. Raises NotFound `No such exec instance: …`."""
        found = self._execs.get(exec_id)
        if found is None or found.container.removed:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def create(self, reference: str, options: Json) -> str:
        """`POST /containers/{id}/exec`; the new exec's ID.

        Raises InvalidParameter, NotFound, and Conflict unless the container runs and is not paused.
        """
        if not options.get("Cmd"):
            raise InvalidParameter("No exec command specified")
        container = self._containers.find(reference)
        _check_active(container, reference)
        try:
            keys = parse_detach_keys(options["DetachKeys"]) if options.get("DetachKeys") else b""
        except ValueError:
            raise EngineError(f"Invalid escape keys ({options['DetachKeys']}) provided") from None
        return self.register(container, options, keys).id

    def register(self, container: Container, options: Json, keys: bytes) -> Exec:
        """A new exec of a container that runs, and its event; nothing is started."""
        self._sweep()
        item = Exec(secrets.token_hex(32), container, options, keys)
        self._execs[item.id] = item
        container.exec_ids.append(item.id)
        self._emit(item, f"exec_create: {item.command}")
        return item

    def check_start(self, exec_id: str) -> Exec:
        """What must hold before a connection is taken over. Raises NotFound, Conflict."""
        item = self.get(exec_id)
        if self._containers.registry.get(item.container.id) is None:
            raise NotFound(f"No such container: {exec_id}")
        _check_active(item.container, item.container.id)
        return item

    async def start(self, item: Exec, *, attached: bool, console: list[int] | None) -> socket.socket | None:
        """Run it; when `attached`, its stream (non-blocking, the caller closes it).

        Raises Conflict when it ran before, and Docker's error for a command that cannot be run.
        """
        if item.exit_code is not None:
            raise Conflict(f"exec command {item.id} has already run")
        if item.running:
            raise Conflict(f"exec command {item.id} is already running")
        item.running = True
        self._emit(item, f"exec_start: {item.command}")
        ours: socket.socket | None = None
        attachments = []
        try:
            process = await self._process(item, console)
            if attached:
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                attachments.append(Attachment(theirs, _attach_options(item)))
            item.pid = await self._runtime.exec(
                item.container.id, item.id, process, attachments, detach_keys=item.detach_keys
            )
        except BaseException as error:
            if ours:
                ours.close()
            self._fail(item)
            if isinstance(error, RuntimeError_):
                raise self._explain(item, error) from error
            raise
        finally:
            item.started.set()
        return ours

    async def _process(self, item: Exec, console: list[int] | None) -> Json:
        bundle = self._containers.runtime.bundle(item.container.id)
        try:
            spec = orjson.loads((bundle / "config.json").read_bytes())
        except OSError:
            raise Conflict(f"container {item.container.id} is not running") from None
        await apparmor.ensure(spec["process"].get("apparmorProfile", ""))
        options = dict(item.options)
        if console:
            options["ConsoleSize"] = console
        return exec_process(item.container, spec["process"], options)

    def _fail(self, item: Exec) -> None:
        item.running = False
        if item.exit_code is None:
            item.exit_code = 126
        self._end(item)

    def _explain(self, item: Exec, error: RuntimeError_) -> EngineError:
        if error.kind == "Gone":
            return Conflict(f"container {item.container.id} is not running")
        if error.kind == "Hung":
            return EngineError(f"cannot exec in container {item.container.id}: {error.message}")
        if error.message.startswith(("unable to find user", "unable to find group")):
            return EngineError(error.message)
        item.exit_code, translated = explain(f"{_PREFIX}{error.message}: unknown")
        return translated

    async def finished(self, item: Exec, watch: InputWatch) -> None:
        """After the stream has ended: wait for the exit code, unless the client has only detached."""
        if watch.detached:
            self._emit(item, "exec_detach")
        elif not (watch.ended and item.options.get("Tty")):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_WAIT):
                    await item.done.wait()

    def on_exit(self, container_id: str, message: Json) -> None:
        """The runtime's `exec-exit`."""
        item = self._execs.get(str(message.get("exec")))
        if item is None or item.container.id != container_id or item.done.is_set():
            return
        item.exit_code, item.running = int(message["code"]), False
        self._end(item)
        self._emit(item, "exec_die", {"exitCode": str(item.exit_code)})

    def on_container_end(self, container_id: str) -> None:
        """A container has ended, and all its execs with it."""
        for item in self._execs.values():
            if item.container.id == container_id and item.running:
                item.exit_code, item.running = 137, False
                self._end(item)
                self._emit(item, "exec_die", {"exitCode": "137"})

    def _end(self, item: Exec) -> None:
        item.ended_at = time.monotonic()
        item.done.set()
        with contextlib.suppress(ValueError):
            item.container.exec_ids.remove(item.id)

    def _sweep(self) -> None:
        """Forget execs that ended long ago, or whose container is gone."""
        now = time.monotonic()
        for exec_id, item in list(self._execs.items()):
            old = item.done.is_set() and now - item.ended_at > _KEPT
            if old or item.container.removed:
                del self._execs[exec_id]

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set the terminal's size; waits up to ten seconds for the start. Raises NotFound, Conflict."""
        item = self.check_start(exec_id)
        try:
            async with asyncio.timeout(10):
                await item.started.wait()
        except TimeoutError:
            raise EngineError("timeout waiting for exec session ready") from None
        if not item.pid:
            raise InvalidParameter("exec process is not started")
        try:
            await self._runtime.resize(item.container.id, exec_id, width, height)
        except RuntimeError_ as error:
            if error.kind == "Refused":  # it has ended
                raise NotFound(f"process does not exist {exec_id}: not found") from error
            raise EngineError(error.message) from error

    def inspect(self, exec_id: str) -> Json:
        """API: ExecInspectResponse."""
        item = self.get(exec_id)
        options = item.options
        process: Json = {
            "tty": bool(options.get("Tty")),
            "entrypoint": options["Cmd"][0],
            "arguments": options["Cmd"][1:],
            "privileged": bool(options.get("Privileged")),
        }
        user = options.get("User") or item.container.config["User"]
        if user:
            process["user"] = user
        return {
            "ID": item.id,
            "Running": item.running,
            "ExitCode": item.exit_code,
            "ProcessConfig": process,
            "OpenStdin": bool(options.get("AttachStdin")),
            "OpenStderr": bool(options.get("AttachStderr")),
            "OpenStdout": bool(options.get("AttachStdout")),
            "CanRemove": False,
            "ContainerID": item.container.id,
            "DetachKeys": base64.b64encode(item.detach_keys).decode(),
            "Pid": item.pid,
        }

    def _emit(self, item: Exec, action: str, attributes: dict[str, str] | None = None) -> None:
        self._containers.emit(item.container, action, {"execID": item.id, **(attributes or {})})


def _check_active(container: Container, shown: str) -> None:
    if not container.state.running:
        raise Conflict(f"container {container.id} is not running")
    if container.state.paused:
        raise Conflict(f"Container {shown} is paused, unpause the container before exec")
    if container.state.restarting:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")


def _attach_options(item: Exec) -> AttachOptions:
    options = item.options
    return AttachOptions(
        stdin=bool(options.get("AttachStdin")),
        stdout=bool(options.get("AttachStdout")),
        stderr=bool(options.get("AttachStderr")),
        detach_keys=item.detach_keys,
    )

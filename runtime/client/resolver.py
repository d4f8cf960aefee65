"""The daemon's resolver process: found or started, kept alive, and told what there is."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.client.connection import Connection, Message
from runtime.client.types import RuntimeError_, WorkerError
from runtime.resolver.process import VERSION
from runtime.shim import files, wire

if TYPE_CHECKING:
    from runtime.client.runtime import Runtime

_log = logging.getLogger(__name__)

_PATIENCE = 10.0
#: Seconds between two looks after a container that is still starting, and how many.
_PAUSE, _LOOKS = 0.2, 300


class Resolver:
    """Holds all records and sandboxes, so that a new process can be given them at any time.

    A process is only started when the first container needs it. Use it from one event loop.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        #: Where starters of containers find it.
        self.path: Path = runtime.root / "resolver.sock"
        self._records: dict[str, Message] = {}
        self._sandboxes: dict[str, Message] = {}
        self._listener: socket.socket | None = None
        self._connection: Connection | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Find an earlier daemon's process, or make the socket for one of ours. Raises OSError."""
        self._closing = False
        if await self._find():
            return
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.path.unlink(missing_ok=True)
        with _Short(self.path) as short:
            self._listener.bind(short)
        self.path.chmod(0o600)
        self._listener.listen(1024)

    async def _find(self) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            with _Short(self.path) as short:
                sock.connect(short)
        except OSError:
            sock.close()
            return False
        connection = Connection(sock, self._event, self._lost)
        self._connection = connection
        try:
            answer = await connection.ask("hello", _PATIENCE)
        except RuntimeError_ as error:
            _log.warning("the resolver of an earlier daemon: %s", error)
            answer = {}
        if answer.get("version") == VERSION and self._listener is not None:
            return True
        connection.send({"op": "end"})
        connection.close()
        self._connection = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        return False

    def _event(self, message: Message, fds: list[int]) -> None:
        if message.get("event") == "listener" and len(fds) == 1 and self._listener is None:
            self._listener = socket.socket(fileno=fds.pop())
        wire.close_all(fds)

    def _lost(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = None
            if not self._closing and (self._sandboxes or self._records):
                _log.error("the resolver ended, starting another")
                self._keep()

    async def close(self) -> None:
        """Let go of it. It goes on for containers that do, and ends by itself without any."""
        self._closing = True
        tasks = [*self._tasks, *([self._keeping] if self._keeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if not self._sandboxes:
            self.path.unlink(missing_ok=True)

    # What there is

    def add(self, record: Message) -> None:
        """Take a record in, or replace the one of its endpoint; see `runtime.resolver.records`."""
        self._records[record["endpoint"]] = record
        self._send({"op": "add", "record": record})

    def remove(self, endpoint: str) -> None:
        """Forget an endpoint. An unknown one is no error."""
        if self._records.pop(endpoint, None) is not None:
            self._send({"op": "remove", "endpoint": endpoint})

    def expect(self, sandbox: Message) -> Message:
        """A container is about to start; what `runtime.net.dns.open_sandbox` is to be given."""
        self._sandboxes[sandbox["container"]] = sandbox
        self._keep()
        return self._plan(sandbox)

    def adopt(self, sandbox: Message) -> None:
        """A container runs since before this daemon; `settle` follows when all are told."""
        self._sandboxes[sandbox["container"]] = sandbox

    def settle(self) -> None:
        """What was told is all: the process forgets the rest, and gets what it lacks."""
        if self._connection is not None:
            self._task(self._reset(self._connection))
        elif self._sandboxes:
            self._keep()

    def has(self, container: str) -> bool:
        """Whether the container has a sandbox."""
        return container in self._sandboxes

    async def change(self, sandbox: Message) -> None:
        """A running container's sandbox is another now, or new. Raises RuntimeError_, WorkerError."""
        container = sandbox["container"]
        known = container in self._sandboxes
        self._sandboxes[container] = sandbox
        if known:
            self._send({"op": "update", "sandbox": sandbox})
        else:
            self._keep()
            await self._reopen(container)

    def gone(self, container: str) -> None:
        """The container has ended. One without a sandbox is no error."""
        if self._sandboxes.pop(container, None) is not None:
            self._send({"op": "gone", "container": container})

    # The process

    def _send(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def _plan(self, sandbox: Message) -> Message:
        return {"socket": str(self.path), "sandbox": sandbox}

    def _task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self) -> None:
        if self._connection is None and self._keeping is None and self._listener is not None:
            self._keeping = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        pause = 0.05
        while not self._closing and self._connection is None:
            try:
                sock = await self._runtime.launch_resolver()
                self._connection = connection = Connection(sock, self._event, self._lost)
                await self._reset(connection)
            except Exception as error:
                _log.error("starting the resolver: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2)
        self._keeping = None
        if self._connection is None and not self._closing:
            self._keep()  # lost again meanwhile

    async def _reset(self, connection: Connection) -> None:
        """Tell everything, and make the sockets anew that the process lacks. Raises RuntimeError_."""
        assert self._listener is not None
        answer = await connection.call(
            "reset",
            [self._listener.fileno()],
            path=str(self.path),
            records=list(self._records.values()),
            sandboxes=list(self._sandboxes.values()),
        )
        self._task(self._reopen_all(answer["missing"]))

    async def _reopen_all(self, containers: Iterable[str]) -> None:
        for container in containers:
            try:
                await self._reopen(container, starting=True)
            except (RuntimeError_, WorkerError, OSError) as error:
                _log.warning("names for container %s: %s", container, error)

    async def _reopen(self, container: str, *, starting: bool = False) -> None:
        """Sockets in the namespace of a container that runs. `starting`: it may be about to have them by
        itself, from a starter that has spoken to this process or to one that is dead."""
        for _ in range(_LOOKS):
            process = _process(self._runtime.bundle(container))
            if process is not None or not starting:
                break
            await asyncio.sleep(_PAUSE)
            if container not in self._sandboxes:
                return
        if process is None:
            raise RuntimeError_(f"container {container} does not run", "Gone")
        try:
            if starting and self._connection is not None:
                answer = await self._connection.ask("state", _PATIENCE)
                if container in answer["sandboxes"]:
                    return
            sandbox = self._sandboxes.get(container)
            if sandbox is not None:
                arguments = {"plan": self._plan(sandbox)}
                await self._runtime.worker("runtime.net.dns:reopen", arguments, process)
        finally:
            wire.close_all(process)


def _process(bundle: Path) -> list[int] | None:
    """The network namespace and the pidfd of a container that runs; None when it does not."""
    try:
        state = files.read_json(str(bundle / "state.json"))
        pidfd = os.pidfd_open(state["pid"])
    except (OSError, ValueError):
        return None
    try:
        netns = os.open(f"/proc/{state['pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(pidfd)
        return None
    # Looked at last: until then the number may have gone to another process.
    if not files.is_alive(state["pid"], state["start_time"]):
        wire.close_all([netns, pidfd])
        return None
    return [netns, pidfd]


class _Short:
    """A path of any length as one that fits a unix socket's address."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> str:
        self._fd = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

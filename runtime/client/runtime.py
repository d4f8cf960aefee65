"""`Runtime`: what the engine sees of containers that run."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from runtime.client import sweep, workers
from runtime.client.connection import Connection, Message
from runtime.client.shim import Shim
from runtime.client.types import (
    Adopted,
    Attachment,
    AttachOptions,
    Exited,
    Lost,
    Running,
    RuntimeError_,
    Started,
)
from runtime.client.zygote import Zygote

T = TypeVar("T")
Port = tuple[str, str, int]
Relay = tuple[str, str, int, str, int]

_log = logging.getLogger(__name__)

# Seconds that a shim has for an answer. It does nothing slow itself, so one that takes this long is stopped
# or stuck; freezing and limits wait for the kernel.
_PATIENCE, _KILL_PATIENCE, _LONG_PATIENCE = 10.0, 5.0, 30.0
_SIGKILL = 9


class Runtime:
    """Starts containers in shims, finds them again, and talks to them.

    Every method raises RuntimeError_ when the shim cannot do it (kind `Gone`: there is no shim).
    """

    def __init__(self, exec_root: Path, *, on_event: Callable[[str, Message], None]) -> None:
        """`on_event(container_id, message)`, on the event loop; messages: see docs/architecture.md."""
        self._root = Path(exec_root) / "compatd"
        self._on_event = on_event
        self._zygote = Zygote(self._root / "zygote.log")
        self._shims: dict[str, Shim] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def bundle(self, container_id: str) -> Path:
        """The container's bundle folder."""
        return self._root / "c" / container_id

    @property
    def root(self) -> Path:
        """The folder of all that belongs to running containers."""
        return self._root

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's process, None while it is being restarted."""
        return self._zygote.pid

    async def open(self) -> None:
        """Make the folders and start the zygote. Raises OSError."""
        for folder in (self._root, self._root / "c", self._root / "seccomp"):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._zygote.open()

    async def close(self) -> None:
        """End the zygote and leave the shims, which go on with their containers."""
        for shim in self._shims.values():
            shim.deleted = True
            shim.connection.close()
        self._shims.clear()
        await self._zygote.close()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def start(
        self, container_id: str, attachments: Sequence[Attachment], holds: Sequence[socket.socket]
    ) -> Started:
        """Start the container whose bundle is written. Sockets handed in are closed here in any case.

        Cancelling does not stop the start: the container may come up. Raises RuntimeError_ with runc's
        text and everything undone.
        """
        task = self._task(self._start(container_id, attachments, holds))
        try:
            shim, started = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_release_when_started)
            raise
        # No event before the caller has its answer.
        asyncio.get_running_loop().call_soon(shim.release)
        return started

    async def _start(
        self, container_id: str, attachments: Sequence[Attachment], holds: Sequence[socket.socket]
    ) -> tuple[Shim, Started]:
        bundle = self.bundle(container_id)
        # What an earlier run has left would be taken for this one's.
        for name in ("exit", "state.json", "shim.sock"):
            (bundle / name).unlink(missing_ok=True)
        bundle.chmod(0o700)
        request = {
            "bundle": str(bundle),
            "seccomp_cache": str(self._root / "seccomp"),
            "attachments": [attachment.options.message() for attachment in attachments],
        }
        sockets = [attachment.sock for attachment in attachments] + list(holds)
        try:
            shim, answer = await self._launch(container_id, request, [sock.fileno() for sock in sockets])
        except RuntimeError_:
            await asyncio.to_thread(sweep.free, bundle)
            raise
        finally:
            for sock in sockets:
                sock.close()
        if "error" in answer:
            shim.connection.close()
            if not answer.get("swept"):
                await asyncio.to_thread(sweep.free, bundle)
            raise RuntimeError_(answer["error"])
        self._shims[container_id] = shim
        if shim.connection.closed:
            # Started and died before this task was resumed.
            self.shim_closed(container_id, shim)
        return shim, Started(answer["started"], answer["network"])

    async def _launch(self, container_id: str, request: Message, fds: list[int]) -> tuple[Shim, Message]:
        for attempts_left in (2, 1, 0):
            zygote = self._zygote.pid
            shim = Shim(self, container_id, await self._zygote.launch("shim"))
            shim.connection.send(request, fds)
            try:
                return shim, await shim.answered
            except RuntimeError_:
                # Again if the zygote died before it could fork: a shim makes its socket first of all.
                begun = (self.bundle(container_id) / "shim.sock").exists()
                if begun or zygote == self._zygote.pid or not attempts_left:
                    raise
        raise AssertionError("unreachable")

    async def adopt(self, container_id: str) -> Adopted:
        """Find a container of an earlier daemon; of a Lost one everything is freed."""
        bundle = self.bundle(container_id)
        try:
            shim = Shim(self, container_id, await asyncio.to_thread(_connect, bundle / "shim.sock"))
        except OSError:
            return await self._unwatched(bundle)
        shim.answered.set_result({})
        try:
            state = await self._state(shim, bundle)
        except RuntimeError_:
            return await self._unwatched(bundle)
        self._shims[container_id] = shim
        asyncio.get_running_loop().call_soon(shim.release)
        if state["exit"]:
            shim.exited = True
            return _exited(state["exit"])
        return Running(state["pid"], state["paused"])

    @staticmethod
    async def _state(shim: Shim, bundle: Path) -> Message:
        """What a shim of an earlier daemon says, or its container's files when it is stopped or stuck."""
        try:
            return await shim.connection.ask("state", _PATIENCE)
        except RuntimeError_ as error:
            if error.kind != "Hung":
                raise
        if pid := sweep.live_pid(bundle):
            return {"exit": None, "pid": pid, "paused": False}
        # A shim that is still starting answers when it has.
        return await shim.connection.call("state")

    async def _unwatched(self, bundle: Path) -> Adopted:
        ended = sweep.read_exit(bundle)
        await asyncio.to_thread(sweep.free, bundle)
        return _exited(ended) if ended else Lost()

    def emit(self, container_id: str, message: Message) -> None:
        """Hand an event on; what a listener raises is logged and harms nothing else."""
        try:
            self._on_event(container_id, message)
        except Exception:
            _log.exception("event %s of %s", message.get("event"), container_id)

    def shim_closed(self, container_id: str, shim: Shim) -> None:
        """A shim's connection has ended by itself."""
        if self._shims.get(container_id) is not shim:
            return
        if not shim.exited and not shim.deleted:
            self._task(self._lost(container_id, shim))
        else:
            del self._shims[container_id]

    async def _lost(self, container_id: str, shim: Shim) -> None:
        bundle = self.bundle(container_id)
        shim.exited = True
        ended = sweep.read_exit(bundle)
        try:
            await asyncio.to_thread(sweep.free, bundle)
        finally:
            if self._shims.get(container_id) is shim:
                del self._shims[container_id]
            # It may have ended properly, and its shim been killed before it could tell.
            self.emit(container_id, {"event": "exit", **ended} if ended else {"event": "lost"})

    def _connection(self, container_id: str) -> Connection:
        shim = self._shims.get(container_id)
        if shim is None:
            raise RuntimeError_(f"Container {container_id} is not running", "Gone")
        return shim.connection

    async def attach(self, container_id: str, options: AttachOptions) -> socket.socket:
        """Attach to the running container; a non-blocking stream socket."""
        connection = self._connection(container_id)
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            await connection.ask("attach", _PATIENCE, fds=[theirs.fileno()], options=options.message())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def exec(
        self,
        container_id: str,
        exec_id: str,
        process: dict[str, Any],
        attachments: Sequence[Attachment],
        *,
        detach_keys: bytes = b"",
    ) -> int:
        """Start a process (OCI `process`) in the container; its PID on the host. Takes the sockets.

        `detach_keys` are for attachments that bring none of their own. The end comes as event `exec-exit`.
        """
        try:
            options = [attachment.options.message() for attachment in attachments]
            for option in options:
                option["detach_keys"] = option["detach_keys"] or detach_keys.hex()
            answer = await self._connection(container_id).persist(
                "exec",
                _PATIENCE,
                [attachment.sock.fileno() for attachment in attachments],
                exec=exec_id,
                process=process,
                attachments=options,
            )
        finally:
            for attachment in attachments:
                attachment.sock.close()
        return int(answer["pid"])

    async def resize(self, container_id: str, exec_id: str | None, width: int, height: int) -> None:
        """Set the size of the container's or an exec's terminal, in characters."""
        connection = self._connection(container_id)
        await connection.ask("resize", _PATIENCE, exec=exec_id, width=width, height=height)

    async def kill(
        self, container_id: str, signal: int, *, all: bool = False, exec_id: str | None = None
    ) -> None:
        """Send a signal to the first process, to every process of the container, or to an exec's.

        SIGKILL for a container whose shim does not answer ends the shim: the container is then freed as Lost.
        """
        last = signal == _SIGKILL and exec_id is None
        seconds = _KILL_PATIENCE if last else _PATIENCE
        connection = self._connection(container_id)
        try:
            await connection.ask("kill", seconds, signal=int(signal), all=all, exec=exec_id)
        except RuntimeError_ as error:
            if error.kind != "Hung" or not last:
                raise
            _log.warning("the shim of container %s does not answer and is killed", container_id)
            await asyncio.to_thread(sweep.kill_shim, self.bundle(container_id))

    async def pause(self, container_id: str) -> None:
        """Freeze all processes."""
        await self._connection(container_id).ask("pause", _LONG_PATIENCE)

    async def resume(self, container_id: str) -> None:
        """Let frozen processes go on."""
        await self._connection(container_id).ask("resume", _LONG_PATIENCE)

    async def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Apply OCI `linux.resources` to the running container's cgroup."""
        await self._connection(container_id).ask("update", _LONG_PATIENCE, resources=resources)

    async def hold(
        self,
        container_id: str,
        sockets: Sequence[socket.socket],
        relays: Sequence[Relay] = (),
        drop: Sequence[Port] = (),
    ) -> None:
        """Hand the shim of a running container bound sockets of more host ports; they are closed here in any
        case. `drop` are held ports to let go, (protocol, address, port). `relays` are all that there are
        from now on, (protocol, address, port, container's address, container's port).
        """
        try:
            fds = [sock.fileno() for sock in sockets]
            connection = self._connection(container_id)
            await connection.ask("hold", _PATIENCE, fds=fds, relays=list(relays), drop=list(drop))
        finally:
            for sock in sockets:
                sock.close()

    async def delete(self, container_id: str) -> None:
        """After the exit: end the shim, free what is left and remove the bundle. What is gone is no error."""
        bundle = self.bundle(container_id)
        shim = self._shims.get(container_id)
        answered = False
        if shim is not None:
            try:
                await shim.connection.ask("delete", _LONG_PATIENCE)
                answered = True
            except RuntimeError_ as error:
                if error.kind == "Hung":
                    await asyncio.to_thread(sweep.kill_shim, bundle)
                elif error.kind != "Gone":
                    raise
            shim.deleted = True
            shim.connection.close()
            if self._shims.get(container_id) is shim:
                del self._shims[container_id]
        if not answered:
            await asyncio.to_thread(sweep.free, bundle)
        sweep.remove_bundle(bundle)

    async def discard(self, container_id: str) -> None:
        """End a container that nobody knows any more, whatever it does, and free all of it."""
        await self.adopt(container_id)  # one that is being started comes up first
        shim = self._shims.pop(container_id, None)
        if shim is not None:
            shim.deleted = True
            shim.connection.close()
        bundle = self.bundle(container_id)
        await asyncio.to_thread(sweep.kill_shim, bundle)
        await asyncio.to_thread(sweep.free, bundle)
        sweep.remove_bundle(bundle)

    async def launch_resolver(self) -> socket.socket:
        """Our end of the control socket of a new resolver process; see `runtime.client.resolver`."""
        return await self._zygote.launch("resolver")

    async def worker(self, function: str, arguments: dict[str, Any], fds: Sequence[int] = ()) -> Any:
        """Run `runtime.storage.x:function(arguments, fds)` in a process (or `runtime.net.live:…`); see
        `workers.run`."""
        return await workers.run(self._zygote, function, arguments, fds)


def _connect(path: Path) -> socket.socket:
    """Connect to a unix socket whose path may be longer than the 107 bytes of an address."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


def _release_when_started(task: asyncio.Task[tuple[Shim, Started]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].release()


def _exited(ended: Message) -> Exited:
    return Exited(int(ended["code"]), bool(ended["oom"]), int(ended["at"]))

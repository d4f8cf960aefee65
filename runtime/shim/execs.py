"""Processes that `exec` brings into a running container."""

from __future__ import annotations

import os
import socket

from runtime.shim import starter, wire
from runtime.shim.loop import READ
from runtime.shim.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.shim.container import Container
    from runtime.shim.loop import Loop


class Execs:
    """The execs of one container, by their IDs."""

    def __init__(
        self, loop: Loop, container: Container, seccomp_cache: str, on_exit: Callable[[str, int], None]
    ) -> None:
        """`on_exit(exec_id, code)` comes after all the output."""
        self._loop = loop
        self._container = container
        self._seccomp_cache = seccomp_cache
        self._on_exit = on_exit
        self._streams: dict[str, Streams] = {}
        self._ids: dict[int, str] = {}  # of those that run, by PID
        self._starting = 0
        self._unclaimed: dict[int, int] = {}  # exit codes of children that a starter may yet name
        #: Called when a client of an exec is gone.
        self.when_idle: Callable[[], None] | None = None

    def start(
        self, message: dict[str, Any], fds: list[int], answer: Callable[[dict[str, Any]], None]
    ) -> None:
        """Start `message["process"]` (OCI) as `message["exec"]`; `answer` gets the PID or an error, later.

        The descriptors are attachments and are taken. Raises OSError.
        """
        options = message.get("attachments") or []
        sockets = [socket.socket(fileno=fds.pop(0)) for _ in options]
        container = self._container
        try:
            _, link = starter.fork(
                lambda: starter.start_exec(
                    container,
                    message["exec"],
                    message["process"],
                    any(option.get("stdin") for option in options),
                    self._seccomp_cache,
                )
            )
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        self._starting += 1

        def ready(events: int) -> None:
            self._loop.forget(link.fileno())
            try:
                told, named = wire.receive(link)
            except (EOFError, OSError):
                told, named = {"error": "exec failed: the starting process died", "kind": "StartError"}, []
            link.close()
            self._starting -= 1
            self._started(message["exec"], told, named, list(zip(sockets, options, strict=True)), answer)
            if not self._starting:
                self._unclaimed.clear()

        self._loop.watch(link.fileno(), READ, ready)

    def _started(
        self,
        exec_id: str,
        told: dict[str, Any],
        fds: list[int],
        clients: list[tuple[socket.socket, dict[str, Any]]],
        answer: Callable[[dict[str, Any]], None],
    ) -> None:
        if "error" in told:
            for sock, _ in clients:
                sock.close()
            answer(told)
            return
        streams = Streams(self._loop, tty=told["tty"], log=None, end_input=True)
        streams.when_idle = self.when_idle
        for sock, options in clients:
            streams.attach(sock, options)
        stdin = any(options.get("stdin") for _, options in clients)
        streams.start(dict(zip(told["fds"], fds, strict=True)), stdin)
        pid = told["pid"]
        self._streams[exec_id] = streams
        self._ids[pid] = exec_id
        answer({"pid": pid})
        code = self._unclaimed.pop(pid, None)
        if code is not None:
            self.reaped(pid, code)

    def resize(self, exec_id: str, width: int, height: int) -> None:
        """Set a terminal's size. Raises OSError, KeyError."""
        self._streams[exec_id].resize(width, height)

    def kill(self, exec_id: str, number: int) -> None:
        """Send a signal to an exec's process; one that has ended is no error. Raises OSError."""
        for pid, name in self._ids.items():
            if name == exec_id:
                os.kill(pid, number)  # not reaped yet, so the PID is its own

    def reaped(self, pid: int, code: int) -> None:
        """A child has ended with `code`: an exec, or a starter, or what an exec has left behind."""
        exec_id = self._ids.pop(pid, None)
        if exec_id is not None:
            self._streams[exec_id].finish(lambda: self._finished(exec_id, code))
        elif self._starting:
            self._unclaimed[pid] = code

    def _finished(self, exec_id: str, code: int) -> None:
        # Clients may still be taking their last bytes: kept until they are gone.
        self._forget_idle()
        self._on_exit(exec_id, code)

    def _forget_idle(self) -> None:
        running = set(self._ids.values())
        for exec_id, streams in list(self._streams.items()):
            if exec_id not in running and not streams.pending:
                del self._streams[exec_id]

    @property
    def pending(self) -> bool:
        """Whether a client of an exec has still to get output."""
        self._forget_idle()
        return any(streams.pending for streams in self._streams.values())


def exit_code(status: int) -> tuple[int, int | None]:
    """A wait status as Docker's exit code, and the signal when it was one: 128 + signal then."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return 128 + number, number
    return os.WEXITSTATUS(status), None

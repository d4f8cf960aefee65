"""Processes that `exec` brings into a running container."""

from __future__ import annotations

import os
import socket

from runtime.shim.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.shim.container import Container
    from runtime.shim.loop import Loop


class Execs:
    """The execs of one container, by their IDs."""

    def __init__(self, loop: Loop, container: Container, on_exit: Callable[[str, int], None]) -> None:
        """`on_exit(exec_id, code)` comes after all the output."""
        self._loop = loop
        self._container = container
        self._on_exit = on_exit
        self._streams: dict[str, Streams] = {}
        self._ids: dict[int, str] = {}  # of those that run, by PID
        #: Called when a client of an exec is gone.
        self.when_idle: Callable[[], None] | None = None

    def start(self, message: dict[str, Any], fds: list[int]) -> int:
        """Start `message["process"]` (OCI) as `message["exec"]`; the PID. The descriptors are attachments.

        Raises InitError or OSError with nothing left behind.
        """
        from runtime import init

        process = message["process"]
        options = message.get("attachments") or []
        tty = bool(process.get("terminal"))
        streams = Streams(self._loop, tty=tty, log=None, end_input=True)
        started = False
        try:
            stdin = any(option.get("stdin") for option in options)
            stdio = (0, 1, 2) if tty else streams.prepare(stdin)
            for option in options:
                streams.attach(socket.socket(fileno=fds.pop(0)), option)
            child = init.enter(
                self._container.pid,
                self._container.spec(),  # type: ignore[arg-type]
                process,
                stdio=stdio,
                console=init.NEW_CONSOLE if tty else None,
                cgroup=self._container.cgroup,
                seccomp_cache=self._container.seccomp_cache,
            )
            child.wait_ready()
            if tty:
                size = process.get("consoleSize")
                streams.take_master(
                    child.console_master, stdin, [size["width"], size["height"]] if size else None
                )
            child.go()
            streams.started()
            started = True
        finally:
            if not started:
                streams.close()
        streams.when_idle = self.when_idle
        self._streams[message["exec"]] = streams
        self._ids[child.pid] = message["exec"]
        return child.pid

    def resize(self, exec_id: str, width: int, height: int) -> None:
        """Set a terminal's size. Raises OSError, KeyError."""
        self._streams[exec_id].resize(width, height)

    def reaped(self, pid: int, code: int) -> bool:
        """A child has ended with `code`; False when it was no exec."""
        exec_id = self._ids.pop(pid, None)
        if exec_id is None:
            return False
        self._streams[exec_id].finish(lambda: self._finished(exec_id, code))
        return True

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

"""The shim: the process that stands by one container from its start to its deletion.

Requests (JSON, see `wire`) carry `id` and `op`; an answer carries the `id` and, when it failed, `error` and
`kind`. Events carry `event` and no `id`; every connection gets them.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from runtime import syscalls
from runtime.logs.base import BaseLog, LogError
from runtime.shim import files, signals, starter, wire
from runtime.shim.connection import Connection, Listener
from runtime.shim.container import Container
from runtime.shim.execs import Execs, exit_code
from runtime.shim.holds import Holds
from runtime.shim.log import open_log
from runtime.shim.loop import READ, Loop
from runtime.shim.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_EPOLLPRI = 2
_IN_MODIFY = 2  # inotify(7)
_LATELY = 5.0
_PR_SET_CHILD_SUBREAPER = 36


class Refused(Exception):
    """The request cannot be done now."""


class StarterDied(Exception):
    """The starter was killed: what it has left must be swept."""


class Server:
    """Answers the daemon, reaps, and knows when to end."""

    def __init__(
        self,
        loop: Loop,
        container: Container,
        listener: Listener,
        seccomp_cache: str,
        holds: list[int],
        relayed: bool,
    ) -> None:
        self._loop = loop
        self._container = container
        self._listener = listener
        self._holds = Holds(loop, container.bundle)
        self._holds.add(holds, relayed=relayed)
        self._connections: list[Connection] = []
        self._execs = Execs(loop, container, seccomp_cache, self._exec_exited)
        self._execs.when_idle = container.streams.when_idle = self._end_when_idle
        self._exit: dict[str, Any] | None = None
        self._status: int | None = None
        self._paused = False
        self._deleted = False
        self._ooms = 0
        self._short_at = 0.0  # when memory was short, by the kernel's word
        self.oom_fd = -1

    def connect(self, sock: socket.socket) -> None:
        """Serve one more connection."""
        self._connections.append(Connection(self._loop, sock, self._message, self._disconnected))

    def run(self) -> None:
        """Serve until the container is gone and nobody needs this process any more."""
        if self.oom_fd >= 0:
            os.set_blocking(self.oom_fd, False)
            if self._container.cgroup:
                self._container.cgroup.note_kills()
            self._loop.watch(self.oom_fd, READ | _EPOLLPRI, self._oom)
        self._loop.on_children(self._reap)
        self._listener.start(self.connect)
        self._loop.run()

    # Requests

    def _message(self, connection: Connection, message: wire.Message, fds: list[int]) -> None:
        def reply(answer: dict[str, Any]) -> None:
            connection.send({**answer, "id": message.get("id")})

        answer: dict[str, Any] | None
        try:
            if message.get("op") == "exec":
                self._exec(message, fds, reply)
                return
            operation = _OPERATIONS.get(message.get("op", ""))
            if operation is None:
                raise Refused(f"unknown operation {message.get('op')!r}")
            answer = operation(self, message, fds) or {}
        except Exception as error:
            if not isinstance(error, (Refused, OSError)):
                sys.excepthook(*sys.exc_info())
            answer = {"error": str(error) or type(error).__name__, "kind": type(error).__name__}
        finally:
            wire.close_all(fds)
        reply(answer)
        if self._deleted:
            self._end_when_idle()

    def _state(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        return {"pid": self._container.pid, "paused": self._paused, "exit": self._exit}

    def _attach(self, message: dict[str, Any], fds: list[int]) -> None:
        if len(fds) != 1:
            raise Refused("attach takes one descriptor")
        self._container.streams.attach(socket.socket(fileno=fds.pop()), message["options"])

    def _exec(self, message: dict[str, Any], fds: list[int], reply: Callable[[dict[str, Any]], None]) -> None:
        self._must_run()
        if self._paused:
            raise Refused(f"Container {self._container.id} is paused, unpause the container before exec")
        self._execs.start(message, fds, reply)

    def _resize(self, message: dict[str, Any], fds: list[int]) -> None:
        width, height = int(message["width"]), int(message["height"])
        if message.get("exec"):
            try:
                self._execs.resize(message["exec"], width, height)
            except KeyError:
                raise Refused(f"No such exec instance: {message['exec']}") from None
        else:
            self._must_run()
            self._container.streams.resize(width, height)

    def _kill(self, message: dict[str, Any], fds: list[int]) -> None:
        self._must_run()
        number = int(message["signal"])
        if message.get("exec"):
            self._execs.kill(message["exec"], number)
        else:
            self._container.kill(number, bool(message.get("all")))

    def _pause(self, message: dict[str, Any], fds: list[int]) -> None:
        self._must_run()
        self._container.freeze()
        self._paused = True

    def _resume(self, message: dict[str, Any], fds: list[int]) -> None:
        self._must_run()
        self._container.thaw()
        self._paused = False

    def _update(self, message: dict[str, Any], fds: list[int]) -> None:
        self._must_run()
        self._container.cgroup.apply(message["resources"])

    def _hold(self, message: dict[str, Any], fds: list[int]) -> None:
        self._must_run()
        taken = [fds.pop() for _ in range(len(fds))]
        self._holds.change(taken, message["relays"], message["drop"])

    def _delete(self, message: dict[str, Any], fds: list[int]) -> None:
        if self._exit is None:
            raise Refused("the container is running")
        self._listener.close()
        self._deleted = True

    def _must_run(self) -> None:
        if self._status is not None:
            raise Refused(f"Container {self._container.id} is not running")

    # What happens

    def _oom(self, events: int) -> None:
        self._hear()
        self._count_ooms(8)

    def _hear(self) -> None:
        """Take the news: an eventfd's (cgroup v1), or events of inotify (v2), 16 bytes each."""
        try:
            news = os.read(self.oom_fd, 4096)
        except OSError:
            return
        if any(news[at + 4] & _IN_MODIFY for at in range(0, len(news), 16)):  # and not that the file has gone
            self._short_at = time.monotonic()

    def _count_ooms(self, more: int = 0) -> None:
        """Tell when there is a new kill, else look again `more` times, ever later.

        The kernel's word comes when memory is short; it counts the kill some time after that.
        """
        kills = 0
        if cgroup := self._container.cgroup:
            kills = cgroup.oom_kills()
            if time.monotonic() - self._short_at < _LATELY and cgroup.kills_missed():
                kills = kills or 1
        if kills > self._ooms:
            self._ooms = kills
            self._tell({"event": "oom"})
        elif more:
            self._loop.later(0.64 / 2**more, lambda: self._count_ooms(more - 1))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self._container.pid and self._status is None:
                self._ended(status)
            elif not self._holds.reaped(pid):
                self._execs.reaped(pid, exit_code(status)[0])

    def _ended(self, status: int) -> None:
        self._status = status
        at = time.time_ns()
        self._container.end_processes()
        self._container.streams.finish(lambda: self._finished(status, at))

    def _finished(self, status: int, at: int) -> None:
        code, number = exit_code(status)
        self._hear()
        self._count_ooms()
        self._container.close_log()
        self._exit = {"code": code, "signal": number, "oom": self._ooms > 0, "at": at}
        try:
            files.write_json(os.path.join(self._container.bundle, "exit"), self._exit)
        except OSError as error:
            print(f"shim: writing the exit: {error}", file=sys.stderr)
        self._tell({"event": "exit", **self._exit})
        if self.oom_fd >= 0:
            self._loop.forget(self.oom_fd)
            os.close(self.oom_fd)
            self.oom_fd = -1
        self._holds.close()
        self._container.release()
        self._end_when_idle()

    def _exec_exited(self, exec_id: str, code: int) -> None:
        self._tell({"event": "exec-exit", "exec": exec_id, "code": code})

    def _tell(self, event: dict[str, Any]) -> None:
        for connection in tuple(self._connections):
            connection.send(event)

    def _disconnected(self, connection: Connection) -> None:
        self._connections.remove(connection)
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        """End after the exit, when the daemon has said so or is gone, and every client has its output."""
        if self._exit is None or (self._connections and not self._deleted):
            return
        if self._container.streams.pending or self._execs.pending:
            return  # called again by the last of them
        if not self._deleted:
            self._listener.close()
        self._loop.stop()


_OPERATIONS = {
    "state": Server._state,
    "attach": Server._attach,
    "resize": Server._resize,
    "kill": Server._kill,
    "pause": Server._pause,
    "resume": Server._resume,
    "update": Server._update,
    "hold": Server._hold,
    "delete": Server._delete,
}


def main(control: int) -> None:
    """Be a shim: `control` brings `{"bundle", "seccomp_cache", "attachments": [options…]}`.

    Descriptors: one for each attachment, then ports to hold. Answers `{"started": pid, "network": […]}` or
    `{"error": text}`; the control socket goes on as the first connection.
    """
    sock = socket.socket(fileno=control)
    request, fds = wire.receive(sock)
    os.setsid()
    signals.handle(signals.SIGINT, signals.SIG_IGN)
    syscalls.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        answer, server = _start(request, fds)
    except Exception as error:
        if not isinstance(error, (Refused, StarterDied, OSError)):
            sys.excepthook(*sys.exc_info())
        # Refused: the starter has undone what it did. Anything else is for the daemon to sweep.
        answer = {"error": str(error) or type(error).__name__, "swept": isinstance(error, Refused)}
        server = None
    try:
        wire.send(sock, answer)
    except OSError:
        pass  # the daemon is gone; a later one finds the container by its state.json
    if server is not None:
        server.connect(sock)
        server.run()
    # A short-lived container may be gone before its starter: leave no zombie to init.
    for pid in starter.running:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass


def _start(request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], Server]:
    """Start the container; the answer for the daemon and what serves from then on."""
    bundle, seccomp_cache = request["bundle"], request["seccomp_cache"]
    config = files.read_json(os.path.join(bundle, "shim.json"))
    set_title("compatd-shim", f"compatd-shim {config['id']}")
    loop = Loop()
    listener = Listener(loop, bundle)
    try:
        log = _open_log(config, loop)
        pid, link = starter.fork(lambda: starter.start_container(bundle, config, seccomp_cache))
        starter.running.append(pid)
        try:
            told, got = wire.receive(link)
        except EOFError:
            raise StarterDied("the starting process died") from None
        finally:
            link.close()
        if "error" in told:
            raise Refused(told["error"])
        named = dict(zip(told["fds"], got, strict=True))
        container = Container(loop, bundle, config, log, told)
        container.netns = named.pop("netns", -1)
        for options in request["attachments"]:
            container.streams.attach(socket.socket(fileno=fds.pop(0)), options)
        relayed = bool((config.get("network") or {}).get("relays"))
        server = Server(loop, container, listener, seccomp_cache, fds, relayed)
        server.oom_fd = named.pop("oom", -1)
        container.streams.start(named, bool(config.get("stdin")))
    except BaseException:
        listener.close()
        raise
    return {"started": told["pid"], "network": told["network"]}, server


def _open_log(config: dict[str, Any], loop: Loop) -> BaseLog | None:
    try:
        return open_log(config.get("log"), loop)
    except LogError as error:
        text = str(error)
    except OSError as error:
        text = f"open {error.filename}: {os.strerror(error.errno or 0).lower()}"
    raise Refused(f"failed to initialize logging driver: {text}")

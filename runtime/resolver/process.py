"""The resolver process: what the daemon and starters tell it, and when it ends.

There is one for a daemon. The daemon has it forked from the zygote and gives it a listening socket, which
both keep: whoever connects while one of them is replaced just waits. It outlives the daemon, and ends when
no daemon is connected and no container is left.
"""

from __future__ import annotations

import os
import resource
import socket
import sys

from runtime.resolver.answers import View
from runtime.resolver.forwarding import Forwarder
from runtime.resolver.records import Records
from runtime.resolver.serving import Sandbox
from runtime.shim import signals, wire
from runtime.shim.connection import Connection
from runtime.shim.loop import READ, Loop
from runtime.shim.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Changes whenever messages do: a daemon of another version replaces the resolver.
VERSION = 1


class Refused(Exception):
    """The message cannot be carried out; the text says why."""


class Process:
    """All sandboxes and records. Messages are JSON objects with `op`, see the methods `_op_…`."""

    def __init__(self, loop: Loop, listener: socket.socket, most_sockets: int) -> None:
        self._loop = loop
        self._listener = listener
        self._records = Records()
        self._forwarder = Forwarder(loop, most_sockets)
        self._sandboxes: dict[str, Sandbox] = {}
        self._daemons: set[Connection] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def connect(self, sock: socket.socket, *, daemon: bool = False) -> None:
        """Serve one more connection."""
        connection = Connection(self._loop, sock, self._message, self._disconnected)
        if daemon:
            self._daemons.add(connection)

    def _accept(self, events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self.connect(sock)

    def _disconnected(self, connection: Connection) -> None:
        if connection in self._daemons:
            self._daemons.discard(connection)
            self._end_when_idle()

    def _end_when_idle(self) -> None:
        if not self._daemons and not self._sandboxes:
            self._loop.stop()

    def _message(self, connection: Connection, message: wire.Message, fds: list[int]) -> None:
        answer: dict[str, Any] = {}
        try:
            if message.get("op") == "hello":
                self._daemons.add(connection)
                connection.send({"event": "listener"}, [self._listener.fileno()])
                answer = {"version": VERSION, "pid": os.getpid()}
            else:
                answer = self.carry_out(message, fds) or {}
        except Exception as error:
            print(f"resolver: {message.get('op')}: {type(error).__name__}: {error}", file=sys.stderr)
            answer = {"error": str(error), "kind": type(error).__name__}
        finally:
            wire.close_all(fds)
        if "id" in message:
            connection.send({**answer, "id": message["id"]})

    def carry_out(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any] | None:
        """Do what a message asks for; takes the descriptors that it uses out of `fds`."""
        operation = getattr(self, f"_op_{message.get('op')}", None)
        if operation is None:
            raise Refused("unknown operation")
        answer: dict[str, Any] | None = operation(message, fds)
        return answer

    def _op_open(self, message: dict[str, Any], fds: list[int]) -> None:
        """`sandbox`, with three descriptors (see Sandbox): a container begins."""
        if len(fds) != 3:
            raise Refused("open takes three descriptors")
        view = View(self._records, message["sandbox"])
        old = self._sandboxes.pop(view.container, None)
        if old is not None:
            old.close()
        taken, fds[:] = fds[:], []
        self._sandboxes[view.container] = Sandbox(self._loop, view, self._forwarder, taken, self._ended)

    def _op_update(self, message: dict[str, Any], fds: list[int]) -> None:
        """`sandbox`: it has changed. One that is not open (yet, or any more) is no error."""
        sandbox = self._sandboxes.get(message["sandbox"]["container"])
        if sandbox is not None:
            sandbox.view.update(message["sandbox"])

    def _op_gone(self, message: dict[str, Any], fds: list[int]) -> None:
        """`container` has ended, or is on no network with names any more."""
        sandbox = self._sandboxes.pop(message["container"], None)
        if sandbox is not None:
            sandbox.close()

    def _op_add(self, message: dict[str, Any], fds: list[int]) -> None:
        """`record`: see Records.add."""
        self._records.add(message["record"])

    def _op_remove(self, message: dict[str, Any], fds: list[int]) -> None:
        """`endpoint`: its names are none any more."""
        self._records.remove(message["endpoint"])

    def _op_reset(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """`records`, `sandboxes`: that is all there is. Answers `missing`: the containers not open here."""
        wanted = {document["container"]: document for document in message["sandboxes"]}
        self._records.clear()
        for record in message["records"]:
            self._records.add(record)
        for container in [c for c in self._sandboxes if c not in wanted]:
            self._sandboxes.pop(container).close()
        for container, sandbox in self._sandboxes.items():
            sandbox.view.update(wanted[container])
        return {"missing": [container for container in wanted if container not in self._sandboxes]}

    def _op_state(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """What is open here: `sandboxes`, by container."""
        return {"sandboxes": sorted(self._sandboxes)}

    def _op_end(self, message: dict[str, Any], fds: list[int]) -> None:
        """Another resolver takes over."""
        self._loop.stop()

    def _ended(self, sandbox: Sandbox) -> None:
        sandbox.close()
        if self._sandboxes.get(sandbox.view.container) is sandbox:
            del self._sandboxes[sandbox.view.container]
        # The daemon would say so, but may not be there. The next start has other endpoint IDs.
        for endpoint in sandbox.view.endpoints:
            self._records.remove(endpoint)
        self._end_when_idle()


def main(control: int) -> None:
    """Be the resolver: `control` brings a message `reset` with the listening socket, then is the daemon's
    connection. Run in a process forked from the zygote."""
    sock = socket.socket(fileno=control)
    message, fds = wire.receive(sock)
    os.setsid()
    set_title("compatd-resolver", f"compatd-resolver {message.get('path', '')}")
    signals.handle(signals.SIGINT, signals.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    random = sys.modules.get("random")
    if random is not None:
        random.seed()  # or the order of addresses is the zygote's
    loop = Loop()
    process = Process(loop, socket.socket(fileno=fds.pop()), min(hard // 2, 65536))
    answer = process.carry_out(message, []) or {}
    process.connect(sock, daemon=True)
    wire.send(sock, {**answer, "id": message.get("id")})
    loop.run()

"""A container's resolver: its sockets in the container's network namespace.

They are all that holds the namespace. So they are closed as soon as the container's first process ends, which
its pidfd tells, whether or not anybody else does.
"""

from __future__ import annotations

import os
import select
import socket
import sys

from runtime.resolver import message
from runtime.resolver.answers import View
from runtime.resolver.deadlines import Deadlines
from runtime.resolver.forwarding import Forwarder, Lane
from runtime.shim.loop import HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from runtime.shim.loop import Loop

#: Datagrams that are read before others have their turn.
_BATCH = 32
#: As in dockerd's DNS library: how long a connection may idle, and how many queries it may bring.
IDLE_SECONDS = 8.0
_MOST_QUERIES = 128
_LONGEST_QUERY = 4096
#: Connections of one container; one more ends the oldest.
MOST_CLIENTS = 256


class Sandbox:
    """Serves one container until its end; `on_end(sandbox)` is called when its first process is gone."""

    def __init__(
        self, loop: Loop, view: View, forwarder: Forwarder, fds: list[int], on_end: Callable[[Sandbox], None]
    ) -> None:
        """Takes `fds`: a UDP socket, a listening TCP socket, the first process's pidfd."""
        udp, tcp, self._pidfd = fds
        self.view = view
        self._loop = loop
        self._forwarder = forwarder
        self._udp = socket.socket(fileno=udp)
        self._tcp = socket.socket(fileno=tcp)
        self._lane = Lane(udp)
        self._clients: dict[Client, None] = {}
        self._idle = Deadlines(loop, IDLE_SECONDS, self._idled)
        for sock in (self._udp, self._tcp):
            sock.setblocking(False)
        self._on_end = on_end
        loop.watch(self._pidfd, READ, self._ended)
        loop.watch(udp, READ, self._datagrams)
        loop.watch(tcp, READ, self._accept)

    def close(self) -> None:
        """Let go of the container's namespace. Again is no error."""
        if self._pidfd < 0:
            return
        self._forwarder.drop(self._lane)
        for client in tuple(self._clients):
            self.disconnect(client)
        for fd in (self._udp.fileno(), self._tcp.fileno(), self._pidfd):
            self._loop.forget(fd)
        self._udp.close()
        self._tcp.close()
        os.close(self._pidfd)
        self._pidfd = -1

    def _ended(self, events: int) -> None:
        # Looked at again: the event may be of another process, whose descriptor had this number.
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if poll.poll(0):
            self._on_end(self)

    def _datagrams(self, events: int) -> None:
        for _ in range(_BATCH):
            try:
                raw, client = self._udp.recvfrom(_LONGEST_QUERY)
            except OSError:  # none is left
                return
            answer = self.view.quick(raw)
            if answer is not None:
                self._send(answer, client)
            else:
                self._consider(raw, client)

    def _send(self, answer: bytes, client: object) -> None:
        try:
            self._udp.sendto(answer, client)  # type: ignore[call-overload]
        except OSError:
            pass  # a client that does not read; as with any network, it asks again

    def _consider(self, raw: bytes, client: object) -> None:
        def reply(answer: bytes) -> None:
            if self._pidfd >= 0:
                self._send(answer, client)

        self.consider(raw, reply, tcp=False)

    def consider(self, raw: bytes, reply: Callable[[bytes], None], *, tcp: bool) -> None:
        """Answer a query by `reply`, now or later; what is no query may get none."""
        try:
            query = message.parse(raw)
        except message.Malformed as error:
            if error.answer is not None:
                reply(error.answer)
            elif tcp:
                raise
            return
        answer = self.view.answer(query, message.MOST if tcp else query.size)
        if answer is not None:
            reply(answer)
        else:
            self._forwarder.ask(self._lane, query, self.view.servers(), reply, tcp=tcp)

    # TCP

    def _accept(self, events: int) -> None:
        try:
            sock, _ = self._tcp.accept()
        except OSError as error:
            if not isinstance(error, (BlockingIOError, ConnectionError)):
                print(f"resolver: accept: {error}", file=sys.stderr)
                # No descriptors are left, and the event would come again at once.
                self._loop.forget(self._tcp.fileno())
                self._loop.later(1, self._accept_again)
            return
        if len(self._clients) >= MOST_CLIENTS:
            self.disconnect(next(iter(self._clients)))
        client = Client(self._loop, self, sock)
        self._clients[client] = None
        self._idle.start(client)

    def _accept_again(self) -> None:
        if self._pidfd >= 0:
            self._loop.watch(self._tcp.fileno(), READ, self._accept)

    def touched(self, client: Client) -> None:
        """The client has sent a query or got an answer."""
        self._idle.start(client)

    def disconnect(self, client: Client) -> None:
        """End a connection. Again is no error."""
        self._idle.stop(client)
        if self._clients.pop(client, self) is None:
            client.close()

    def _idled(self, item: Hashable) -> None:
        assert isinstance(item, Client)
        if item.waiting:
            self._idle.start(item)  # for other servers, which have time limits of their own
        else:
            self.disconnect(item)


class Client:
    """One TCP connection: queries one after another, each with its length before it."""

    def __init__(self, loop: Loop, sandbox: Sandbox, sock: socket.socket) -> None:
        self._loop = loop
        self._sandbox = sandbox
        self._sock = sock
        self._fd = sock.fileno()
        self._received = b""
        self._unsent = b""
        self._left = _MOST_QUERIES
        self._serving = False
        self.waiting = False
        sock.setblocking(False)
        loop.watch(self._fd, READ, self._ready)

    def close(self) -> None:
        """Close; an answer that is still to come is dropped."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            self._fd = -1
            self._sock.close()

    def _ready(self, events: int) -> None:
        try:
            if self._unsent:
                self._flush()
            elif self.waiting:
                raise ConnectionResetError  # nothing is read while an answer is to come: it is the end
            else:
                data = self._sock.recv(_LONGEST_QUERY)
                if not data:
                    raise ConnectionResetError
                self._received += data
        except BlockingIOError:
            return
        except OSError:
            self._sandbox.disconnect(self)
            return
        self._serve()

    def _serve(self) -> None:
        """Answer what has come in whole, up to a query whose answer has to be waited for."""
        self._serving = True
        try:
            while self._fd >= 0 and not self.waiting and not self._unsent:
                length = int.from_bytes(self._received[:2], "big")
                if length > _LONGEST_QUERY or not self._left:
                    raise message.Malformed
                if len(self._received) < max(2 + length, 2):
                    break
                raw, self._received = self._received[2 : 2 + length], self._received[2 + length :]
                self._left -= 1
                self.waiting = True
                self._sandbox.touched(self)
                self._sandbox.consider(raw, self._reply, tcp=True)
        except message.Malformed:
            self._sandbox.disconnect(self)
        finally:
            self._serving = False
        if self._fd >= 0:
            events = HANGUP if self.waiting else WRITE if self._unsent else READ
            self._loop.watch(self._fd, events, self._ready)

    def _reply(self, answer: bytes) -> None:
        if self._fd < 0:
            return
        self.waiting = False
        self._unsent = len(answer).to_bytes(2, "big") + answer
        try:
            self._flush()
        except BlockingIOError:
            pass
        except OSError:
            self._sandbox.disconnect(self)
            return
        if not self._serving:
            self._serve()

    def _flush(self) -> None:
        self._unsent = self._unsent[self._sock.send(self._unsent) :]
        if not self._unsent:
            self._sandbox.touched(self)

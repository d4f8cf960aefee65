"""Asks other servers what is no container's name: over UDP what came by UDP, over TCP what came by TCP.

Servers are tried one after another. An answer is handed on byte for byte, truncated ones too: the client asks
again over TCP then. Each question has a socket of its own, so its port is as hard to guess as the kernel's
ports are. Numbers and codes are libnetwork's (resolver.go).
"""

from __future__ import annotations

import _socket
import fcntl
import os
import socket
from collections import deque

from runtime import syscalls
from runtime.resolver import message
from runtime.resolver.deadlines import Deadlines
from runtime.shim.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from runtime.resolver.answers import Server
    from runtime.shim.loop import Loop

SECONDS = 4.0
#: Of one container: questions under way, and as many that wait for up to `SECONDS` before they are refused.
MOST_ASKED = 1024
_SIOCGSKNS = 0x894C  # linux/sockios.h: the network namespace of a socket


class Lane:
    """What one container asks. `inside` is a socket in its network namespace."""

    def __init__(self, inside: int) -> None:
        self.inside = inside
        self.asked: set[Question] = set()
        self.waiting: deque[Question] = deque()
        self.waking = False


class Question:
    """One query on its way; `reply` gets the answer, at most once."""

    __slots__ = ("_received", "lane", "query", "reply", "sent", "servers", "sock", "tcp")

    def __init__(
        self,
        lane: Lane,
        query: message.Query,
        servers: list[Server],
        tcp: bool,
        reply: Callable[[bytes], None],
    ) -> None:
        self.lane = lane
        self.query = query
        self.servers: Iterator[Server] = iter(servers)
        self.tcp = tcp
        self.reply = reply
        self.sock: socket.socket | None = None
        self.sent = False
        self._received = b""

    def connect(self, home: int) -> socket.socket | None:
        """Turn to the next server, None when there is none left; over UDP the query is sent."""
        for server in self.servers:
            try:
                self.sock = _socket_for(server, self.lane.inside, self.tcp, home)
                if self.tcp:
                    _begin_connecting(self.sock, server)
                else:
                    self.sock.connect((server.address, server.port))
                    self.send()
                return self.sock
            except OSError:
                self.close()
        return None

    def send(self) -> None:
        """Send the query over a socket that is connected. Raises OSError."""
        assert self.sock is not None
        if error := self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            raise OSError(error, "connect")
        raw = self.query.raw
        self.sock.send(len(raw).to_bytes(2, "big") + raw if self.tcp else raw)  # fits an empty buffer
        self.sent = True

    def receive(self) -> bytes | None:
        """The whole answer, None when it has yet to come. Raises OSError."""
        assert self.sock is not None
        data = self.sock.recv(message.MOST)
        if self.tcp:
            if not data:
                raise ConnectionResetError
            self._received += data
            length = int.from_bytes(self._received[:2], "big")
            if len(self._received) < 2 + length:
                return None
            data = self._received[2 : 2 + length]
        # Over UDP somebody else's is left unheard.
        return data if message.answers_to(self.query, data) else None

    def close(self) -> None:
        """Close the socket; the loop must have forgotten it."""
        self._received = b""
        self.sent = False
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Forwarder:
    """All questions of the process; at most `most` sockets are open for them."""

    def __init__(self, loop: Loop, most: int) -> None:
        """Raises OSError."""
        self._loop = loop
        self._most = most
        self._open = 0
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._patience = Deadlines(loop, SECONDS, self._late)

    def ask(
        self,
        lane: Lane,
        query: message.Query,
        servers: list[Server],
        reply: Callable[[bytes], None],
        *,
        tcp: bool,
    ) -> None:
        """Answer by `reply(bytes)`: at once when nobody can be asked, else later."""
        question = Question(lane, query, servers, tcp, reply)
        if not servers:
            reply(message.failure(query, message.SERVFAIL))
        elif self._has_room(lane):
            self._begin(question)
        elif len(lane.waiting) < MOST_ASKED:
            lane.waiting.append(question)
            self._patience.start(question)
        else:
            reply(message.failure(query, message.REFUSED))

    def drop(self, lane: Lane) -> None:
        """The container has ended: nobody waits for answers."""
        for question in lane.waiting:
            self._patience.stop(question)
        lane.waiting.clear()
        for question in tuple(lane.asked):
            self._leave(question)

    def _has_room(self, lane: Lane) -> bool:
        return len(lane.asked) < MOST_ASKED and self._open < self._most

    def _begin(self, question: Question) -> None:
        question.lane.asked.add(question)
        self._open += 1
        self._next(question)

    def _next(self, question: Question) -> None:
        self._close(question)
        sock = question.connect(self._home)
        if sock is None:
            self._finish(question, message.failure(question.query, message.SERVFAIL))
            return
        self._patience.start(question)
        events = WRITE if question.tcp else READ
        self._loop.watch(sock.fileno(), events, lambda events: self._ready(question))

    def _ready(self, question: Question) -> None:
        assert question.sock is not None
        try:
            if not question.sent:
                question.send()
                self._patience.start(question)
                self._loop.watch(question.sock.fileno(), READ, lambda events: self._ready(question))
                return
            answer = question.receive()
        except BlockingIOError:
            return
        except OSError:
            self._next(question)
            return
        if answer is None:
            return
        if message.code(answer) in (message.SERVFAIL, message.REFUSED):
            self._next(question)
        else:
            self._finish(question, answer)

    def _late(self, item: Hashable) -> None:
        assert isinstance(item, Question)
        if item in item.lane.asked:
            self._next(item)
        else:
            item.lane.waiting.remove(item)
            item.reply(message.failure(item.query, message.REFUSED))

    def _finish(self, question: Question, answer: bytes) -> None:
        lane = question.lane
        self._leave(question)
        question.reply(answer)
        if lane.waking:
            return  # further up, for each of those that wait may fail at once
        lane.waking = True
        while lane.waiting and self._has_room(lane):
            self._begin(lane.waiting.popleft())
        lane.waking = False

    def _leave(self, question: Question) -> None:
        self._close(question)
        self._patience.stop(question)
        question.lane.asked.discard(question)
        self._open -= 1

    def _close(self, question: Question) -> None:
        if question.sock is not None:
            self._loop.forget(question.sock.fileno())
            question.close()


def _socket_for(server: Server, inside: int, tcp: bool, home: int) -> socket.socket:
    """A socket in the host's network namespace or the container's. Raises OSError."""
    family = _socket.AF_INET6 if ":" in server.address else _socket.AF_INET
    kind = (_socket.SOCK_STREAM if tcp else _socket.SOCK_DGRAM) | _socket.SOCK_NONBLOCK
    if server.from_host:
        return socket.socket(family, kind)
    netns = fcntl.ioctl(inside, _SIOCGSKNS)
    try:
        syscalls.setns(netns, syscalls.CLONE_NEWNET)
        try:
            return socket.socket(family, kind)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(netns)


def _begin_connecting(sock: socket.socket, server: Server) -> None:
    try:
        sock.connect((server.address, server.port))
    except BlockingIOError:
        pass  # EINPROGRESS

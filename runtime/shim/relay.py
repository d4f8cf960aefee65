"""Carries what the kernel cannot translate between a host port and a container, in a process of its own.

That is IPv6 to a container with IPv4 only, `::1`, and with `"firewall": "respect-host"` (or without
iptables) everything. The container sees the host as the client.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import time

from runtime import syscalls
from runtime.shim import signals
from runtime.shim.title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_PDEATHSIG = 1
_CHUNK, _PIPE = 256 * 1024, 1024 * 1024
_NONBLOCK = 2  # SPLICE_F_NONBLOCK
#: Seconds without a client after which the process ends, and without a datagram after which UDP is forgotten.
IDLE, UDP_IDLE = 30.0, 90.0
_CONNECT = 10.0  # seconds to wait for the container
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR


class Relay:
    """One epoll loop for all sockets. `targets`: listening descriptor to the container's address and port."""

    def __init__(self, targets: dict[int, tuple[str, int]]) -> None:
        self.targets = targets
        self.epoll = select.epoll()
        self.handlers: dict[int, Any] = {}
        self.active: set[Any] = set()
        self._quiet_since = time.monotonic()
        self._forgotten: set[int] = set()
        for fd, target in targets.items():
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            kind = Datagrams if sock.type == socket.SOCK_DGRAM else Listener
            self.watch(fd, _IN, kind(self, sock, target).ready)

    def watch(self, fd: int, events: int, handler: Any) -> None:
        """Call `handler(fd, events)`; again for a watched one changes both."""
        if fd in self.handlers:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self.handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch no longer; before it is closed."""
        if self.handlers.pop(fd, None) is not None:
            self.epoll.unregister(fd)
            self._forgotten.add(fd)

    def turn(self) -> float:
        """Wait a second at most and handle what there is; answers for how long nobody has been there."""
        self._forgotten.clear()
        for fd, events in self.epoll.poll(1.0):
            # Not for a descriptor whose number was given anew in the meantime.
            if fd not in self._forgotten:
                self.handlers[fd](fd, events)
        now = time.monotonic()
        for one in tuple(self.active):
            one.tick(now)
        if self.active:
            self._quiet_since = now
        return now - self._quiet_since

    def run(self) -> None:
        """Serve until nobody has been there for a while."""
        while self.turn() < IDLE:
            pass


class Listener:
    """A listening socket of a stream protocol."""

    def __init__(self, relay: Relay, sock: socket.socket, target: tuple[str, int]) -> None:
        self._relay = relay
        self._sock = sock
        self._target = target

    def ready(self, fd: int, events: int) -> None:
        """Take all clients that wait."""
        for _ in range(64):
            try:
                client, _ = self._sock.accept()
            except OSError:
                return  # none left, or one that has gone
            try:
                self._relay.active.add(Stream(self._relay, client, self._sock.proto, self._target))
            except OSError:
                client.close()


class Way:
    """One direction of a connection: what has come from `source` and is still to go to `target`."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source.fileno()
        self._from, self._to = source, target
        self.ended = False  # nothing more will come
        self._pending = b""

    @property
    def waiting(self) -> int:
        """How many bytes are to go."""
        return len(self._pending)

    def read(self) -> None:
        """Take what there is. Raises OSError."""
        try:
            self._pending = self._from.recv(_CHUNK)
        except BlockingIOError:
            return
        self.ended = not self._pending

    def write(self) -> None:
        """Let go what can. After the last of it the target hears of the end. Raises OSError."""
        try:
            if self.waiting:
                self._send()
        except BlockingIOError:
            return
        if self.ended and not self.waiting:
            try:
                self._to.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    raise

    def _send(self) -> None:
        self._pending = self._pending[self._to.send(self._pending) :]

    def close(self) -> None:
        """Gives back what it has of its own."""


class SplicedWay(Way):
    """Through a pipe, so that the bytes stay in the kernel."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        super().__init__(source, target)
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._count = 0
        try:
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE)
        except OSError:
            pass  # over the user's limit: slower, no worse

    @property
    def waiting(self) -> int:
        return self._count

    def read(self) -> None:
        try:
            self._count = os.splice(self.source, self._in, _PIPE, flags=_NONBLOCK)
        except BlockingIOError:
            return
        self.ended = not self._count

    def _send(self) -> None:
        self._count -= os.splice(self._out, self._to.fileno(), self._count, flags=_NONBLOCK)

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)


class Stream:
    """A client and its connection to the container; each way ends by itself, as TCP's do."""

    def __init__(self, relay: Relay, client: socket.socket, protocol: int, target: tuple[str, int]) -> None:
        self._relay = relay
        self._born = time.monotonic()
        self._connected = False
        server = socket.socket(family_of(target[0]), socket.SOCK_STREAM, protocol)
        self._sockets = (client, server)
        for sock in self._sockets:
            sock.setblocking(False)
            if protocol == socket.IPPROTO_TCP:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            code = server.connect_ex(target)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            kind = SplicedWay if protocol == socket.IPPROTO_TCP else Way
            there, back = kind(client, server), kind(server, client)
        except OSError:
            server.close()
            raise
        # By descriptor: what comes from there, and what goes there.
        self._from = {there.source: there, back.source: back}
        self._to = {there.source: back, back.source: there}
        relay.watch(server.fileno(), _OUT, self.ready)

    def tick(self, now: float) -> None:
        """Give up a container that does not answer."""
        if not self._connected and now - self._born > _CONNECT:
            self.close(reset=True)

    def ready(self, fd: int, events: int) -> None:
        """Something can go on at one of the two ends."""
        try:
            if not self._connected:
                self._finish_connect()
            elif events & _OUT:
                self._to[fd].write()
            way = self._from[fd]
            if self._connected and events & (_IN | _GONE) and not way.ended and not way.waiting:
                way.read()
                way.write()
            if all(w.ended and not w.waiting for w in self._from.values()):
                self.close()
            else:
                self._watch()
        except OSError:
            self.close(reset=True)

    def _finish_connect(self) -> None:
        code = self._sockets[1].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self._connected = True

    def _watch(self) -> None:
        for fd, way in self._from.items():
            wanted = 0 if way.waiting or way.ended else _IN
            wanted |= _OUT if self._to[fd].waiting else 0
            if wanted:
                self._relay.watch(fd, wanted, self.ready)
            else:
                self._relay.forget(fd)  # or a hang-up would be told for ever

    def close(self, *, reset: bool = False) -> None:
        """End both; `reset` tells the client that it went wrong."""
        self._relay.active.discard(self)
        for way in self._from.values():
            way.close()
        for sock in self._sockets:
            self._relay.forget(sock.fileno())
            if reset:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                except OSError:
                    pass
            sock.close()


class Datagrams:
    """A UDP socket; each client (with the address that it asked) has a socket to the container."""

    def __init__(self, relay: Relay, sock: socket.socket, target: tuple[str, int]) -> None:
        self._relay = relay
        self._sock = sock
        self._target = target
        self._flows: dict[Any, Flow] = {}

    def ready(self, fd: int, events: int) -> None:
        """Take what has come, some at a time."""
        for _ in range(64):
            try:
                data, ancillary, _, client = self._sock.recvmsg(65536, 128)
            except OSError:
                return
            reply = _reply_from(ancillary)
            key = (client, reply[0][2] if reply else b"")
            flow = self._flows.get(key)
            if flow is None:
                try:
                    flow = Flow(self._relay, self, key, self._target, reply)
                except OSError:
                    continue
                self._flows[key] = flow
                self._relay.active.add(flow)
            flow.forward(data)

    def answer(self, flow: Flow, data: bytes) -> None:
        """From the address that the client knows."""
        try:
            self._sock.sendmsg([data], flow.reply, 0, flow.key[0])
        except OSError:
            pass  # as the network loses datagrams

    def end(self, flow: Flow) -> None:
        """It has been silent for long."""
        self._flows.pop(flow.key, None)


class Flow:
    """One client's datagrams."""

    def __init__(
        self, relay: Relay, owner: Datagrams, key: Any, target: tuple[str, int], reply: list[Any]
    ) -> None:
        self._relay = relay
        self._owner = owner
        self.key = key
        self.reply = reply
        self._last = time.monotonic()
        self._sock = socket.socket(family_of(target[0]), socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            self._sock.connect(target)
        except OSError:
            self._sock.close()
            raise
        relay.watch(self._sock.fileno(), _IN, self.ready)

    def forward(self, data: bytes) -> None:
        """To the container."""
        self._last = time.monotonic()
        try:
            self._sock.send(data)
        except OSError:
            pass

    def ready(self, fd: int, events: int) -> None:
        """From the container."""
        for _ in range(64):
            try:
                data = self._sock.recv(65536)
            except OSError:
                return
            self._last = time.monotonic()
            self._owner.answer(self, data)

    def tick(self, now: float) -> None:
        """Forget it when it is silent."""
        if now - self._last > UDP_IDLE:
            self._relay.active.discard(self)
            self._owner.end(self)
            self._relay.forget(self._sock.fileno())
            self._sock.close()


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _reply_from(ancillary: list[tuple[int, int, bytes]]) -> list[Any]:
    """What makes the answer come from the address that the datagram was for (ip(7), ipv6(7))."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, 8):  # in_pktinfo: index, address to send from, destination
            return [(level, kind, bytes(4) + data[8:12] + bytes(4))]
        if (level, kind) == (socket.IPPROTO_IPV6, 50):  # in6_pktinfo: address, index
            link_local = data[:1] == b"\xfe" and data[1] & 0xC0 == 0x80
            return [(level, kind, data if link_local else data[:16] + bytes(4))]
    return []


def main(targets: dict[int, tuple[str, int]]) -> None:
    """Be the relay of these listening descriptors; everything else that was the shim's is closed."""
    shim = os.getppid()
    signals.set_wakeup_fd(-1)
    for number in (signals.SIGCHLD, signals.SIGINT):
        signals.handle(number, signals.SIG_DFL)
    syscalls.prctl(_PR_SET_PDEATHSIG, signals.SIGKILL)
    if os.getppid() != shim:
        return
    low = 3
    for fd in sorted(targets):
        if fd > low:
            syscalls.close_range(low, fd - 1)
        low = fd + 1
    syscalls.close_range(low)
    set_title("compatd-relay", "compatd-relay")
    Relay(targets).run()

"""The host ports of a container: bound sockets that keep others off them.

The kernel translates what arrives for most of them. Those that it cannot (docs/firewall.md) have a relay:
their sockets listen, and the first client that comes makes the shim fork one process, which serves all of
them until nobody has been there for a while.
"""

from __future__ import annotations

import os
import select
import socket
import sys

from runtime.shim import signals, wire
from runtime.shim.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Protocol, host address, host port.
    Port = tuple[str, str, int]

_PROTOCOLS = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", 132: "sctp"}
_SO_DETACH_FILTER = 27
_BACKLOG = 512


class Holds:
    """Holds sockets by their descriptors, which it owns."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._fds: dict[Port, int] = {}
        self._targets: dict[Port, tuple[str, int]] = {}
        self._ready: select.epoll | None = None  # readable when a client comes
        self._relay = 0  # the process's PID

    def add(self, fds: list[int]) -> None:
        """Take more sockets; what is none is closed."""
        for fd in fds:
            try:
                self._fds[name_of(fd)] = fd
            except OSError as error:
                print(f"shim: a port to hold: {error}", file=sys.stderr)
                wire.close_all([fd])

    def change(self, relays: list[list[Any]], drop: list[list[Any]]) -> None:
        """Let ports go, and have these relays: [protocol, address, port, container's address, its port]."""
        for gone in drop:
            fd = self._fds.pop((gone[0], gone[1], gone[2]), -1)
            if fd >= 0:
                wire.close_all([fd])
        targets = {(r[0], r[1], r[2]): (r[3], r[4]) for r in relays}
        if targets == self._targets and not drop:
            return
        self.stop()
        self._targets = {port: target for port, target in targets.items() if port in self._fds}
        for port in self._targets:
            _listen(self._fds[port], port)
        self._wait()

    def close(self) -> None:
        """Let all go: the container has ended."""
        self.stop()
        wire.close_all(list(self._fds.values()))
        self._fds = {}

    def stop(self) -> None:
        """No relay any more; one that runs is ended, with the connections that it serves."""
        self._forget()
        if self._relay:
            pid, self._relay = self._relay, 0
            try:
                os.kill(pid, signals.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass

    def reaped(self, pid: int) -> bool:
        """Whether that was the relay; if so, the shim waits for clients again."""
        if pid != self._relay:
            return False
        self._relay = 0
        self._wait()
        return True

    def _wait(self) -> None:
        if not self._targets:
            return
        # One descriptor in the shim's loop, however many ports there are.
        self._ready = select.epoll()
        for port in self._targets:
            self._ready.register(self._fds[port], select.EPOLLIN)
        self._loop.watch(self._ready.fileno(), READ, self._came)

    def _forget(self) -> None:
        if self._ready is not None:
            self._loop.forget(self._ready.fileno())
            self._ready.close()
            self._ready = None

    def _came(self, events: int) -> None:
        self._forget()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"shim: starting a relay: {error}", file=sys.stderr)
            self._loop.later(1.0, self._wait)
            return
        if pid == 0:
            try:
                from runtime.shim import relay

                relay.main({self._fds[port]: target for port, target in self._targets.items()})
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        self._relay = pid


def name_of(fd: int) -> Port:
    """Protocol, address and port of a bound socket. Raises OSError."""
    sock = socket.socket(fileno=fd)
    try:
        address = sock.getsockname()
        return _PROTOCOLS.get(sock.proto, ""), sys.intern(str(address[0])), int(address[1])
    finally:
        sock.detach()


def _listen(fd: int, port: Port) -> None:
    sock = socket.socket(fileno=fd)
    try:
        if sock.type == socket.SOCK_DGRAM:
            # While nobody read them, datagrams were to be dropped.
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            except OSError:
                pass  # it had no filter
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, 49, 1)  # IPV6_RECVPKTINFO
            else:
                sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        else:
            sock.listen(_BACKLOG)
    except OSError as error:
        print(f"shim: listening on {port}: {error}", file=sys.stderr)
    finally:
        sock.detach()

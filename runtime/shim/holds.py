"""The host ports of a container: bound sockets that keep others off them.

The kernel translates what arrives for most clients. For those that it cannot serve (docs/firewall.md) the
sockets listen, and the first client that comes makes the shim fork one process, the relay, which serves all
of them until nobody has been there for a while. Which port leads where is in the bundle's file `relays`, read
by that process alone: a container with a thousand ports has a shim that is hardly larger than another's.
"""

from __future__ import annotations

import _socket
import array
import os
import select
import sys

from runtime.shim import files, signals, wire
from runtime.shim.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    #: Protocol, host address, host port.
    Port = tuple[str, str, int]

FILE = "relays"
_PROTOCOLS = {_socket.IPPROTO_TCP: "tcp", _socket.IPPROTO_UDP: "udp", 132: "sctp"}
_SO_DETACH_FILTER = 27
_BACKLOG = 512


class Holds:
    """Holds sockets by their descriptors, which it owns."""

    def __init__(self, loop: Loop, bundle: str) -> None:
        self._loop = loop
        self._file = os.path.join(bundle, FILE)
        self._fds = array.array("i")
        self._relayed = False
        self._ready: select.epoll | None = None  # readable when a client comes
        self._relay = 0  # the process's PID

    def add(self, fds: list[int], *, relayed: bool) -> None:
        """Take more sockets. `relayed`: they listen, and `relays` says for what."""
        self._fds.extend(fds)
        self.stop()
        self._relayed = relayed
        if relayed:
            for fd in fds:
                _listen(fd)
        self._wait()

    def change(self, fds: list[int], relays: list[list[Any]], drop: list[list[Any]]) -> None:
        """More ports, fewer, and these relays: [protocol, address, port, container's address, its port]."""
        try:
            files.write_json(self._file, relays)
        except OSError:
            wire.close_all(fds)
            raise
        gone = {(port[0], port[1], port[2]) for port in drop}
        if gone:
            self.stop()
            kept = array.array("i")
            for fd in self._fds:
                if name_of(fd) in gone:
                    wire.close_all([fd])
                else:
                    kept.append(fd)
            self._fds = kept
        self.add(fds, relayed=bool(relays))

    def close(self) -> None:
        """Let all go: the container has ended."""
        self.stop()
        wire.close_all(self._fds.tolist())
        self._fds = array.array("i")

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
        if not self._relayed or not self._fds or self._relay or self._ready is not None:
            return
        # One descriptor in the shim's loop, however many ports there are.
        self._ready = select.epoll()
        for fd in self._fds:
            try:
                self._ready.register(fd, select.EPOLLIN)
            except OSError:
                pass  # it was no socket, as has been said
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

                relay.main(targets(self._fds, files.read_json(self._file)))
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        self._relay = pid


def targets(fds: Iterable[int], relays: Iterable[list[Any]]) -> dict[int, tuple[str, int]]:
    """Where each of these sockets leads; those that lead nowhere are left out."""
    ways = {(r[0], r[1], r[2]): (r[3], r[4]) for r in relays}
    found = {}
    for fd in fds:
        name = name_of(fd)
        # An SCTP socket that listens may name the address that its first client came to.
        any_address = (name[0], "::" if ":" in name[1] else "0.0.0.0", name[2])
        way = ways.get(name) or ways.get(any_address)
        if way is not None:
            found[fd] = way
    return found


def name_of(fd: int) -> Port:
    """Protocol, address and port of a bound socket; empty for what is none."""
    try:
        sock = _socket.socket(fileno=fd)  # not the module `socket`'s, whose enums take their time
    except OSError:
        return "", "", 0
    try:
        address = sock.getsockname()
        return _PROTOCOLS.get(sock.proto, ""), str(address[0]), int(address[1])
    except OSError:
        return "", "", 0
    finally:
        sock.detach()


def _listen(fd: int) -> None:
    try:
        sock = _socket.socket(fileno=fd)
    except OSError as error:
        print(f"shim: a port to hold: {error}", file=sys.stderr)
        return
    try:
        if sock.type == _socket.SOCK_DGRAM:
            # While nobody read them, datagrams were to be dropped.
            try:
                sock.setsockopt(_socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            except OSError:
                pass  # it had no filter
            if sock.family == _socket.AF_INET6:
                sock.setsockopt(_socket.IPPROTO_IPV6, 49, 1)  # IPV6_RECVPKTINFO
            else:
                sock.setsockopt(_socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        else:
            sock.listen(_BACKLOG)
            # Its connections have this from it: when they have ended, the port can be had again at once.
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    except OSError as error:
        print(f"shim: listening on {sock.getsockname()}: {error}", file=sys.stderr)
    finally:
        sock.detach()

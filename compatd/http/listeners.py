"""The sockets that an engine listens on: unix (0660), tcp, and those that systemd hands over."""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

BACKLOG = 4096
KEEPALIVE = 15  # seconds between probes of a silent TCP client
_LISTEN_FDS_START = 3
_LAST_PORT = 65535


class UnixListener(socket.socket):
    """A unix socket bound by us; its file goes when the server stops."""

    path = ""
    inode = 0

    def unlink(self) -> None:
        """Removes the socket's file, unless another one has taken its place."""
        try:
            if self.path and os.lstat(self.path).st_ino == self.inode:
                Path(self.path).unlink()
        except FileNotFoundError:
            pass


def listen(address: str, *, group: str | None = "docker") -> list[socket.socket]:
    """Bound and listening, non-blocking sockets for one ``-H`` address.

    address: ``unix:///path``, ``tcp://host:port`` (of a name the first IPv4 address), ``fd://`` (all
        sockets of LISTEN_FDS), ``fd://3`` (one by its number) or ``fd://name`` (by its name).
    group: owner group of a unix socket, by name or number; a missing default group is not an error.
    Raises OSError when the address can't be used, ValueError when it makes no sense.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise ValueError(f"invalid bind address ({address}): expected unix://, tcp:// or fd://")
    match scheme:
        case "unix":
            return [_unix(rest, group)]
        case "tcp":
            return _tcp(rest)
        case "fd":
            return _inherited(rest)
    raise ValueError(f"invalid bind address ({address}): unsupported proto: {scheme}")


def _unix(path: str, group: str | None) -> socket.socket:
    abstract = path.startswith("@")
    sock = UnixListener(socket.AF_UNIX)
    try:
        if not abstract:
            _remove_stale(path)
        old = os.umask(0o777)  # nobody may connect before owner and mode are right
        try:
            sock.bind("\0" + path[1:] if abstract else path)
        except OSError as error:
            why = (error.strerror or "invalid argument").lower()  # a path that is too long has no number
            raise _cannot(error.errno or errno.EINVAL, path, f": listen unix {path}: bind: {why}") from None
        finally:
            os.umask(old)
        if not abstract:
            os.chown(path, 0 if os.geteuid() == 0 else -1, _group_id(group))
            Path(path).chmod(0o660)
            sock.path, sock.inode = path, os.lstat(path).st_ino
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _remove_stale(path: str) -> None:
    """Removes a socket that nobody listens on. One that answers, or another kind of file, is an error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except NotADirectoryError:
        return  # bind(2) says so
    if stat.S_ISDIR(mode):
        raise _cannot(errno.EISDIR, path, ": is a directory")
    if not stat.S_ISSOCK(mode):
        raise _cannot(errno.EEXIST, path, ": not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
    raise _cannot(errno.EADDRINUSE, path, ": address already in use")


def _cannot(number: int, path: str, why: str) -> OSError:
    return OSError(number, f"can't create unix socket {path}{why}")


def _group_id(group: str | None) -> int:
    if not group:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isdigit():
            return int(group)
        if group != "docker":
            raise ValueError(f"group {group} not found") from None
        log.warning("could not change group of the API socket to docker: group docker not found")
        return -1


def _tcp(rest: str) -> list[socket.socket]:
    host, _, port = rest.rstrip("/").rpartition(":")
    if not port.isdigit():
        raise ValueError(f"invalid bind address (tcp://{rest}): no port")
    if int(port) > _LAST_PORT:
        raise ValueError(f"listen tcp: address {int(port)}: invalid port")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        log.error(
            "Error looking up specified host address",
            extra={"fields": {"error": f"lookup {host}: {(error.strerror or '').lower()}", "host": host}},
        )
        raise ValueError(f"failed to lookup {host} address in host specification") from None
    # All addresses: one socket for both families. Of a name's addresses the first of IPv4, as Go does it.
    first = socket.AF_INET if host else socket.AF_INET6
    found = sorted(found, key=lambda info: info[0] != first)[:1]
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit these: a client whose machine went away is noticed, as by Go's server.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host else 0)
            _bind(sock, where)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(sock: socket.socket, where: tuple[Any, ...]) -> None:
    """Raises OSError with the text of Go's net.Listen."""
    try:
        sock.bind(where)
    except OSError as error:
        host = f"[{where[0]}]" if ":" in where[0] else where[0]
        why = (error.strerror or "").lower()
        raise OSError(error.errno, f"listen tcp {host}:{where[1]}: bind: {why}") from None


def _inherited(rest: str) -> list[socket.socket]:
    from systemd.daemon import listen_fds_with_names

    names: dict[int, str] = dict(listen_fds_with_names(unset_environment=False))
    if not names:
        raise ValueError(
            "no sockets found via socket activation: make sure the service was started by systemd"
        )
    if rest and rest != "*":
        if rest.isdigit():
            wanted = int(rest) if int(rest) >= _LISTEN_FDS_START else int(rest) + _LISTEN_FDS_START
            names = {fd: name for fd, name in names.items() if fd == wanted}
        else:
            names = {fd: name for fd, name in names.items() if name == rest}
        if not names:
            raise ValueError(f"failed to find {rest} among the sockets of socket activation")
    sockets = []
    for fd in names:
        sock = socket.socket(fileno=os.dup(fd))
        sock.setblocking(False)
        sockets.append(sock)
    return sockets

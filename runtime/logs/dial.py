"""Reaching a log server: names to addresses, sockets to them, failures in the words of Go's net package."""

from __future__ import annotations

import os
import socket

from runtime.logs.base import LogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Family and address, as socket.socket() and connect() take them.
    Place = tuple[int, Any]

#: Kinds of networks: Go's names, and the kind of socket.
KINDS = {
    "tcp": socket.SOCK_STREAM,
    "tcp+tls": socket.SOCK_STREAM,
    "udp": socket.SOCK_DGRAM,
    "unix": socket.SOCK_STREAM,
    "unixgram": socket.SOCK_DGRAM,
}
#: ms after which data that a server does not acknowledge makes the connection a broken one (tcp(7)).
_USER_TIMEOUT = 30_000


def plain(network: str) -> str:
    """The network's name in error texts."""
    return "tcp" if network == "tcp+tls" else network


def reason(error: OSError) -> str:
    """An error's text as Go prints it."""
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def split(address: str) -> tuple[str, str]:
    """`host:port` or `[v6]:port` in parts."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def resolve(network: str, address: str) -> list[Place]:
    """The places that an address stands for; may take long. Raises LogError."""
    if network.startswith("unix"):
        if not address:
            raise LogError(f"dial {network}: missing address")
        return [(socket.AF_UNIX, address)]
    host, port = split(address)
    if port.isdecimal() and int(port) > 65535:
        raise LogError(f"dial {plain(network)}: address {port}: invalid port")
    try:
        # As bytes: a str would load the idna codec and unicodedata, 1 MB.
        found = socket.getaddrinfo((host or "localhost").encode(), port, 0, KINDS[network])
    except socket.gaierror as error:
        text = "no such host" if error.errno == socket.EAI_NONAME else str(error.strerror).lower()
        raise LogError(f"dial {plain(network)}: lookup {host}: {text}") from None
    return [(family, place) for family, _, _, _, place in found]


def is_numeric(network: str, address: str) -> bool:
    """Whether `resolve` needs to ask nobody."""
    if network.startswith("unix"):
        return True
    host, port = split(address)
    try:
        socket.getaddrinfo(
            (host or "127.0.0.1").encode(),
            port,
            0,
            KINDS[network],
            0,
            socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
    except socket.gaierror:
        return False
    return True


def open_socket(network: str, place: Place) -> socket.socket:
    """A socket of the right kind, not connected. Raises OSError."""
    sock = socket.socket(place[0], KINDS[network])
    if KINDS[network] == socket.SOCK_STREAM and place[0] != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def dial(network: str, address: str, timeout: float | None = None) -> socket.socket:
    """A connected, non-blocking socket; the first place that answers. Raises LogError in Go's words."""
    failure = ""
    for place in resolve(network, address):
        try:
            sock = open_socket(network, place)
        except OSError as error:
            failure = failure or f"dial {plain(network)} {shown(place)}: socket: {reason(error)}"
            continue
        sock.settimeout(timeout)
        try:
            sock.connect(place[1])
        except TimeoutError as error:
            what = f"connect: {reason(error)}" if error.errno else "i/o timeout"
            failure = failure or f"dial {plain(network)} {shown(place)}: {what}"
        except OSError as error:
            failure = failure or f"dial {plain(network)} {shown(place)}: connect: {reason(error)}"
        else:
            sock.setblocking(False)
            return sock
        sock.close()
    raise LogError(failure)


def shown(place: Place) -> str:
    """A place as Go prints it."""
    if place[0] == socket.AF_UNIX:
        return str(place[1])
    host, port = place[1][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""Host ports: which are given out, and the bound sockets that keep other programs off them."""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from compatd.engine.errors import EngineError, InvalidParameter
from compatd.engine.networks.model import Publication

ANY4, ANY6 = "0.0.0.0", "::"
_ATTEMPTS = 10
_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, 132),
}
_SO_ATTACH_FILTER = 26


class AllAllocated(EngineError):
    """Every port of the range asked for is given out."""


class Request(NamedTuple):
    """One container port to publish at one host port, the same on all `host_ips`."""

    host_ips: tuple[str, ...]
    first: int  # 0: any of the ephemeral range
    last: int
    protocol: str
    container_port: int

    @property
    def exact(self) -> bool:
        """Whether there is no choice."""
        return self.first != 0 and self.first == self.last


def parse_key(key: str) -> tuple[int, str]:
    """`80/tcp` or `80` as port and protocol. Raises InvalidParameter."""
    port, _, protocol = key.partition("/")
    protocol = (protocol or "tcp").lower()
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidParameter(f"invalid containerPort: {port}")
    if protocol not in _KINDS:
        raise InvalidParameter(f"invalid proto: {protocol}")
    return int(port), protocol


def normal_key(key: str) -> str:
    """`80` as `80/tcp`. Raises InvalidParameter."""
    port, protocol = parse_key(key)
    return f"{port}/{protocol}"


def requests(
    host_config: Mapping[str, Any], exposed: Iterable[str], default_ip: str, *, ipv6: bool
) -> list[Request]:
    """What a container's HostConfig asks for: PortBindings, and with PublishAllPorts each exposed port.

    Exact ports come before ranges, which could else take them. Raises InvalidParameter.
    """
    bindings: dict[str, list[Any]] = {
        normal_key(k): list(v or []) for k, v in (host_config.get("PortBindings") or {}).items()
    }
    if host_config.get("PublishAllPorts"):
        for key in exposed:
            bindings.setdefault(key, [])
            bindings[key] = bindings[key] or [{}]
    # Bindings that differ in the host's address only get one port on all of these, as in dockerd.
    found: dict[tuple[int, int, str, int], dict[str, None]] = {}
    for key, wanted in bindings.items():
        port, protocol = parse_key(key)
        for b in wanted:
            first, last = _range(str(b.get("HostPort") or ""))
            ips = _host_ips(str(b.get("HostIp") or ""), default_ip, ipv6=ipv6)
            found.setdefault((first, last, protocol, port), {}).update(dict.fromkeys(ips))
    made = [Request(tuple(ips), *rest) for rest, ips in found.items()]
    return sorted(made, key=lambda r: (not r.exact, r.container_port, r.protocol, r.first, r.last))


def _range(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InvalidParameter(f"invalid port specification: {text}")
    low, high = int(first), int(last or first)
    if high < low or high > 65535:
        raise InvalidParameter(f"invalid port specification: {text}")
    return low, high


def _host_ips(host_ip: str, default: str, *, ipv6: bool) -> tuple[str, ...]:
    if host_ip:
        try:
            address = ipaddress.ip_address(host_ip.strip("[]"))
            # An IPv4 address in IPv6's clothes is that IPv4 address.
            return (str(getattr(address, "ipv4_mapped", None) or address),)
        except ValueError:
            raise InvalidParameter(f"invalid IP address: {host_ip}") from None
    if default and default != ANY4:
        return (default,)
    return (ANY4, ANY6) if ipv6 else (ANY4,)


class PortAllocator:
    """Gives out host ports. A port on 0.0.0.0 excludes it on every IPv4 address, and so with ::."""

    def __init__(self) -> None:
        self.begin, self.end = _ephemeral_range()
        self._reserved = _kernel_reserved()
        self._taken: dict[tuple[str, str], set[int]] = {}
        self._last: dict[tuple[str, str, int, int], int] = {}

    def allocate(self, request: Request) -> tuple[list[Publication], list[socket.socket]]:
        """Takes a port and binds it. Raises EngineError with dockerd's reason:
        `Bind for 0.0.0.0:80 failed: port is already allocated` when a container has it,
        `failed to bind host port 0.0.0.0:80/tcp: address already in use` when a program has it."""
        for attempt in range(1, _ATTEMPTS + 1):
            port = self._choose(request)
            try:
                sockets = _hold_all(request, port)
            except EngineError:
                if request.exact or attempt == _ATTEMPTS:
                    raise
                continue
            made = [
                Publication(ip, port, request.protocol, request.container_port) for ip in request.host_ips
            ]
            for p in made:
                self.mark(p)
            return made, sockets
        raise AllAllocated("all ports are allocated")

    def mark(self, publication: Publication) -> None:
        """Counts a port as given out, without binding it (its holder lives already)."""
        key = (publication.host_ip, publication.protocol)
        self._taken.setdefault(key, set()).add(publication.host_port)

    def release(self, publication: Publication) -> None:
        """Gives a port back; one that is free is no error."""
        self._taken.get((publication.host_ip, publication.protocol), set()).discard(publication.host_port)

    def _choose(self, request: Request) -> int:
        if request.exact:
            for ip in request.host_ips:
                clash = self._clash(ip, request.protocol, request.first)
                if clash:
                    raise EngineError(f"Bind for {ip}:{request.first} failed: port is already allocated")
            return request.first
        low, high = (request.first, request.last) if request.first else (self.begin, self.end)
        memory = (request.host_ips[0], request.protocol, low, high)
        last = self._last.get(memory, high)
        for step in range(high - low + 1):
            port = low + (last + 1 - low + step) % (high - low + 1)
            if not request.first and port in self._reserved:
                continue
            if not any(self._clash(ip, request.protocol, port) for ip in request.host_ips):
                self._last[memory] = port
                return port
        raise AllAllocated("all ports are allocated")

    def _clash(self, ip: str, protocol: str, port: int) -> bool:
        any_ip = ANY6 if ":" in ip else ANY4
        if port in self._taken.get((ip, protocol), ()) or port in self._taken.get((any_ip, protocol), ()):
            return True
        return ip == any_ip and any(
            port in ports
            for (other, p), ports in self._taken.items()
            if p == protocol and (":" in other) == (":" in ip)
        )


def _hold_all(request: Request, port: int) -> list[socket.socket]:
    held: list[socket.socket] = []
    try:
        for ip in request.host_ips:
            held.append(hold(ip, port, request.protocol))
    except OSError as e:
        for sock in held:
            sock.close()
        shown = f"[{ip}]" if ":" in ip else ip
        reason = os.strerror(e.errno or 0)
        reason = reason[:1].lower() + reason[1:]
        raise EngineError(f"failed to bind host port {shown}:{port}/{request.protocol}: {reason}") from None
    return held


def hold(ip: str, port: int, protocol: str) -> socket.socket:
    """A socket bound to the port, so that no program gets it. Raises OSError.

    A TCP socket does not listen: what reaches it (only IPv6, IPv4 is translated before) is refused at once,
    so that a client that tries ::1 first goes on to 127.0.0.1. It has no SO_REUSEADDR, which would let
    others bind the port too while nobody listens. When only connections in TIME_WAIT stand in the way,
    it has it, and listens.
    """
    kind, number = _KINDS[protocol]
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        return _bind(socket.socket(family, kind, number), ip, port)
    except OSError as e:
        if e.errno != errno.EADDRINUSE or protocol == "udp":
            raise
    sock = socket.socket(family, kind, number)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(sock, ip, port)
    try:
        sock.listen(0)
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, ip: str, port: int) -> socket.socket:
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sock.type == socket.SOCK_DGRAM:
            _drop_everything(sock)
        sock.bind((ip, port))
    except OSError:
        sock.close()
        raise
    return sock


def _drop_everything(sock: socket.socket) -> None:
    """A classic BPF filter of one instruction, `ret 0`: datagrams do not pile up in a socket nobody reads."""
    import ctypes

    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def ipv6_listenable() -> bool:
    """Whether the host has IPv6: only then an unspecific binding is listed on :: too."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _ephemeral_range() -> tuple[int, int]:
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 49153, 65535


def _kernel_reserved() -> set[int]:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_reserved_ports").read_text().strip()
    except OSError:
        return set()
    ports: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        ports.update(range(int(low), int(high or low) + 1))
    return ports

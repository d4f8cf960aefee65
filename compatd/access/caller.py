"""Who is at the other end of a connection."""

import os
import socket
import struct
from typing import Any, NamedTuple

from compatd.config.access import Rule, normal_socket

_SO_PEERGROUPS = 59  # socket(7), include/uapi/asm-generic/socket.h
_CREDENTIALS = struct.Struct("3i")


class Caller(NamedTuple):
    """`socket` is where it came in; uid, gid, pid and groups are the kernel's word (unix(7)), -1 over TCP.

    There `certificate` is the verified client certificate's common name, and `remote` the address.
    """

    socket: str
    uid: int = -1
    gid: int = -1
    pid: int = -1
    groups: frozenset[int] = frozenset()
    certificate: str = ""
    remote: str = ""

    def matches(self, rule: Rule) -> bool:
        """Whether the rule is about this caller."""
        return (
            (not rule.sockets or self.socket in rule.sockets)
            and (not rule.users or self.uid in rule.users)
            and (not rule.groups or bool(rule.groups & (self.groups | {self.gid})))
            and (not rule.certificates or self.certificate in rule.certificates)
        )

    def identity(self, rule: Rule | None) -> str:
        """Whose things it makes. What comes in by a socket with a rule of its own is kept apart."""
        if self.uid >= 0:
            who = f"uid:{self.uid}"
        else:
            who = f"certificate:{self.certificate}" if self.certificate else "tcp"
        return f"{self.socket} {who}" if rule is not None and rule.sockets else who

    def fields(self) -> dict[str, Any]:
        """For a log: what is known."""
        if self.uid >= 0:
            known: dict[str, Any] = {"uid": self.uid, "gid": self.gid, "pid": self.pid}
        else:
            known = {"remote": self.remote}
            if self.certificate:
                known["certificate"] = self.certificate
        return {"socket": self.socket, **known}


def of_transport(transport: Any) -> Caller:
    """The caller of an accepted connection."""
    inner = transport.get_extra_info("socket")
    address = transport.get_extra_info("sockname")
    if isinstance(address, tuple):
        peer = transport.get_extra_info("peername") or ("", 0)
        return Caller(f"tcp:{address[1]}", certificate=_common_name(transport), remote=f"{peer[0]}:{peer[1]}")
    name = address.decode(errors="replace") if isinstance(address, bytes) else str(address or "")
    name = f"@{name[1:]}" if name.startswith("\0") else name
    with socket.socket(fileno=os.dup(inner.fileno())) as sock:
        pid, uid, gid = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        groups = _groups(sock)
    return Caller(normal_socket(name), uid, gid, pid, groups)


def _groups(sock: socket.socket) -> frozenset[int]:
    """The supplementary groups that the peer had when it connected."""
    for room in (1024, 65536 * 4):
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, room)
        except OSError:
            continue
        return frozenset(group for (group,) in struct.iter_unpack("I", raw[: len(raw) // 4 * 4]))
    return frozenset()


def _common_name(transport: Any) -> str:
    certificate = transport.get_extra_info("peercert") or {}
    for part in certificate.get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""

"""journald's native protocol, with Docker Engine's field names (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.logs.messages import Message

_PRIORITIES = {1: b"6", 2: b"3"}  # informational, error
_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF  # fcntl(2)


def field(name: bytes, value: bytes) -> bytes:
    """One field; a value of several lines goes with its length."""
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def rfc3339(at: int) -> bytes:
    """A moment (ns) in UTC, zeros at the fraction's end cut."""
    seconds, fraction = divmod(at, 1_000_000_000)
    digits = f"{fraction:09}".rstrip("0")
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{digits}Z".encode() if digits else f"{text}Z".encode()


def send_file(sock: socket.socket, data: bytes) -> None:
    """Hand an entry that fits no datagram over in a sealed file. Raises OSError."""
    fd = os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)
        sock.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    finally:
        os.close(fd)


class Journald:
    """Encodes messages; `server` is the journal's socket (see Channel)."""

    def __init__(self, options: dict[str, Any]) -> None:
        """`options`: server, fields (names and texts in every entry)."""
        self.server: dict[str, Any] = options["server"]
        fields = {**options["fields"], "CONTAINER_LOG_EPOCH": os.urandom(32).hex()}
        self._fields = b"".join(
            field(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in fields.items()
        )
        self._ordinal = 0

    def encode(self, message: Message) -> list[bytes]:
        """The datagram for a message."""
        self._ordinal += 1
        parts = [
            field(b"PRIORITY", _PRIORITIES[message.stream]),
            field(b"MESSAGE", message.line),
            self._fields,
            field(b"SYSLOG_TIMESTAMP", rfc3339(message.at)),
            field(b"CONTAINER_LOG_ORDINAL", b"%d" % self._ordinal),
        ]
        if message.partial is not None:
            identifier, ordinal, last = message.partial
            parts.append(field(b"CONTAINER_PARTIAL_ID", identifier.encode()))
            parts.append(field(b"CONTAINER_PARTIAL_ORDINAL", b"%d" % ordinal))
            parts.append(field(b"CONTAINER_PARTIAL_LAST", b"true" if last else b"false"))
            if not last:
                parts.append(field(b"CONTAINER_PARTIAL_MESSAGE", b"true"))
        return [b"".join(parts)]

"""systemd's D-Bus interface, as much of it as cgroups need: a call with arguments, and its answer or error.

Spoken on systemd's private socket (root only, no bus in between), by the D-Bus specification: "Message
Protocol" and "Authentication Protocol". Standard library only: a container's starter uses it.
"""

from __future__ import annotations

import _socket
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "/run/systemd/private"
_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_TO, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_ALIGNMENT = {"y": 1, "b": 4, "u": 4, "t": 8, "s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8}
_MOST = 1 << 20
_PATIENCE = 30.0


class BusError(Exception):
    """What systemd answered: `name` is the error's, the text its message."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


def call(member: str, signature: str, *arguments: Any) -> None:
    """Call a method of org.freedesktop.systemd1.Manager (systemd's org.freedesktop.systemd1(5)).

    `arguments` by `signature`: y, u, t numbers, b bool, s text, arrays as lists, structures as tuples, and a
    variant as (signature, value). Raises BusError, OSError.
    """
    body = bytearray()
    for kind, argument in zip(split(signature), arguments, strict=True):
        put(body, kind, argument)
    with socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM) as sock:
        sock.settimeout(_PATIENCE)
        sock.connect(SOCKET)
        _authenticate(sock)
        sock.sendall(message(member, signature, bytes(body)))
        _answer(sock)


def _authenticate(sock: socket.socket) -> None:
    user = str(os.geteuid()).encode().hex()
    sock.sendall(b"\0AUTH EXTERNAL " + user.encode() + b"\r\n")
    line = b""
    while not line.endswith(b"\r\n"):
        read = sock.recv(1)
        if not read or len(line) > 1000:
            raise BusError("org.freedesktop.DBus.Error.AuthFailed", "systemd has closed the connection")
        line += read
    if not line.startswith(b"OK "):
        raise BusError("org.freedesktop.DBus.Error.AuthFailed", line.decode(errors="replace").strip())
    sock.sendall(b"BEGIN\r\n")


def message(member: str, signature: str, body: bytes) -> bytes:
    """A method call's bytes, with serial number 1."""
    fields = [
        (_PATH, ("o", "/org/freedesktop/systemd1")),
        (_INTERFACE, ("s", "org.freedesktop.systemd1.Manager")),
        (_MEMBER, ("s", member)),
        (_DESTINATION, ("s", "org.freedesktop.systemd1")),
        (_SIGNATURE, ("g", signature)),
    ]
    head = bytearray(struct.pack("<cBBBII", b"l", _CALL, 0, 1, len(body), 1))
    put(head, "a(yv)", fields)
    _align(head, 8)
    return bytes(head) + body


def split(signature: str) -> list[str]:
    """`sa(sv)u` as ["s", "a(sv)", "u"]."""
    found = []
    while signature:
        end = _end(signature)
        found.append(signature[:end])
        signature = signature[end:]
    return found


def _end(signature: str) -> int:
    """How long the first complete type is."""
    if signature[0] == "a":
        return 1 + _end(signature[1:])
    if signature[0] != "(":
        return 1
    depth = 0
    for index, character in enumerate(signature):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return index + 1
    raise ValueError(f"unbalanced signature {signature}")


def _align(out: bytearray, size: int) -> None:
    out += bytes(-len(out) % size)


def put(out: bytearray, kind: str, value: Any) -> None:
    """Append one value of the type `kind`; alignment counts from the beginning of `out`."""
    _align(out, _ALIGNMENT[kind[0]])
    if kind == "y":
        out.append(value)
    elif kind in ("u", "b"):
        out += struct.pack("<I", value)
    elif kind == "t":
        out += struct.pack("<Q", value)
    elif kind in ("s", "o"):
        data = value.encode()
        out += struct.pack("<I", len(data)) + data + b"\0"
    elif kind == "g":
        out += bytes((len(value),)) + value.encode() + b"\0"
    elif kind == "v":
        put(out, "g", value[0])
        put(out, value[0], value[1])
    elif kind[0] == "(":
        for one, item in zip(split(kind[1:-1]), value, strict=True):
            put(out, one, item)
    else:
        _put_array(out, kind[1:], value)


def _put_array(out: bytearray, kind: str, items: Any) -> None:
    at = len(out)
    out += bytes(4)
    _align(out, _ALIGNMENT[kind[0]])  # not part of the length
    start = len(out)
    for item in items:
        put(out, kind, item)
    struct.pack_into("<I", out, at, len(out) - start)


def _answer(sock: socket.socket) -> None:
    """Wait for the reply to serial 1; signals in between are passed over. Raises BusError."""
    while True:
        fixed = _exactly(sock, 16)
        order = "<" if fixed[:1] == b"l" else ">"
        kind = fixed[1]
        length, _, fields = struct.unpack(f"{order}III", fixed[4:])
        if length > _MOST or fields > _MOST:
            raise BusError("org.freedesktop.DBus.Error.InvalidLength", "an endless answer of systemd")
        head = _exactly(sock, fields + -fields % 8)
        body = _exactly(sock, length)
        if kind == _RETURN:
            return
        if kind == _ERROR:
            raise BusError(_error_name(head, order), _first_text(body, order))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        read = sock.recv(size - len(data))
        if not read:
            raise BusError("org.freedesktop.DBus.Error.Disconnected", "systemd has closed the connection")
        data += read
    return data


def _error_name(head: bytes, order: str) -> str:
    # A field is (number, variant): the number, a signature `1 s 0`, and the text, aligned to four.
    at = head.find(bytes((_ERROR_NAME, 1)) + b"s\0")
    if at < 0:
        return ""
    start = at + 4
    (length,) = struct.unpack_from(f"{order}I", head, start)
    return head[start + 4 : start + 4 + length].decode(errors="replace")


def _first_text(body: bytes, order: str) -> str:
    if len(body) < 4:
        return ""
    (length,) = struct.unpack_from(f"{order}I", body)
    return body[4 : 4 + length].decode(errors="replace")

"""Messages between the daemon, the zygote's children and shims: JSON and file descriptors in packets.

A message is one SOCK_SEQPACKET packet that holds a JSON object, its descriptors beside it (SCM_RIGHTS).
What does not fit is sent ahead: packets that start with `F` bring descriptors, and a packet `M` says that
the JSON is in a memfd, which is the last descriptor.
"""

from __future__ import annotations

import _socket
import array
import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]
    Packet = tuple[bytes, list[int]]

#: Below the least buffer that a socket can have; larger JSON goes through a memfd.
INLINE = 32 * 1024
#: SCM_MAX_FD is 253 (unix(7)).
BATCH = 200
_encode = json.JSONEncoder(separators=(",", ":")).encode
_ANCILLARY = _socket.CMSG_LEN((BATCH + 1) * array.array("i").itemsize)


class Broken(ConnectionError):
    """The other side sent what is no message of ours."""


def packets(message: Message, fds: list[int]) -> tuple[list[Packet], int]:
    """Split a message into packets to send in order.

    The second value is a memfd to close when all are sent, or -1.
    """
    split: list[Packet] = []
    while len(fds) > BATCH:
        split.append((b"F", fds[:BATCH]))
        fds = fds[BATCH:]
    data = _encode(message).encode()
    if len(data) <= INLINE:
        split.append((data, fds))
        return split, -1
    memfd = os.memfd_create("message", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(memfd, view) :]
    split.append((b"M", [*fds, memfd]))
    return split, memfd


def send_packet(sock: socket.socket, packet: Packet, flags: int = 0) -> None:
    """Send one packet. Raises BlockingIOError when the socket is full and may not block."""
    data, fds = packet
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, flags | _socket.MSG_NOSIGNAL)


def send(sock: socket.socket, message: Message, fds: list[int] | None = None) -> None:
    """Send a message over a blocking socket; the descriptors stay the caller's."""
    split, memfd = packets(message, fds or [])
    try:
        for packet in split:
            send_packet(sock, packet)
    finally:
        if memfd >= 0:
            os.close(memfd)


class Receiver:
    """Puts packets together again. Descriptors belong to whom the message is given."""

    __slots__ = ("_fds",)

    def __init__(self) -> None:
        self._fds: list[int] = []

    def receive(self, sock: socket.socket) -> tuple[Message, list[int]] | None:
        """Read one packet; the message and its descriptors, or None when it was only a part of one.

        Raises EOFError at the end of the stream, BlockingIOError, OSError, Broken.
        """
        data, fds = receive_packet(sock)
        if not data:
            self.close()
            raise EOFError
        self._fds += fds
        if data == b"F":
            return None
        got, self._fds = self._fds, []
        try:
            if data == b"M":
                data = _read_all(got.pop())
            message = json.loads(data.decode())
            if not isinstance(message, dict):
                raise ValueError("not an object")
        except (ValueError, IndexError) as error:
            close_all(got)
            raise Broken(str(error)) from None
        return message, got

    def close(self) -> None:
        """Drop what has come of an unfinished message."""
        close_all(self._fds)
        self._fds = []


def receive_packet(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Read one packet and its descriptors (close-on-exec). `b""` is the end."""
    data, ancillary, _, _ = sock.recvmsg(INLINE + 1024, _ANCILLARY, _socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist()


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """Read one whole message from a blocking socket. Raises as `Receiver.receive`."""
    receiver = Receiver()
    while (got := receiver.receive(sock)) is None:
        pass
    return got


def close_all(fds: list[int]) -> None:
    """Close descriptors, whatever state they are in."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass


def _read_all(fd: int) -> bytes:
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)

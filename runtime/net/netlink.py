"""The netlink envelope: messages, attributes, acknowledgements (netlink(7), RFC 3549).

Standard library only: it is loaded into every shim.
"""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Self

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

_HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute (nlattr): 4-byte header, payload, padding to 4 bytes."""
    size = 4 + len(payload)
    return _ATTR.pack(size, kind) + payload + b"\0" * (-size % 4)


def attr_u8(kind: int, value: int) -> bytes:
    """An attribute that holds one byte."""
    return _ATTR.pack(5, kind) + bytes((value, 0, 0, 0))


def attr_u32(kind: int, value: int) -> bytes:
    """An attribute that holds a 32-bit number in host order (rtnetlink)."""
    return _ATTR.pack(8, kind) + struct.pack("=I", value)


def attr_be32(kind: int, value: int) -> bytes:
    """An attribute that holds a 32-bit number in network order (nf_tables)."""
    return _ATTR.pack(8, kind) + struct.pack("!I", value)


def attr_str(kind: int, value: str) -> bytes:
    """An attribute that holds a NUL-terminated string."""
    return attr(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attr(kind | NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by kind (of several of one kind the last one)."""
    return dict(attribute_list(data))


def attribute_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`, one after another, as (kind, payload)."""
    at = 0
    while at + 4 <= len(data):
        size, kind = _ATTR.unpack_from(data, at)
        if size < 4:
            return
        yield kind & NLA_TYPE_MASK, data[at + 4 : at + size]
        at += (size + 3) & ~3


class Request:
    """One message to send. `what` names the deed for the error, as in "add address 172.17.0.2/16"."""

    __slots__ = ("body", "flags", "kind", "may_exist", "what")

    def __init__(self, kind: int, flags: int, body: bytes, what: str, *, may_exist: bool = False) -> None:
        self.kind = kind
        self.flags = flags
        self.body = body
        self.what = what
        self.may_exist = may_exist  # EEXIST is no error

    def encode(self, sequence: int, flags: int = 0) -> bytes:
        """The message's bytes with its header (nlmsghdr)."""
        size = 16 + len(self.body)
        head = _HEADER.pack(size, self.kind, self.flags | NLM_F_REQUEST | flags, sequence, 0)
        return head + self.body + b"\0" * (-size % 4)


class NetlinkSocket:
    """A netlink socket in the network namespace of the thread that made it."""

    def __init__(self, protocol: int) -> None:
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)  # errors do not repeat the whole request
        self.sequence = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the socket; again is no error."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Sends bytes that may hold many messages; the kernel has acted on all of them on return."""
        if len(data) > 100_000:
            self._grow(SO_SNDBUFFORCE, socket.SO_SNDBUF, 2 * len(data))
        self.sock.send(data)

    def _grow(self, forced: int, plain: int, size: int) -> None:
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, forced, size)
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, plain, size)

    def receive(self) -> Iterator[tuple[int, int, bytes]]:
        """The messages of one datagram as (kind, sequence, body)."""
        for kind, sequence, _, body in _messages(self.sock.recv(1 << 17)):
            yield kind, sequence, body

    def heard(self) -> Iterator[tuple[int, int, bytes]]:
        """As `receive`, for a member of a multicast group: (kind, port ID of who caused it, body)."""
        for kind, _, port, body in _messages(self.sock.recv(1 << 17)):
            yield kind, port, body

    def run(self, requests: list[Request]) -> None:
        """Sends all requests in one write and checks each acknowledgement.

        rtnetlink goes on after a failed message, so an error tells of the first that failed.
        Raises OSError(errno, "what: reason").
        """
        if not requests:
            return
        first = self.sequence
        self.sequence += len(requests)
        self.send(b"".join(r.encode(first + i, NLM_F_ACK) for i, r in enumerate(requests)))
        failed: OSError | None = None
        left = len(requests)
        while left:
            for kind, sequence, body in self.receive():
                if kind != NLMSG_ERROR or not first <= sequence < first + len(requests):
                    continue
                left -= 1
                error = -struct.unpack_from("=i", body)[0]
                request = requests[sequence - first]
                if error and not (request.may_exist and error == 17) and failed is None:
                    failed = oserror(error, request.what)
        if failed is not None:
            raise failed

    def dump(self, kind: int, body: bytes, what: str) -> Iterator[tuple[int, bytes]]:
        """All objects that the kernel answers to a dump request, as (kind, body)."""
        sequence = self.sequence
        self.sequence += 1
        self.send(Request(kind, NLM_F_DUMP, body, what).encode(sequence))
        while True:
            for answer, number, data in self.receive():
                if number != sequence:
                    continue
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", data)[0]
                    if error:
                        raise oserror(error, what)
                    return
                yield answer, data


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        size, kind, _, sequence, port = _HEADER.unpack_from(data, at)
        if size < 16:
            return
        yield kind, sequence, port, data[at + 16 : at + size]
        at += (size + 3) & ~3


def oserror(error: int, what: str) -> OSError:
    """An OSError whose text names the deed: `[Errno 17] add link docker0: File exists`."""
    return OSError(error, f"{what}: {os.strerror(error)}")

"""The worker that sends trees to a client, as fsutil sends them: packets of `FileSend.DiffCopy`.

First a packet STAT for everything, in order, an empty one at the end; the receiver asks for the files that it
wants by their number (REQ), and gets DATA, an empty one at the end of each; its FIN is answered by ours.
Each packet on the descriptors is four bytes of length (big endian) and protobuf.
Source: tonistiigi/fsutil (send.go, types/wire.proto, types/stat.proto).
"""

from __future__ import annotations

import os
import queue
import stat
import struct
import threading

from runtime import syscalls
from runtime.storage.archive import go_mode
from runtime.storage.fsutilwire import DATA, ERR, FIN, REQ, STAT, WireError, encode, number, parse, text
from runtime.storage.packer import Output
from runtime.storage.trees import Entry, entries, roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

PIECE = 256 << 10
_READ = 1 << 14
_MAX_PACKET = 1 << 20  # of the receiver's: it only asks
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS


class Refused(Exception):
    """The receiver has ended it, or says what makes no sense."""


def packet(kind: int, *, about: bytes = b"", identity: int = 0, data: bytes = b"") -> bytes:
    """A Packet, with its length in front."""
    body = encode(kind, identity, data, about=about)
    return struct.pack(">I", len(body)) + body


def described(entry: Entry) -> bytes:
    """An entry as fsutil's Stat."""
    info: Any = entry.info
    found = text(1, entry.path) + number(2, go_mode(info.st_mode)) + number(3, info.st_uid)
    found += number(4, info.st_gid)
    if not stat.S_ISDIR(info.st_mode):
        found += number(5, info.st_size)
    found += number(6, info.st_mtime_ns) + text(7, entry.link)
    if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        found += number(8, os.major(info.st_rdev)) + number(9, os.minor(info.st_rdev))
    for name, value in sorted(entry.xattrs().items()):
        found += text(10, text(1, name) + text(2, value))
    return found


def asked(body: bytes) -> tuple[int, int, bytes]:
    """(kind, number, data) of a receiver's Packet. Raises Refused."""
    try:
        kind, identity, _, data = parse(memoryview(body))
    except WireError:
        raise Refused("a packet that is none") from None
    return kind, identity, bytes(data)


class Sender:
    """One transfer: what was told, and what was asked for."""

    def __init__(self, out: int, requests: int) -> None:
        # One write for each packet would cost most of the time where files are small
        self._out = Output(out, together=PIECE)
        self._requests = requests
        self._buffer = b""
        self._known: dict[int, Entry] = {}
        self._wanted: queue.SimpleQueue[Entry | BaseException | None] = queue.SimpleQueue()
        self._numbers: dict[int, int] = {}
        self.bytes = 0

    def write(self, data: bytes) -> None:
        """With the next `flush` at the latest. Raises BrokenPipeError when nobody reads any more."""
        self.bytes += len(data)
        self._out.write(data)

    def flush(self) -> None:
        """Write what is held back."""
        self._out.flush()

    def tell(self, number: int, entry: Entry) -> None:
        """Say of an entry that it is there."""
        if stat.S_ISREG(entry.info.st_mode):
            self._known[number] = entry
        self.write(packet(STAT, about=described(entry)))

    def listen(self) -> None:
        """Take the receiver's packets until its FIN; in a thread."""
        try:
            while True:
                kind, number, data = asked(self._packet())
                if kind == REQ:
                    # Each file once: so what waits is never more than what was told
                    entry = self._known.pop(number, None)
                    if entry is None:
                        raise Refused(f"invalid file id {number}")
                    self._numbers[id(entry)] = number
                    self._wanted.put(entry)
                elif kind == FIN:
                    self._wanted.put(None)
                    return
                elif kind == ERR:
                    raise Refused(f"error from receiver: {data.decode('utf-8', 'replace')}")
        except BaseException as error:
            self._wanted.put(error)

    def _packet(self) -> bytes:
        (size,) = struct.unpack(">I", self._exactly(4))
        if size > _MAX_PACKET:
            raise Refused("a packet that is too large")
        return self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            piece = os.read(self._requests, _READ)
            if not piece:
                raise Refused("the receiver went away")
            self._buffer += piece
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def serve(self, folders: dict[bytes, int]) -> None:
        """Send what is asked for, until the receiver has all. Raises Refused, BrokenPipeError."""
        while True:
            if self._wanted.empty():
                self._out.flush()
            entry = self._wanted.get()
            if isinstance(entry, BaseException):
                raise entry
            if entry is None:
                self.write(packet(FIN))
                self._out.flush()
                return
            number = self._numbers.pop(id(entry))
            self._file(number, entry, folders)
            self.write(packet(DATA, identity=number))

    def _file(self, number: int, entry: Entry, folders: dict[bytes, int]) -> None:
        if entry.data is not None:
            for at in range(0, len(entry.data), PIECE):
                self.write(packet(DATA, identity=number, data=entry.data[at : at + PIECE]))
            return
        prefix = next(one for one in folders if entry.path.startswith(one))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = syscalls.openat2(folders[prefix], entry.path[len(prefix) :], flags, _BENEATH)
        try:
            while data := os.read(fd, PIECE):
                self.write(packet(DATA, identity=number, data=data))
        finally:
            os.close(fd)


def run(arguments: Json, fds: list[int]) -> Json:
    """Send the trees (see `trees`) to `fds[0]`, asked by `fds[1]`; {"entries", "bytes"} or {"error"}."""
    sender = Sender(fds[0], fds[1])
    count = 0
    threading.Thread(target=sender.listen, name="requests", daemon=True).start()
    try:
        folders = roots(arguments)
        for entry in entries(arguments, folders):
            sender.tell(count, entry)
            count += 1
        sender.write(packet(STAT))
        sender.serve(folders)
    except BrokenPipeError:
        return {"error": "the receiver went away"}
    except Refused as refused:
        return {"error": str(refused)}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        try:
            sender.write(packet(ERR, data=reason.encode()))
            sender.flush()
        except OSError:
            pass
        return {"error": reason}
    return {"entries": count, "bytes": sender.bytes}

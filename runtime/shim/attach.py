"""A client attached to a process: its end of a stream socket, with what waits to be written to it."""

from __future__ import annotations

import _socket
import socket
import struct
from collections import deque

from runtime.shim.detach import DetachKeys
from runtime.shim.loop import HANGUP, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.shim.loop import Loop
    from runtime.shim.streams import Streams

#: Above HIGH pending bytes of one client the process's output is not read; below LOW it is again.
HIGH = 1024 * 1024
LOW = 512 * 1024
_HEADER = struct.Struct(">BxxxL")
_READ_SIZE = 64 * 1024


class Client:
    """One attachment. Without a tty, output goes out as stdcopy frames: stream (1 or 2), 3 zeros, length."""

    def __init__(self, loop: Loop, streams: Streams, sock: socket.socket, options: dict[str, Any]) -> None:
        """`options`: stdin, stdout, stderr (bool), detach_keys (hex; empty for the default)."""
        self._loop = loop
        self._streams = streams
        self._sock = sock
        self._fd = sock.fileno()
        self._wanted = {1: bool(options.get("stdout")), 2: bool(options.get("stderr"))}
        self._reading = bool(options.get("stdin"))
        self._keys = DetachKeys(bytes.fromhex(options.get("detach_keys") or "")) if streams.tty else None
        self._queue: deque[memoryview] = deque()
        self._closing = False
        self._held = False
        self.pending = 0
        self.closed = False
        sock.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        events = READ if self._reading and not self._held else 0
        if self._queue:
            events |= WRITE
        self._loop.watch(self._fd, events, self._ready)

    def hold(self, held: bool) -> None:
        """Stop or go on reading input: the process's stdin is full, or has room again."""
        if held != self._held and not self.closed:
            self._held = held
            self._watch()

    def send(self, stream: int, data: bytes) -> None:
        """Write output to the client, or queue it."""
        if self.closed or self._closing or not self._wanted[stream]:
            return
        parts = [data] if self._streams.tty else [_HEADER.pack(stream, len(data)), data]
        sent = 0
        if not self._queue:
            try:
                sent = self._sock.sendmsg(parts, (), _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
                continue
            self._queue.append(memoryview(part)[sent:])
            self.pending += len(part) - sent
            sent = 0
        if self._queue:
            self._watch()

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if not self.closed and events & READ:
            self._read()
        elif not self.closed and events & HANGUP:
            # Both directions are shut: nobody is there any more.
            self.close()

    def _flush(self) -> None:
        while self._queue:
            try:
                sent = self._sock.send(self._queue[0], _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            self.pending -= sent
            if sent == len(self._queue[0]):
                self._queue.popleft()
            else:
                self._queue[0] = self._queue[0][sent:]
                break
        if not self._queue and self._closing:
            self.close()
            return
        self._watch()
        if self.pending < LOW:
            self._streams.client_drained()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._reading = False
            self._watch()
            if not self._streams.input_ended():
                # As Docker Engine does: an attachment whose input ended, and whose end is not passed on,
                # is over.
                self.finish()
            return
        detached = False
        if self._keys is not None:
            data, detached = self._keys.feed(data)
        if data:
            self._streams.write_input(data)
        if detached:
            self._reading = False
            self.finish()

    def finish(self) -> None:
        """Close when all that is queued is written."""
        if self.closed or self._closing:
            return
        self._closing = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        """Close now and drop what is queued."""
        if self.closed:
            return
        self.closed = True
        self._queue.clear()
        self.pending = 0
        self._loop.forget(self._fd)
        try:
            # Whoever else may hold the socket: the stream is over.
            self._sock.shutdown(_socket.SHUT_RDWR)
            # Input left unread would show as ECONNRESET at the other end instead of an end of file.
            while self._sock.recv(_READ_SIZE):
                pass
        except OSError:
            pass
        self._sock.close()
        self._streams.client_gone(self)

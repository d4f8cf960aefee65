"""Standard streams of one process: pipes or a terminal on one side, the log and clients on the other."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import termios

from runtime.shim.attach import HIGH, LOW, Client
from runtime.shim.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.logs.base import BaseLog
    from runtime.shim.loop import Loop

_READ_SIZES = (64 * 1024, 256 * 1024)
#: How long output may still come after the process has ended while others hold its pipes.
LINGER = 2.0


class Output:
    """Reads one pipe, or a terminal, and passes it on."""

    def __init__(self, streams: Streams, fd: int, stream: int) -> None:
        self._streams = streams
        self._stream = stream
        self._size = _READ_SIZES[0]
        self.fd = fd
        os.set_blocking(fd, False)

    def ready(self, events: int) -> None:
        """Read once. At the end of the file, or when a terminal has no other side any more, close."""
        try:
            data = os.read(self.fd, self._size)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                print(f"shim: reading output: {error}", file=sys.stderr)
            data = b""
        if not data:
            self.close()
            return
        # A larger buffer only while it is filled: it is the shim's largest allocation.
        self._size = _READ_SIZES[len(data) == self._size]
        self._streams.deliver(self._stream, data)

    def drain(self) -> None:
        """Read all there is, whether clients keep up or not."""
        while self.fd >= 0:
            try:
                data = os.read(self.fd, _READ_SIZES[1])
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._streams.deliver(self._stream, data)

    def close(self) -> None:
        """Close; the log's last line is completed."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            self._streams.output_closed(self, fd, self._stream)


class Input:
    """Writes to the process's standard input without ever blocking."""

    def __init__(self, streams: Streams, loop: Loop, fd: int) -> None:
        self._streams = streams
        self._loop = loop
        self._fd = fd
        self._buffer = bytearray()
        self._ending = False
        os.set_blocking(fd, False)

    def write(self, data: bytes) -> None:
        """Write or keep; holds the clients while something is kept. Dropped when nobody reads."""
        if self._fd < 0 or self._ending:
            return
        self._buffer += data
        self._flush()

    def end(self) -> None:
        """End of file for the process when all is written."""
        self._ending = True
        self._flush()

    def _flush(self, events: int = 0) -> None:
        while self._buffer and self._fd >= 0:
            try:
                written = os.write(self._fd, memoryview(self._buffer)[: 64 * 1024])
            except BlockingIOError:
                break
            except OSError:  # EPIPE: the process has closed its input
                self._buffer.clear()
                self.close()
                return
            del self._buffer[:written]
        if self._buffer:
            self._loop.watch(self._fd, WRITE, self._flush)
            self._streams.hold_input(True)
        elif self._fd >= 0:
            self._loop.forget(self._fd)
            if self._ending:
                self.close()
            self._streams.hold_input(False)

    def close(self) -> None:
        """Close now; what is not written is dropped."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._streams.hold_input(False)


class Streams:
    """The streams of the container's first process or of an exec.

    `attach` first those who must miss nothing, `start` when it runs, `finish` when it has ended.
    """

    def __init__(self, loop: Loop, *, tty: bool, log: BaseLog | None, end_input: bool) -> None:
        """`end_input`: the end of a client's input is passed on to the process (a tty never gets it)."""
        self.tty = tty
        self._loop = loop
        self._log = log
        self._end_input = end_input and not tty
        self._outputs: list[Output] = []
        self._input: Input | None = None
        self._clients: list[Client] = []
        self._master = -1
        self._paused = False
        self._ended = False
        self._finished: Callable[[], None] | None = None
        if log is not None:
            log.on_room = self.client_drained
        #: Called when the last client is gone.
        self.when_idle: Callable[[], None] | None = None

    def start(self, fds: dict[str, int], stdin: bool) -> None:
        """Pump from now on; `fds`: `stdout`, `stderr` and perhaps `stdin`, or `master` of a terminal.

        `stdin`: clients may type into the terminal.
        """
        if "master" in fds:
            self._master = fds["master"]
            self._outputs = [Output(self, self._master, 1)]
            if stdin:
                copy = fcntl.fcntl(self._master, fcntl.F_DUPFD_CLOEXEC, 3)
                self._input = Input(self, self._loop, copy)
        else:
            self._outputs = [Output(self, fds["stdout"], 1), Output(self, fds["stderr"], 2)]
            if "stdin" in fds:
                self._input = Input(self, self._loop, fds["stdin"])
        for output in self._outputs:
            self._loop.watch(output.fd, READ, output.ready)

    def attach(self, sock: socket.socket, options: dict[str, Any]) -> None:
        """Serve one more client; when all output has ended already it is closed at once."""
        client = Client(self._loop, self, sock, options)
        self._clients.append(client)
        if self._ended:
            client.finish()

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size; without one this does nothing, as with containerd's shim."""
        if self._master >= 0:
            set_size(self._master, width, height)

    def deliver(self, stream: int, data: bytes) -> None:
        """Output has come: to the log and to every client."""
        if self._log is not None:
            self._log.write(stream, data)
        full = self._log is not None and self._log.full
        for client in tuple(self._clients):
            client.send(stream, data)
            full = full or client.pending > HIGH
        if full and not self._paused:
            self._paused = True
            for output in self._outputs:
                self._loop.forget(output.fd)

    def client_drained(self) -> None:
        """A client, or the log, has taken some of what was pending: read again when none has too much."""
        if self._log is not None and self._log.full:
            return
        if self._paused and all(client.pending < LOW for client in self._clients):
            self._paused = False
            for output in self._outputs:
                self._loop.watch(output.fd, READ, output.ready)

    def client_gone(self, client: Client) -> None:
        """A client was closed."""
        if client in self._clients:
            self._clients.remove(client)
        self.client_drained()
        if not self._clients and self.when_idle is not None:
            self.when_idle()

    def output_closed(self, output: Output, fd: int, stream: int) -> None:
        """One stream has ended. With the last one the clients are done, and so is `finish`."""
        self._loop.forget(fd)
        os.close(fd)
        if fd == self._master:
            self._master = -1
        self._outputs.remove(output)
        if self._log is not None:
            self._log.finish(stream)
        if not self._outputs:
            self._ended = True
            for client in tuple(self._clients):
                client.finish()
            self._done()

    def write_input(self, data: bytes) -> None:
        """A client has typed."""
        if self._input is not None:
            self._input.write(data)

    def input_ended(self) -> bool:
        """A client's input has ended; True if that was for the process."""
        if not self._end_input:
            return False
        if self._input is not None:
            self._input.end()
        return True

    def hold_input(self, held: bool) -> None:
        """Stop or go on reading the clients' input."""
        for client in self._clients:
            client.hold(held)

    def finish(self, done: Callable[[], None]) -> None:
        """The process has ended: read what is left, then call `done`.

        While another process holds a pipe open more may come; after LINGER seconds it is cut off.
        """
        self._finished = done
        if self._input is not None:
            self._input.close()
        for output in tuple(self._outputs):
            output.drain()
        if self._outputs:
            self._loop.later(LINGER, self._cut)
        else:
            self._done()

    def _cut(self) -> None:
        for output in tuple(self._outputs):
            output.drain()
            output.close()

    def _done(self) -> None:
        done, self._finished = self._finished, None
        if done is not None:
            done()

    @property
    def pending(self) -> bool:
        """Whether a client has still to get something."""
        return bool(self._clients)

    def close(self) -> None:
        """Close everything at once."""
        if self._input is not None:
            self._input.close()
        for output in tuple(self._outputs):
            output.close()
        for client in tuple(self._clients):
            client.close()


def set_size(terminal: int, width: int, height: int) -> None:
    """Set a terminal's size in characters. Raises OSError."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

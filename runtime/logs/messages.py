"""Output cut into messages as Docker Engine's copier does it: a line each, at most 16 KiB. No I/O here."""

from __future__ import annotations

import os
import time

#: Bytes of one message: the line buffer of the engine's copier.
MAX_LINE = 16384
NAMES = {1: b"stdout", 2: b"stderr"}


class Message:
    """A line without its newline. `at`: ns since 1970; `partial`: (ID, ordinal, last) of a cut line."""

    __slots__ = ("at", "line", "partial", "stream")

    def __init__(
        self, stream: int, line: bytes, at: int, partial: tuple[str, int, bool] | None = None
    ) -> None:
        self.stream = stream
        self.line = line
        self.at = at
        self.partial = partial


class Now:
    """The time in ns, never going back within one container."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        self._last = max(time.time_ns(), self._last)
        return self._last


class Splitter:
    """Cuts one stream into messages.

    Pieces of a line that is too long carry one ID and the time of the first. A line that the stream's end
    leaves without a newline counts as a piece whose end never came.
    """

    __slots__ = ("_at", "_id", "_now", "_ordinal", "_rest", "_stream")

    def __init__(self, stream: int, now: Now) -> None:
        self._stream = stream
        self._now = now
        self._rest = b""
        self._id = ""  # of the line that is being cut
        self._ordinal = 0
        self._at = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes."""
        if self._rest:
            data = self._rest + data
        now = self._now()
        if not self._id:
            lines = data.split(b"\n")
            if len(max(lines, key=len)) < MAX_LINE:  # as nearly always
                self._rest = lines.pop()
                stream = self._stream
                return [Message(stream, line, now) for line in lines]
        found = []
        position, end = 0, len(data)
        while True:
            cut = data.find(b"\n", position, position + MAX_LINE)
            if cut >= 0:
                found.append(self._line(data[position:cut], now))
                position = cut + 1
            elif end - position >= MAX_LINE:
                found.append(self._piece(data[position : position + MAX_LINE], now))
                position += MAX_LINE
            else:
                break
        self._rest = data[position:]
        return found

    def finish(self) -> list[Message]:
        """What is left at the stream's end."""
        rest, self._rest = self._rest, b""
        return [self._piece(rest, self._now())] if rest else []

    def _line(self, line: bytes, now: int) -> Message:
        if not self._id:
            return Message(self._stream, line, now)
        partial = (self._id, self._ordinal + 1, True)
        self._id, self._ordinal = "", 0
        return Message(self._stream, line, self._at, partial)

    def _piece(self, line: bytes, now: int) -> Message:
        if not self._id:
            self._id, self._at = os.urandom(32).hex(), now
        self._ordinal += 1
        return Message(self._stream, line, self._at, (self._id, self._ordinal, False))

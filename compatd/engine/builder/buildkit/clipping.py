"""How much of a step's output is told: so much at all, and so much a second.

Source: moby/buildkit util/progress/logs.
"""

import time
from collections.abc import Callable
from math import ceil

MAX_SIZE = 2 * 1024 * 1024
MAX_SPEED = 200 * 1024  # a second
MAX_TAIL = 256 * 1024  # of what was clipped, the end is told when the step fails


class Clip:
    """One stream of one step: what comes in, cut to the limits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._created = clock()
        self._size = 0
        self._clipping = False
        self._tail: bytearray | None = None

    def cut(self, data: bytes) -> bytes:
        """What of `data` is to be told, with a note where clipping begins."""
        room, reason = self._room(len(data))
        if room < len(data) and self._tail is None:
            self._tail = bytearray()
        if self._tail is not None:
            self._tail += data[-MAX_TAIL:]
            del self._tail[:-MAX_TAIL]
        told = data[:room]
        if len(told) == len(data):
            self._clipping = False
        elif not self._clipping:
            told += f"\n[output clipped, log limit {reason} reached]\n".encode()
            self._clipping = True
        return told

    def tail(self) -> bytes:
        """The end of what was clipped; the step has ended."""
        tail, self._tail = self._tail, None
        return bytes(tail or b"")

    def _room(self, size: int) -> tuple[int, str]:
        before = self._size
        self._size += size
        most, reason = ceil(self._clock() - self._created) * MAX_SPEED, "200KiB/s"
        if most > MAX_SIZE:
            most, reason = MAX_SIZE, "2MiB"
        if most < before:
            return 0, reason
        return min(size, most - before), reason

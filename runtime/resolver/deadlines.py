"""Time limits that are all equally long: the first begun is the first to end, so no heap is needed."""

from __future__ import annotations

import time
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from runtime.shim.loop import Loop


class Deadlines:
    """Calls `on_late(item)` for each item that is not stopped within `seconds` of its start."""

    def __init__(self, loop: Loop, seconds: float, on_late: Callable[[Hashable], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._on_late = on_late
        self._ends: OrderedDict[Hashable, float] = OrderedDict()
        self._armed = False

    def __len__(self) -> int:
        return len(self._ends)

    def start(self, item: Hashable) -> None:
        """Begin, or begin again."""
        self._ends.pop(item, None)
        self._ends[item] = time.monotonic() + self._seconds
        if not self._armed:
            self._armed = True
            self._loop.later(self._seconds, self._look)

    def stop(self, item: Hashable) -> None:
        """The limit is kept. Again is no error."""
        self._ends.pop(item, None)

    def _look(self) -> None:
        now = time.monotonic()
        while self._ends:
            item, end = next(iter(self._ends.items()))
            if end > now:
                self._loop.later(end - now, self._look)
                return
            del self._ends[item]
            self._on_late(item)
        self._armed = False

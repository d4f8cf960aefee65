"""Which RUNs go on, and the news of their shims; `engine.runs`."""

import asyncio
from dataclasses import dataclass
from typing import Any

from compatd.engine.builder.running.caches import CacheMounts

Json = dict[str, Any]
_LOST = 137


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended."""

    code: int
    oom: bool = False


class Runs:
    """To be used on the event loop only."""

    def __init__(self) -> None:
        self._ends: dict[str, asyncio.Future[End]] = {}
        self._oom: set[str] = set()
        self.caches = CacheMounts()

    def begin(self, run_id: str) -> asyncio.Future[End]:
        """From now on its news are heard; what is awaited for its end."""
        found = self._ends[run_id] = asyncio.get_running_loop().create_future()
        return found

    def over(self, run_id: str) -> None:
        """Nobody asks for it any more."""
        self._oom.discard(run_id)
        found = self._ends.pop(run_id, None)
        if found is not None:
            found.cancel()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ends

    def hear(self, run_id: str, message: Json) -> bool:
        """Take an event of a shim (docs/architecture.md, runtime.client); False: it is not one of ours."""
        end = self._ends.get(run_id)
        if end is None:
            return False
        kind = message.get("event")
        if kind == "oom":
            self._oom.add(run_id)
        elif kind in ("exit", "lost") and not end.done():
            oom = bool(message.get("oom")) or run_id in self._oom
            end.set_result(End(int(message.get("code", _LOST)), oom))
        return True

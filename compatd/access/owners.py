"""Who made which container, volume and network: noted the moment it comes to be, in the store."""

from collections import OrderedDict
from contextvars import ContextVar
from typing import Any

from compatd.config.access import OWN

KINDS = ("container", "volume", "network")
GONE = 4096  # owners of removed things that are still known, for events about them

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""The identity of whoever the code at hand works for."""

_PREFIX = "owner/"


class Owners:
    """Hears the engine's events: what is created belongs to CALLER. `meta` is a table of the store."""

    def __init__(self, meta: Any) -> None:
        self._meta = meta
        self._known = {
            key.removeprefix(_PREFIX): str(document["Owner"])
            for key, document in meta.all()
            if key.startswith(_PREFIX)
        }
        self._gone: OrderedDict[str, str] = OrderedDict()
        self.active = False

    def use(self, limits: frozenset[str]) -> None:
        """Note owners from now on if some rule needs them."""
        self.active = OWN in limits

    def of(self, kind: str, name: str) -> str:
        """Whose it is, or was; "" for nobody's."""
        key = f"{kind}/{name}"
        return self._known.get(key) or self._gone.get(key, "")

    def heard(self, kind: str, action: str, name: str) -> None:
        """An event of the engine's."""
        key = f"{kind}/{name}"
        if kind not in KINDS:
            return
        if action == "create" and self.active and CALLER.get():
            self._known[key] = CALLER.get()
            self._meta.put(_PREFIX + key, {"Owner": CALLER.get()})
        elif action == "destroy" and key in self._known:
            self._gone[key] = self._known.pop(key)
            self._meta.delete(_PREFIX + key)
            if len(self._gone) > GONE:
                self._gone.popitem(last=False)

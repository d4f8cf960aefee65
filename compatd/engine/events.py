"""The engine's event stream: what happened, to whoever listens, and the last ones for `since`.

Source: API `GET /events` (SystemEvents), messages of type `events.Message`.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from compatd.engine import metrics

Event = dict[str, Any]
Filters = dict[str, list[str]]

KEPT = 256
"""How many past events `since` can reach back over, as in dockerd."""

_QUEUE = 4096

_OBJECTS = (
    "container",
    "image",
    "network",
    "volume",
    "plugin",
    "daemon",
    "service",
    "node",
    "secret",
    "config",
)
FILTERS = frozenset({"type", "event", "scope", "label", *_OBJECTS})
_WITH_DETAILS = frozenset({"health_status", "exec_create", "exec_start"})
_LEGACY_TYPES = ("container", "image")


class Events:
    """Emits events and serves them to listeners; to be used from the event loop."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._past: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self.watchers: list[Callable[[str, str, str], None]] = []  # called at once, with type, action, ID

    @property
    def listeners(self) -> int:
        """How many clients follow the stream now (`NEventsListener` of /info)."""
        return len(self._listeners)

    def emit(
        self, kind: str, action: str, actor: str, attributes: dict[str, str], scope: str = "local"
    ) -> Event:
        """Tell every listener that `action` happened to the object `actor` of type `kind`."""
        now = self._clock()
        event: Event = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": attributes},
            "scope": scope,
            "time": now // 1_000_000_000,
            "timeNano": now,
        }
        if kind in _LEGACY_TYPES:
            event["status"] = action
            event["id"] = actor
            if kind == "container" and attributes.get("image"):
                event["from"] = attributes["image"]
        self._past.append(event)
        metrics.events.add()
        for watcher in self.watchers:
            watcher(kind, action, actor)
        for queue in tuple(self._listeners):
            if queue.full():  # a client that reads nothing must not take the daemon's memory
                self._listeners.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)
        return event

    def subscribe(
        self, filters: Filters, since: int | None = None, until: int | None = None
    ) -> "Subscription":
        """Matching events: kept ones from `since` on, then new ones up to `until` (both in ns since 1970).

        Without `since` and `until` only new ones come; with `until` in the past the stream ends after the
        kept ones. New events are kept for the subscriber from now on; it ends with its `with` block.
        """
        past = [] if since is None and until is None else list(self._past)
        return Subscription(self._listeners, self._clock, filters, past, since, until)


class Subscription:
    """A client's place in the stream: a context manager, then an asynchronous iterator of events."""

    def __init__(
        self,
        listeners: set[asyncio.Queue[Event | None]],
        clock: Callable[[], int],
        filters: Filters,
        past: list[Event],
        since: int | None,
        until: int | None,
    ) -> None:
        self._listeners, self._clock, self._filters = listeners, clock, filters
        self._past, self._since, self._until = past, since, until
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE)

    def __enter__(self) -> "Subscription":
        self._listeners.add(self._queue)
        return self

    def __exit__(self, *_: object) -> None:
        self._listeners.discard(self._queue)

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self._past:
            inside = (self._since is None or event["timeNano"] >= self._since) and (
                self._until is None or event["timeNano"] <= self._until
            )
            if inside and matches(event, self._filters):
                yield event
        while True:
            timeout = None if self._until is None else (self._until - self._clock()) / 1e9
            if timeout is not None and timeout <= 0:
                return
            try:
                async with asyncio.timeout(timeout):
                    new = await self._queue.get()
            except TimeoutError:
                return
            if new is None:
                return
            if matches(new, self._filters):
                yield new


def matches(event: Event, filters: Filters) -> bool:
    """Whether an event passes all filters: values of one filter are alternatives, filters are all needed.

    A filter by an object (`container=x`) looks at ID and name of whatever the event is about, as dockerd's
    does: the name `bridge` also finds a network's events.
    """
    actor, attributes = event["Actor"]["ID"], event["Actor"]["Attributes"]
    for name, values in filters.items():
        if not values or name not in FILTERS:  # dockerd takes any name, too
            continue
        if name == "type":
            ok = event["Type"] in values
        elif name == "event":
            ok = _action_matches(event["Action"], values)
        elif name == "scope":
            ok = event["scope"] in values
        elif name == "label":
            ok = all(_has_label(attributes, value) for value in values)
        elif name == "image":
            ok = _image_matches(event, values)
        else:
            beginnings = tuple(values)
            ok = actor.startswith(beginnings) or attributes.get("name", "").startswith(beginnings)
        if not ok:
            return False
    return True


def _action_matches(action: str, values: list[str]) -> bool:
    """By the whole word; by the beginning when a value is one of those that go on after a colon."""
    if _WITH_DETAILS.isdisjoint(values):
        return action in values
    return action.startswith(tuple(values))


def _has_label(attributes: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _image_matches(event: Event, values: list[str]) -> bool:
    """An image event by its image, or a container event by the image it runs; with or without the tag."""
    attributes = event["Actor"]["Attributes"]
    names = {attributes.get("image", ""), attributes.get("name", "") if event["Type"] == "image" else ""}
    if event["Type"] == "image":
        names.add(event["Actor"]["ID"])
    names |= {without_tag(name) for name in names}
    return any(value and value in names for value in values)


def without_tag(name: str) -> str:
    """`host:5000/app:1` → `host:5000/app`; a digest is cut off too."""
    head, _, digest = name.partition("@")
    if digest:
        return head
    base, colon, tag = name.rpartition(":")
    return base if colon and "/" not in tag else name

"""Events as they happen. (dockerd remembers the last 256 only: asking afterwards misses some.)"""

import json
from collections.abc import Callable
from typing import Any

from conformance.wire import Wire

Event = dict[str, Any]


class Listener:
    """Hears everything from now on. The socket's buffer holds what comes until it is read at the end."""

    def __init__(self, wire: Wire, version: str) -> None:
        self.stream = wire.open("GET", "/events", version=version)
        assert self.stream.status == 200

    def until(self, last: str, clean: Callable[[Event], Event]) -> dict[str, list[Event]]:
        """By what they are about, the cleaned events of containers, volumes and the networks' of containers.

        Reads until the container `last` (by its cleaned name) is destroyed.
        """
        found: dict[str, list[Event]] = {}
        with self.stream:
            for line in self.stream:
                event = clean(json.loads(line)) if line.strip() else {}
                if not event or event["Type"] == "image":
                    continue
                attributes = event["Actor"]["Attributes"]
                whose = str(attributes.get("container", event["Actor"]["ID"]))
                if whose.startswith(("<", "df-")) and whose != "<id>" and not _chance(event, whose):
                    # Volumes of one container come in the order of a Go map.
                    which = f" {event['Actor']['ID']}" if event["Type"] == "volume" else ""
                    found.setdefault(f"{event['Type']} {whose}{which}", []).append(event)
                if (event["Action"], whose) == ("destroy", last):
                    break
        for events in found.values():
            _in_order(events)
        return found


def _in_order(events: list[Event]) -> None:
    """A stop may hear of the end before it is told to all: `die` and `stop` come in either order."""
    for place in range(1, len(events)):
        pair = events[place - 1 : place + 1]
        if [event["Action"] for event in pair] == ["stop", "die"]:
            events[place - 1 : place + 1] = reversed(pair)


def _chance(event: Event, whose: str) -> bool:
    """How often a health check runs, and whether a killed container's exec ends first."""
    if whose == "<healthy>" and event["Action"].startswith("exec_"):
        return True
    return bool(event["Action"] == "exec_die" and event["Actor"]["Attributes"]["execID"] == "<exec detached>")

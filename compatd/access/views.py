"""Answers without what belongs to others. Pure functions; they make new values and leave the old ones."""

from collections.abc import Callable
from typing import Any

from compatd.access.facts import Facts
from compatd.access.policy import Policy
from compatd.access.privileges import SHARED

Json = dict[str, Any]
View = Callable[[Any], Any]


class Views:
    """What a caller with `own` sees; `of` gives the function for an operation's answer, or None."""

    def __init__(self, policy: Policy, owner_of: Callable[[str, str], str]) -> None:
        self._policy, self._owner_of = policy, owner_of

    def of(self, operation: str, query: Json) -> View | None:
        """The function for the answer; for SystemEvents it gives None for an event that is not to be seen.

        A list's `limit` is taken out of the query: it counts what the caller sees.
        """
        limit = query.get("limit") if operation == "ContainerList" else 0
        if limit and limit > 0:
            query["limit"], query["all"] = None, True
            return lambda found: self.containers(found)[:limit]
        views: dict[str, View] = {
            "ContainerList": self.containers,
            "SystemEvents": self.event,
            "SystemDataUsage": self.usage,
            "NetworkList": self.networks,
            "NetworkInspect": self.network,
            "VolumeList": self.volumes,
        }
        return views.get(operation)

    def _owns(self, kind: str, name: str) -> bool:
        return self._policy.owns(self._owner_of(kind, name))

    def containers(self, found: list[Json]) -> list[Json]:
        """A list of containers."""
        return [item for item in found if self._owns("container", str(item["Id"]))]

    def volume_list(self, found: list[Json]) -> list[Json]:
        """A list of volumes."""
        return [
            item
            for item in found
            if SHARED in (item.get("Labels") or {}) or self._owns("volume", str(item["Name"]))
        ]

    def volumes(self, answer: Json) -> Json:
        """The answer of VolumeList."""
        return {**answer, "Volumes": self.volume_list(answer["Volumes"])}

    def networks(self, found: list[Json]) -> list[Json]:
        """A list of networks."""
        return [self.network(item) for item in found if self._sees_network(str(item["Id"]))]

    def _sees_network(self, network_id: str) -> bool:
        network = self._facts.network(network_id)
        return network is None or network.predefined or self._policy.owns(network.owner)

    @property
    def _facts(self) -> Facts:
        return self._policy.facts

    def network(self, answer: Json) -> Json:
        """One network, with one's own containers on it."""
        inside = answer.get("Containers")
        if not inside:
            return answer
        return {
            **answer,
            "Containers": {key: value for key, value in inside.items() if self._owns("container", key)},
        }

    def usage(self, answer: Json) -> Json:
        """The answer of SystemDataUsage, in its older and its newer shape."""
        seen = dict(answer)
        for key, view in (
            *(("Containers", self.containers), ("ContainerUsage", self.containers)),
            *(("Volumes", self.volume_list), ("VolumeUsage", self.volume_list)),
        ):
            value = seen.get(key)
            if isinstance(value, list):
                seen[key] = view(value)
            elif isinstance(value, dict) and isinstance(value.get("Items"), list):
                seen[key] = {**value, "Items": view(value["Items"])}
        return seen

    def event(self, event: Json) -> Json | None:
        """An event, when it is about something of the caller's, or about nobody's containers."""
        kind, actor = event["Type"], event["Actor"]
        if kind in ("container", "volume"):
            return event if self._owns(kind, str(actor["ID"])) else None
        if kind == "network":
            container = (actor.get("Attributes") or {}).get("container")
            if container:
                return event if self._owns("container", str(container)) else None
            return event if self._sees_network(str(actor["ID"])) else None
        return event

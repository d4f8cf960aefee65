"""All networks by ID, as they are in the store; and which one a client means."""

from collections.abc import Iterator
from typing import Any

from compatd.engine.errors import InvalidParameter, NotFound
from compatd.engine.networks.model import Network


class Catalog:
    """Networks that are being made or removed are in the store, but not found here."""

    def __init__(self, store: Any) -> None:
        self._table = store.networks
        self._networks: dict[str, Network] = {}

    def __iter__(self) -> Iterator[Network]:
        """All of them, oldest first; the list may change meanwhile."""
        return iter(list(self._networks.values()))

    def stored(self) -> list[Network]:
        """What the store has; documents of releases that knew only the predefined networks are left out."""
        return [Network.load(document) for _, document in self._table.all() if "name" in document]

    def old_ids(self) -> dict[str, str]:
        """IDs by name of those documents: they are kept."""
        return {document["Name"]: document["Id"] for _, document in self._table.all() if "Name" in document}

    def note(self, network: Network, state: str) -> None:
        """Writes down that it is being made or removed. Raises StoreError."""
        network.state = state
        self._table.put(network.id, network.document())
        self._networks.pop(network.id, None)

    def add(self, network: Network) -> None:
        """From now on it is found. Raises StoreError."""
        network.state = ""
        self._table.put(network.id, network.document())
        self._networks[network.id] = network

    def forget(self, network: Network) -> None:
        """It is gone."""
        self._networks.pop(network.id, None)
        self._table.delete(network.id)

    def get(self, network_id: str) -> Network | None:
        """By the whole ID."""
        return self._networks.get(network_id)

    def named(self, name: str) -> Network | None:
        """By the whole name."""
        return next((n for n in self._networks.values() if n.name == name), None)

    def find(self, term: str) -> Network | None:
        """As `resolve`, with None instead of an error."""
        try:
            return self.resolve(term)
        except (InvalidParameter, NotFound):
            return None

    def resolve(self, term: str) -> Network:
        """By ID, name or the ID's beginning, in this order. Raises NotFound, InvalidParameter."""
        exact = self._networks.get(term) or self.named(term)
        if exact is not None:
            return exact
        found = [n for n in self._networks.values() if n.id.startswith(term)]
        if len(found) > 1:
            raise InvalidParameter(
                f"network {term} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NotFound(f"network {term} not found")
        return found[0]

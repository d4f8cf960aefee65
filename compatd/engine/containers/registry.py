"""All containers in memory, by ID and by name, and their documents in the store."""

from bisect import bisect_left, insort
from typing import Any

from compatd.engine.containers import names
from compatd.engine.containers.model import Container
from compatd.engine.errors import Conflict, InvalidParameter, NotFound


class Registry:
    """The index. Names are reserved for an ID before the container exists."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, str] = {}
        self._sorted: list[str] = []
        self.links: dict[str, dict[str, Container]] = {}
        """Of each container with links: alias → linked container (`containers.links`)."""

    def load(self) -> list[Container]:
        """Read all containers from the store; what cannot be read is left out."""
        for _, document in self._table.all():
            container = Container.from_document(document)
            self._by_name[container.name] = container.id
            self._insert(container)
        return self.all()

    def _insert(self, container: Container) -> None:
        self._by_id[container.id] = container
        insort(self._sorted, container.id)

    def all(self) -> list[Container]:
        """Every container, in the order they were made."""
        return list(self._by_id.values())

    def find(self, reference: str) -> Container:
        """By ID, name or the beginning of an ID.

        Raises NotFound `No such container: …`, InvalidParameter when several IDs begin so.
        """
        if not reference:
            raise InvalidParameter('invalid name or ID supplied: ""')
        container = self._by_id.get(reference)
        if container:
            return container
        named = self._by_name.get(reference.removeprefix("/"))
        if named in self._by_id:
            return self._by_id[named]
        parent, slash, alias = reference.removeprefix("/").rpartition("/")
        if slash and (linked := self.links.get(self._by_name.get(parent, ""), {}).get(alias)):
            return linked
        return self._by_id[self.by_prefix(reference)]

    def parents(self, child: Container) -> list[tuple[Container, str]]:
        """Who links to a container, and by which alias."""
        return [
            (self._by_id[parent], alias)
            for parent, aliases in self.links.items()
            for alias, linked in aliases.items()
            if linked is child and parent in self._by_id
        ]

    def by_prefix(self, prefix: str) -> str:
        """The one ID that begins so; raises as `find` does."""
        start = bisect_left(self._sorted, prefix)
        matches = [item for item in self._sorted[start : start + 2] if item.startswith(prefix)]
        if not matches:
            raise NotFound(f"No such container: {prefix}")
        if len(matches) > 1:
            raise InvalidParameter(f"multiple IDs found with provided prefix: {prefix}")
        return matches[0]

    def get(self, container_id: str) -> Container | None:
        """By the whole ID, or None."""
        return self._by_id.get(container_id)

    def reserve(self, container_id: str, name: str) -> str:
        """Take a name for an ID; without a name a random one. Gives the name without a slash.

        Raises InvalidParameter for a bad name, Conflict for a taken one.
        """
        if not name:
            for attempt in range(6):
                candidate = names.random_name(attempt)
                if candidate not in self._by_name:
                    self._by_name[candidate] = container_id
                    return candidate
            name = container_id[:12]
        names.check_name(name)
        plain = name.removeprefix("/")
        owner = self._by_name.get(plain)
        if owner and owner != container_id:
            raise Conflict(
                f'Conflict. The container name "/{plain}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._by_name[plain] = container_id
        return plain

    def release(self, name: str) -> None:
        """Give a name back."""
        self._by_name.pop(name, None)

    def add(self, container: Container) -> None:
        """Take in a new container and write it down."""
        self._table.put(container.id, container.to_document())
        self._insert(container)

    def save(self, container: Container) -> None:
        """Write a container's present state; called before the change is acknowledged.

        A container that is being removed from the store at the same time is not written again.
        """
        container.version += 1
        if container.id in self._by_id:
            self._table.put(container.id, container.to_document())

    def remove(self, container: Container) -> None:
        """Forget a container and its name, here and in the store."""
        self._table.delete(container.id)
        self.links.pop(container.id, None)
        if self._by_id.pop(container.id, None):
            del self._sorted[bisect_left(self._sorted, container.id)]
        if self._by_name.get(container.name) == container.id:
            del self._by_name[container.name]

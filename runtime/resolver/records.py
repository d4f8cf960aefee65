"""Who is called what on which network: the daemon tells, sandboxes ask."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Values by the endpoint that they come from, so that each goes with its endpoint.
    Table = dict[bytes, dict[str, bytes]]


class Network:
    """The names of one network. Keys are lower case: names for addresses, reversed addresses for names."""

    __slots__ = ("name", "reverse", "v4", "v6")

    def __init__(self, name: str) -> None:
        self.name = _key(name)
        self.v4: Table = {}
        self.v6: Table = {}
        self.reverse: Table = {}

    def addresses(self, name: bytes, *, v6: bool) -> list[bytes] | None:
        """The addresses of a name, each once; [] when it has none of this family, None for an unknown one."""
        four, six = self.v4.get(name), self.v6.get(name)
        if four is None and six is None:
            return None
        return list(dict.fromkeys(((six if v6 else four) or {}).values()))

    def host(self, reversed_address: bytes) -> bytes | None:
        """The name of an address, with the network's behind it."""
        for name in self.reverse.get(reversed_address, {}).values():
            return name
        return None


class Records:
    """All networks of the daemon. `generation` grows with every change."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.generation = 0
        self._places: dict[str, tuple[Network, list[tuple[Table, bytes]]]] = {}

    def add(self, record: dict[str, Any]) -> None:
        """Take an endpoint in: `{"endpoint", "network", "network_name", "names", "v4", "v6"}`.

        One that is there is replaced. The first name is the one of its addresses. Raises KeyError,
        ValueError, OSError (no address), nothing is changed then.
        """
        addresses = _packed(record)
        endpoint, names = str(record["endpoint"]), [str(name) for name in record["names"]]
        self.remove(endpoint)
        network = self.networks.setdefault(record["network"], Network(record["network_name"]))
        places: list[tuple[Table, bytes, bytes]] = []
        for packed, v6 in addresses:
            table = network.v6 if v6 else network.v4
            places += [(table, _key(name), packed) for name in names]
            if names:
                full = f"{names[0]}.{record['network_name']}".encode()
                places.append((network.reverse, _reversed(packed), full))
        for table, key, value in places:
            table.setdefault(key, {})[endpoint] = value
        self._places[endpoint] = network, [(table, key) for table, key, _ in places]
        self.generation += 1

    def remove(self, endpoint: str) -> None:
        """Forget an endpoint, and a network with its last one. An unknown one is no error."""
        network, places = self._places.pop(endpoint, (None, []))
        for table, key in places:
            values = table.get(key, {})
            values.pop(endpoint, None)
            if not values:
                table.pop(key, None)
        if network is not None and not (network.v4 or network.v6):
            self.networks = {id: kept for id, kept in self.networks.items() if kept is not network}
        self.generation += 1

    def clear(self) -> None:
        """Forget everything."""
        self.networks.clear()
        self._places.clear()
        self.generation += 1


def _key(name: str) -> bytes:
    # What is not ASCII cannot be asked for: dockerd compares it with the escaped form of a query.
    return name.lower().encode()


def _packed(record: dict[str, Any]) -> list[tuple[bytes, bool]]:
    found = []
    if record.get("v4"):
        found.append((_socket.inet_pton(_socket.AF_INET, record["v4"]), False))
    if record.get("v6"):
        found.append((_socket.inet_pton(_socket.AF_INET6, record["v6"]), True))
    return found


def _reversed(packed: bytes) -> bytes:
    """As in PTR queries, without the domain: `2.0.18.172`, or nibbles."""
    if len(packed) == 4:
        return ".".join(str(byte) for byte in reversed(packed)).encode()
    return ".".join(reversed(packed.hex())).encode()

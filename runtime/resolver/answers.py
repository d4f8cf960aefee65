"""What a container's queries get: an answer made here, or the word to ask other servers. No I/O.

The rules are libnetwork's (sandbox.go, resolver.go): `a.b.c` is a name on any of the container's networks,
then `a.b` on its network `c`, then `a` on `b.c`; names of links first. Each answer begins with another
address, by chance. A name that has addresses of the other family only gets an empty answer, and is not
asked elsewhere.
"""

from __future__ import annotations

import random

from runtime.resolver import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.resolver.message import Query
    from runtime.resolver.records import Network, Records

TTL = 600
#: External servers that are tried.
MOST_SERVERS = 3
_V4_DOMAIN, _V6_DOMAIN = [b"in-addr", b"arpa"], [b"ip6", b"arpa"]
#: Answers kept ready: how many bytes of them, and the longest query that one is kept for.
_READY, _LONGEST = 512 * 1024, 100
#: More addresses than these are put in order for each answer.
_MOST_TURNS = 16


class Server:
    """An external server, asked from the host's network namespace or the container's own."""

    __slots__ = ("address", "from_host", "port")

    def __init__(self, address: str, from_host: bool, port: int = 53) -> None:
        self.address = address
        self.from_host = from_host
        self.port = port


class View:
    """What one container may know: the names on its networks. `document` is the daemon's sandbox:

    `{"container", "endpoints": [{"id", "network", "links": {alias: name}}],
    "servers": [[address, from_host]], "forward": bool, "ndots": bool}`.
    `forward` False: it is on internal networks only, and nothing is asked from the host for it
    (CVE-2024-29018). `ndots`: the option is set, so a name without dots is none outside.
    """

    def __init__(self, records: Records, document: dict[str, Any]) -> None:
        """Raises KeyError, TypeError, ValueError for what is no sandbox."""
        self._records = records
        self._ready: dict[bytes, list[bytes]] = {}
        self._ready_size = 0
        self._generation = -1
        self.update(document)

    def update(self, document: dict[str, Any]) -> None:
        """Go by another document from now on. Raises as the constructor."""
        self.container = str(document["container"])
        self.endpoints: list[str] = [str(e["id"]) for e in document["endpoints"]]
        self._places: list[tuple[str, dict[bytes, bytes]]] = [
            (
                str(e["network"]),
                {k.lower().encode(): v.lower().encode() for k, v in (e.get("links") or {}).items()},
            )
            for e in document["endpoints"]
        ]
        given = [Server(*entry) for entry in document["servers"]]
        self._servers = [s for s in given if s.from_host or s.address != "127.0.0.11"][:MOST_SERVERS]
        self._forward = bool(document["forward"])
        self._ndots = bool(document["ndots"])
        self._generation = -1

    def servers(self) -> list[Server]:
        """Whom to ask, in order."""
        return [server for server in self._servers if self._forward or not server.from_host]

    def quick(self, raw: bytes) -> bytes | None:
        """The answer to a datagram that was answered before, None when it must be looked at."""
        if self._generation != self._records.generation:
            self._refresh()
        found = self._ready.get(raw[2:])
        if found is None:
            return None
        return raw[:2] + found[int(random.random() * len(found))]  # noqa: S311 - whose turn it is

    def _refresh(self) -> None:
        self._ready.clear()
        self._ready_size = 0
        self._generation = self._records.generation

    def answer(self, query: Query, limit: int) -> bytes | None:
        """The answer of at most `limit` bytes; None: to be asked elsewhere."""
        answers = self._answers(query)
        if answers is None:
            if self._ndots and query.kind in (message.A, message.AAAA) and len(query.labels) < 2:
                return message.records(query, (), limit=limit)
            return None
        random.shuffle(answers)
        made = message.records(query, answers, limit=limit)
        if limit == query.size and len(query.raw) <= _LONGEST and len(answers) <= _MOST_TURNS:
            turns = (answers[i:] + answers[:i] for i in range(len(answers) or 1))
            self._keep(query.raw[2:], [message.records(query, turn, limit=limit)[2:] for turn in turns])
        return made

    def _keep(self, asked: bytes, answers: list[bytes]) -> None:
        if self._ready_size > _READY or self._generation != self._records.generation:
            self._refresh()
        self._ready_size += len(asked) + sum(map(len, answers)) + 200  # some for the objects
        self._ready[asked] = answers

    def _answers(self, query: Query) -> list[bytes] | None:
        kind = query.kind
        if kind in (message.A, message.AAAA):
            addresses = self._resolve(query.labels, v6=kind == message.AAAA)
            return None if addresses is None else [message.resource(kind, TTL, a) for a in addresses]
        if kind == message.MX:  # an empty answer: a mail server then asks for the address (RFC 5321, 5.1)
            return [] if self._resolve(query.labels, v6=False) is not None else None
        if kind == message.PTR:
            host = self._host(query.labels)
            return None if host is None else [message.resource(kind, TTL, host)]
        return None  # SRV, too: dockerd has such records for services of a swarm only

    def _networks(self) -> list[tuple[Network, dict[bytes, bytes]]]:
        known = self._records.networks
        return [(known[id], links) for id, links in self._places if id in known]

    def _resolve(self, labels: list[bytes], *, v6: bool) -> list[bytes] | None:
        if any(b"." in label for label in labels):
            return None
        networks = self._networks()
        for i in range(len(labels), 0, -1):
            name, network_name = b".".join(labels[:i]), b".".join(labels[i:])
            here = [(n, links) for n, links in networks if not network_name or n.name == network_name]
            for network, links in here:
                if name in links and (found := network.addresses(links[name], v6=v6)) is not None:
                    return found
            for network, links in here:
                if name not in links and (found := network.addresses(name, v6=v6)) is not None:
                    return found
        return None

    def _host(self, labels: list[bytes]) -> bytes | None:
        if labels[-2:] not in (_V4_DOMAIN, _V6_DOMAIN):
            return None
        for network, _ in self._networks():
            host = network.host(b".".join(labels[:-2]))
            if host is not None:
                try:
                    return message.encode_name(host.decode())
                except ValueError:
                    return None
        return None

"""The firewall: tables of our own, with published ports as map elements. Rules: docs/firewall.md.

One table a family, `ip compatd` and `ip6 compatd`, written by raw nfnetlink in one transaction; no `nft` or
`iptables` process runs. What is in them is made by `nft_tables`.
"""

import errno
import threading
from collections.abc import Iterable, Sequence

from runtime.net import nfnetlink as nf
from runtime.net import nft_tables as tables
from runtime.net.netlink import Request, attr_str, attribute_list, attributes
from runtime.net.nft_tables import FAMILIES, Binding, Link, Network, Options

DEFAULTS = Options()
__all__ = ["Binding", "Firewall", "Link", "Network", "Options"]


class Firewall:
    """The tables in the network namespace of the thread that makes this object. Any thread may use it."""

    def __init__(self, table: str = "compatd", families: Sequence[int] = (4, 6)) -> None:
        """`families`: 4 and 6, those that have a table (iptables and ip6tables of daemon.json).

        Raises OSError when the kernel has no nf_tables (EPROTONOSUPPORT) or refuses (EPERM).
        """
        self.table = table
        self.families = tuple(families)
        self._sock = nf.NftSocket()
        self._lock = threading.Lock()

    def __enter__(self) -> "Firewall":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port_id(self) -> int:
        """By which netlink's notifications tell our own changes."""
        return int(self._sock.sock.getsockname()[0])

    def close(self) -> None:
        """Closes the socket; the tables stay."""
        self._sock.close()

    def rebuild(
        self,
        networks: Iterable[Network],
        bindings: Iterable[Binding],
        links: Iterable[Link] = (),
        options: Options = DEFAULTS,
    ) -> None:
        """Replaces all by tables with these networks, ports and links, at one moment.

        Connections that are tracked already go on. Raises OSError.
        """
        networks, bindings, links = list(networks), list(bindings), list(links)
        requests = []
        for number in self.families:
            family, table = FAMILIES[number], self.table
            # Adding first makes the delete succeed in any case (there is no "delete if exists" before 6.3).
            requests += [
                nf.new_table(table, family.number),
                nf.delete_table(table, family.number),
                nf.new_table(table, family.number),
            ]
            requests += tables.build(family, table, networks, options)
        requests += self._elements(bindings, links, delete=False)
        self._commit(requests)

    def publish(self, bindings: Iterable[Binding], links: Iterable[Link] = ()) -> None:
        """Adds ports and links, all or none. Raises OSError; EEXIST when a port is there with another
        target, ENOENT when the table is not there."""
        self._commit(self._elements(bindings, links, delete=False))

    def withdraw(self, bindings: Iterable[Binding], links: Iterable[Link] = ()) -> None:
        """Removes ports and links; those that are not there are left out. Raises OSError."""
        bindings, links = list(bindings), list(links)
        try:
            self._commit(self._elements(bindings, links, delete=True))
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise
            if len(bindings) + len(links) > 1:
                for b in bindings:
                    self.withdraw([b])
                for link in links:
                    self.withdraw([], [link])

    def listing(self) -> list[Binding]:
        """The ports that the kernel holds now, in no order. A table that is not there has none."""
        found = []
        with self._lock:
            for number in self.families:
                family = FAMILIES[number]
                for name in (tables.PUBLISHED, tables.PUBLISHED_ON):
                    for item in self._items(name, family.number):
                        found.append(tables.decode(item, family, with_address=name == tables.PUBLISHED_ON))
        return found

    def _items(self, name: str, family: int) -> Iterable[bytes]:
        where = [attr_str(1, self.table), attr_str(2, name)]
        request = nf.message(nf.GETSETELEM, 0, "", *where, family=family)
        try:
            answers = list(self._sock.dump(request.kind, request.body, f"list {self.table} {name}"))
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise
            return
        for _, body in answers:
            for _, item in attribute_list(attributes(body[4:]).get(3, b"")):
                yield item

    def delete(self) -> None:
        """Removes the tables; none is no error."""
        requests = []
        for number in self.families:
            family = FAMILIES[number].number
            requests += [nf.new_table(self.table, family), nf.delete_table(self.table, family)]
        self._commit(requests)

    def _elements(self, bindings: Iterable[Binding], links: Iterable[Link], *, delete: bool) -> list[Request]:
        bindings, links = list(bindings), list(links)
        return [
            request
            for number in self.families
            for request in tables.elements(FAMILIES[number], self.table, bindings, links, delete=delete)
        ]

    def _commit(self, requests: list[Request]) -> None:
        with self._lock:
            self._sock.commit(requests)

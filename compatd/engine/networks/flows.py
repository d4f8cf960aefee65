"""Has the kernel forget tracked flows of ports and containers that have changed hands."""

import logging
import threading
from collections.abc import Callable, Collection

from runtime.net import conntrack

log = logging.getLogger(__name__)


class Flows:
    """One thread at most, while there is something to forget: the kernel walks its whole table for it, which
    takes some 10 ms however few flows there are."""

    def __init__(self, given_up: Callable[[str], bool]) -> None:
        """`given_up(address)`: no container has it (again)."""
        self._given_up = given_up
        self._lock = threading.Lock()
        self._ports: set[int] = set()
        self._addresses: set[str] = set()
        self._thread: threading.Thread | None = None

    def forget(self, *, udp_ports: Collection[int] = (), addresses: Collection[str] = ()) -> None:
        """As `conntrack.forget`, soon."""
        if not udp_ports and not addresses:
            return
        with self._lock:
            self._ports.update(udp_ports)
            self._addresses.update(addresses)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="forget-flows", daemon=True)
                self._thread.start()

    def finish(self) -> None:
        """Waits until there is nothing to forget."""
        while (thread := self._thread) is not None:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                ports, addresses = self._ports, self._addresses
                if not ports and not addresses:
                    self._thread = None
                    return
                self._ports, self._addresses = set(), set()
            try:
                conntrack.forget(ports, addresses, still=self._given_up)
            except OSError as e:
                log.warning("forgetting tracked flows: %s", e)

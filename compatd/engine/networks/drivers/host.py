"""Driver `host`: the host's own network; there is one such network."""

from compatd.engine.errors import Forbidden
from compatd.engine.networks.drivers.base import Driver
from compatd.engine.networks.model import Network


class Host(Driver):
    """A container on it shares the host's network namespace."""

    name = "host"
    addressed = False

    def check(self, network: Network) -> None:
        raise Forbidden('only one instance of "host" network is allowed')

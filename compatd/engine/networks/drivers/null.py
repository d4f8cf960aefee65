"""Driver `null`: no network at all; there is one such network, `none`."""

from compatd.engine.errors import Forbidden
from compatd.engine.networks.drivers.base import Driver
from compatd.engine.networks.model import Network


class Null(Driver):
    """A container on it has a loopback interface only."""

    name = "null"
    addressed = False

    def check(self, network: Network) -> None:
        raise Forbidden('only one instance of "null" network is allowed')

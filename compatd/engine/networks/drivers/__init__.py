"""Network drivers, one module each: what a network of that kind may look like, and its side of the host."""

from compatd.engine.networks.drivers.base import Driver
from compatd.engine.networks.drivers.bridge import Bridge
from compatd.engine.networks.drivers.host import Host
from compatd.engine.networks.drivers.ipvlan import Ipvlan
from compatd.engine.networks.drivers.macvlan import Macvlan
from compatd.engine.networks.drivers.null import Null

DRIVERS: dict[str, Driver] = {
    driver.name: driver for driver in (Bridge(), Host(), Ipvlan(), Macvlan(), Null())
}
"""By the name that clients use."""

__all__ = ["DRIVERS", "Driver"]

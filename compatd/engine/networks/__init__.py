"""Networks: predefined networks, addresses, published ports, and the files that name resolution reads."""

from compatd.engine.networks.model import NetworkLease
from compatd.engine.networks.networks import Networks
from compatd.engine.networks.rules import table_name

__all__ = ["NetworkLease", "Networks", "table_name"]

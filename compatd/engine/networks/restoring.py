"""The networks at a daemon's start: those of the store, and the predefined ones."""

import logging
import secrets
import time
from typing import Any

from compatd.engine.errors import EngineError
from compatd.engine.networks import default_bridge
from compatd.engine.networks.addressing import Addressing
from compatd.engine.networks.catalog import Catalog
from compatd.engine.networks.drivers import DRIVERS
from compatd.engine.networks.model import Network
from compatd.engine.timestamps import rfc3339

log = logging.getLogger(__name__)

_PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}


def restore(catalog: Catalog, addressing: Addressing, config: Any) -> None:
    """Fills the catalog: what is missing on the host is made again, what was half made or half removed is
    undone. Raises EngineError, OSError when the default bridge cannot be had."""
    stored, old = catalog.stored(), catalog.old_ids()
    for network in stored:
        if network.user_defined and not network.state:
            _restore(catalog, addressing, network)
    for network in stored:
        if network.user_defined and network.state:
            _undo(catalog, network)
    known = {network.name: network for network in stored if not network.user_defined}
    for name, driver in _PREDEFINED.items():
        before = known.get(name)
        id = before.id if before else old.get(name) or secrets.token_hex(32)
        created = before.created if before else rfc3339(time.time_ns())
        if name != "bridge":
            catalog.add(Network(name, id, created, driver))
        elif config.bridge != "none":
            network = default_bridge.describe(config, before, id, created)
            addressing.allocate(network, without=network.bridge)
            DRIVERS[driver].restore(network)
            catalog.add(network)
        elif before is not None:
            catalog.forget(before)


def _restore(catalog: Catalog, addressing: Addressing, network: Network) -> None:
    """One whose host side cannot be made stays all the same: maybe it can next time."""
    if not network.config_only:
        try:
            addressing.restore(network)
            DRIVERS[network.driver].restore(network)
        except (EngineError, OSError) as e:
            log.warning("restoring network %s: %s", network.name, e)
    catalog.add(network)


def _undo(catalog: Catalog, network: Network) -> None:
    others = [n for n in catalog if n.driver == network.driver]
    try:
        DRIVERS[network.driver].remove(network, others)
    except (EngineError, OSError) as e:
        log.warning("removing half of network %s: %s", network.name, e)
    catalog.forget(network)

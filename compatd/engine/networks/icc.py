"""What icc=false lets through on the default bridge: links (HostConfig.Links), by the firewall's rules."""

import logging
from collections.abc import Iterable

from compatd.engine.networks import ports
from compatd.engine.networks.drivers import bridge
from compatd.engine.networks.model import Endpoint, Network
from compatd.engine.networks.rules import Rules
from runtime.net import nft

log = logging.getLogger(__name__)


def link(
    rules: Rules | None,
    network: Network | None,
    container_id: str,
    own: Endpoint | None,
    linked: Iterable[Endpoint],
) -> None:
    """A container whose endpoint is `own` reaches the exposed ports of `linked`, all on `network`.

    Raises OSError.
    """
    if rules is None or network is None or own is None or bridge.parse(network.options).icc:
        return
    rules.link(
        container_id,
        [
            nft.Link(own.address, other.address, protocol, port)
            for other in linked
            for port, protocol in map(ports.parse_key, other.exposed)
        ],
    )


def unlink(rules: Rules | None, container_id: str) -> None:
    """Its links are gone. Never raises."""
    try:
        if rules is not None:
            rules.unlink(container_id)
    except OSError as e:
        log.warning("the links of %s: %s", container_id, e)

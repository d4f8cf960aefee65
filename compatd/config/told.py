"""Options that are taken and change nothing: each is told once, with what to do."""

import logging

from compatd.config.config import Config
from compatd.config.options import OPTIONS

log = logging.getLogger(__name__)


def idle(config: Config) -> list[tuple[str, str]]:
    """The keys that were given and change nothing, with what to do about each."""
    found = []
    for option in OPTIONS:
        value = config.given.get(option.key, option.default)
        if option.key == "firewall-backend" and value == "nftables":
            continue
        if option.idle and value != option.default:
            found.append((option.key, option.idle))
    return found


def tell(config: Config) -> None:
    """Into the log."""
    for note in config.notes:
        log.warning("%s", note)
    for key, text in idle(config):
        log.warning("option %s has no effect: %s", key, text, extra={"fields": {"option": key}})

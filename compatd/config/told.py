"""Options that are taken and change nothing: each is told once, with what to do."""

import logging

from compatd.config.config import Config
from compatd.config.options import OPTIONS

log = logging.getLogger(__name__)


def idle(config: Config) -> list[tuple[str, str]]:
    """The keys that were given and change nothing, with what to do about each."""
    found = []
    for option in OPTIONS:
        if option.idle and config.given.get(option.key, option.default) != option.default:
            found.append((option.key, option.idle))
    return found


def tell(config: Config) -> None:
    """Into the log."""
    for key, text in idle(config):
        log.warning("option %s has no effect: %s", key, text, extra={"fields": {"option": key}})

"""Proxies for what the daemon asks other machines: the options go into the environment, as in dockerd."""

import logging
import os

from compatd.config.config import Config

log = logging.getLogger(__name__)


def export(config: Config) -> None:
    """Set HTTP_PROXY, HTTPS_PROXY and NO_PROXY where the options say so; they win over the environment."""
    for name, value in (
        ("HTTP_PROXY", config.http_proxy),
        ("HTTPS_PROXY", config.https_proxy),
        ("NO_PROXY", config.no_proxy),
    ):
        if not value:
            continue
        before = {os.environ.get(name), os.environ.pop(name.lower(), None)} - {None, "", value}
        if before:
            log.warning("overriding existing proxy variable %s with the value from the configuration", name)
        os.environ[name] = value

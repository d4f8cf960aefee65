"""Handlers by noun: decode, one engine call, encode. No decisions here."""

from compatd.http import Handler


def handlers() -> dict[str, Handler]:
    """All that is built, by operation ID."""
    from compatd.api import container, exec, image, network, system, volume

    found: dict[str, Handler] = {}
    for noun in (container, exec, image, network, system, volume):
        found.update(noun.HANDLERS)
    return found

"""Bytes to handlers: listeners, the protocol, routing, version gates, streams, errors.

What handlers need (answers, Call) is here at once; what serves (and with it Sanic) is loaded when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compatd.http.answers import Answer, Empty, Json, Raw, Text

if TYPE_CHECKING:
    from compatd.http.call import MULTIPLEXED_STREAM, RAW_STREAM, Call, Handler
    from compatd.http.exchange import ClientGone
    from compatd.http.listeners import listen
    from compatd.http.server import Identity, Server
    from compatd.http.streams import Hijacked, Stream

_ELSEWHERE = {
    "MULTIPLEXED_STREAM": "call",
    "RAW_STREAM": "call",
    "Call": "call",
    "Handler": "call",
    "ClientGone": "exchange",
    "listen": "listeners",
    "Identity": "server",
    "Server": "server",
    "Hijacked": "streams",
    "Stream": "streams",
}

__all__ = [
    "MULTIPLEXED_STREAM",
    "RAW_STREAM",
    "Answer",
    "Call",
    "ClientGone",
    "Empty",
    "Handler",
    "Hijacked",
    "Identity",
    "Json",
    "Raw",
    "Server",
    "Stream",
    "Text",
    "listen",
]


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        import importlib

        return getattr(importlib.import_module(f"compatd.http.{_ELSEWHERE[name]}"), name)
    raise AttributeError(name)

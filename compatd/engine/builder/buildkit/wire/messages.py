"""Messages and methods by name, made from the tables when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

from compatd.engine.builder.buildkit.wire.codec import Message, Row, make
from compatd.engine.builder.buildkit.wire.tables import control, errors, gateway, ops, session
from compatd.engine.builder.buildkit.wire.tables.services import SERVICES

_SCALARS = frozenset(("bool", "bytes", "enum", "int32", "int64", "string", "uint32", "uint64"))
_TABLES: dict[str, dict[str, str]] = {
    package: rows for part in (control, errors, gateway, ops, session) for package, rows in part.TABLE.items()
}


@cache
def proto(name: str) -> type[Message]:
    """A message's class by its full name, such as `moby.buildkit.v1.SolveRequest`. Raises KeyError."""
    package, _, short = name.rpartition(".")
    text = _TABLES[package][short]
    return make(name, (_row(package, part) for part in text.split(",") if part.strip()))


def _row(package: str, text: str) -> Row:
    number, name, kind = text.split()
    kind, _, oneof = kind.partition("@")
    repeated = kind.endswith("*")
    key, arrow, value = kind.rstrip("*").partition(">")
    if not arrow:
        key, value = "", key
    of: Callable[[], type[Message]] | None = None
    if value not in _SCALARS:
        of = partial(proto, value if value not in _TABLES[package] else f"{package}.{value}")
        value = "message"
    return Row(int(number), name, value, of, repeated, key, oneof)


class Method(NamedTuple):
    """An RPC; `client_streams`: many requests, `server_streams`: many responses."""

    path: str
    request: type[Message]
    response: type[Message]
    client_streams: bool
    server_streams: bool


@cache
def method(path: str) -> Method:
    """An RPC by its path, such as `/moby.buildkit.v1.Control/Solve`. Raises KeyError."""
    _, service, name = path.split("/", 2)
    request, response = SERVICES[service][name].split(" > ")
    package = service.rpartition(".")[0]
    types = []
    for text in (request, response):
        short = text.removeprefix("stream ")
        types.append(proto(short if "." in short else f"{package}.{short}"))
    return Method(path, types[0], types[1], request.startswith("stream "), response.startswith("stream "))


def timestamp(nanoseconds: int) -> Message:
    """A google.protobuf.Timestamp of nanoseconds since 1970."""
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return proto("google.protobuf.Timestamp")(seconds=seconds, nanos=nanos)


def nanoseconds(stamp: Message | None) -> int | None:
    """The other way; None for an absent one."""
    return None if stamp is None else int(stamp.seconds * 1_000_000_000 + stamp.nanos)

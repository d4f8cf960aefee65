"""BuildKit's doors: connections that become HTTP/2, with the engine as gRPC's server or as its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.wire import sessions
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.http import Call, Handler

if TYPE_CHECKING:
    from compatd.engine.engine import Engine

PROTOCOL = "h2c"


def _unwanted(protocol: str) -> str:
    """Why a connection cannot be upgraded; "" when it can."""
    if not protocol:
        return "no upgrade proto in request"
    return "" if protocol == PROTOCOL else f"protocol {protocol} not supported"


async def grpc(engine: Engine, call: Call) -> None:
    """Grpc."""
    why = _unwanted(call.header("upgrade"))
    if why:
        raise EngineError(why)
    await engine.buildkit.serve(await call.upgrade(PROTOCOL), Peer(*call.access))


async def session(engine: Engine, call: Call) -> None:
    """Session."""
    fields = (sessions.ID, sessions.NAME, sessions.SHARED_KEY)
    headers = {name: [call.header(name)] for name in fields}
    headers[sessions.METHODS] = [part.strip() for part in call.header(sessions.METHODS).split(",")]
    id = headers[sessions.ID][0]
    if engine.buildkit.sessions.known(id):
        raise InvalidParameter(f"session {id} already exists")
    why = _unwanted(call.header("upgrade"))
    if why:
        raise InvalidParameter(why)
    await engine.buildkit.hold(await call.upgrade(PROTOCOL), headers, Peer(*call.access))


def dismiss(engine: Engine, call: Call) -> None:
    """A build was refused: nobody needs its session."""
    id = call.query.get("session")
    if id:
        engine.buildkit.sessions.dismiss(id, call.access[1])


REFUSED = {"ImageBuild": dismiss}
HANDLERS: dict[str, Handler] = {"Grpc": grpc, "Session": session}

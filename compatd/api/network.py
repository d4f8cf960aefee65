"""`/networks`: what is there, and who is on it."""

from apispec import Version
from compatd.engine.engine import Engine
from compatd.http import Answer, Call, Empty, Handler, Json

_SUMMARIES = Version("1.28")


async def network_list(engine: Engine, call: Call) -> Answer:
    detailed = call.version < _SUMMARIES
    return Json(engine.networks.list(call.query.get("filters") or {}, detailed=detailed))


async def network_inspect(engine: Engine, call: Call) -> Answer:
    return Json(engine.networks.inspect(call.path["id"], call.query.get("scope") or ""))


async def network_delete(engine: Engine, call: Call) -> Answer:
    engine.networks.remove(call.path["id"])
    return Empty(204)


HANDLERS: dict[str, Handler] = {
    "NetworkList": network_list,
    "NetworkInspect": network_inspect,
    "NetworkDelete": network_delete,
}

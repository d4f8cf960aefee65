"""`/networks`: what is there, who is on it, and changes of both."""

from typing import Any

from apispec import Version
from compatd.engine.engine import Engine
from compatd.http import Answer, Call, Empty, Handler, Json

_SUMMARIES = Version("1.28")


def _filters(call: Call) -> dict[str, Any]:
    return call.query.get("filters") or {}


async def network_list(engine: Engine, call: Call) -> Answer:
    return Json(engine.networks.list(_filters(call), detailed=call.version < _SUMMARIES))


async def network_inspect(engine: Engine, call: Call) -> Answer:
    return Json(engine.networks.inspect(call.path["id"], call.query.get("scope") or ""))


async def network_create(engine: Engine, call: Call) -> Answer:
    return Json({"Id": await engine.networks.create(call.body or {}), "Warning": ""}, status=201)


async def network_connect(engine: Engine, call: Call) -> Answer:
    body = call.body or {}
    await engine.containers.connect(
        body.get("Container") or "", call.path["id"], body.get("EndpointConfig") or {}
    )
    return Empty(200)


async def network_disconnect(engine: Engine, call: Call) -> Answer:
    body = call.body or {}
    await engine.containers.disconnect(
        body.get("Container") or "", call.path["id"], force=bool(body.get("Force"))
    )
    return Empty(200)


async def network_delete(engine: Engine, call: Call) -> Answer:
    await engine.networks.remove(call.path["id"])
    return Empty(204)


async def network_prune(engine: Engine, call: Call) -> Answer:
    return Json({"NetworksDeleted": await engine.networks.prune(_filters(call)) or None})


HANDLERS: dict[str, Handler] = {
    "NetworkList": network_list,
    "NetworkInspect": network_inspect,
    "NetworkCreate": network_create,
    "NetworkConnect": network_connect,
    "NetworkDisconnect": network_disconnect,
    "NetworkDelete": network_delete,
    "NetworkPrune": network_prune,
}

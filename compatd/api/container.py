"""`/containers`: decode, one engine call, encode."""

from typing import Any

from compatd.api.container_streams import STREAM_HANDLERS
from compatd.api.create_compat import adapt
from compatd.engine.engine import Engine
from compatd.engine.errors import InvalidParameter
from compatd.http import Answer, Call, Empty, Handler, Json


def _filters(call: Call) -> dict[str, list[str]]:
    return call.query.get("filters") or {}


async def container_list(engine: Engine, call: Call) -> Answer:
    query = call.query
    return Json(
        await engine.containers.list(
            all=bool(query.get("all")),
            limit=int(query.get("limit") or 0),
            size=bool(query.get("size")),
            filters=_filters(call),
        )
    )


async def container_create(engine: Engine, call: Call) -> Answer:
    body: dict[str, Any] = call.body or {}
    warnings = adapt(body, call.version)
    platform = (call.query.get("platform") or "") if call.version >= "1.41" else ""
    answer = await engine.containers.create(
        body, call.query.get("name") or "", platform, old_readonly=call.version < "1.44"
    )
    answer["Warnings"] += warnings
    return Json(answer, status=201)


async def container_inspect(engine: Engine, call: Call) -> Answer:
    return Json(await engine.containers.inspect(call.path["id"], size=bool(call.query.get("size"))))


async def container_top(engine: Engine, call: Call) -> Answer:
    return Json(await engine.containers.top(call.path["id"], call.query.get("ps_args") or ""))


async def container_update(engine: Engine, call: Call) -> Answer:
    warnings = await engine.containers.update(call.path["id"], call.body or {})
    return Json({"Warnings": warnings or None})


async def container_start(engine: Engine, call: Call) -> Answer:
    # Shorter ones, `{}` or `null`, are what some clients send instead of none.
    if call.body_length > 7 or call.body_length == -1:
        raise InvalidParameter(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
    await engine.containers.start(call.path["id"])
    return Empty(204)


def _signal(call: Call) -> str:
    return (call.query.get("signal") or "") if call.version >= "1.42" else ""


async def container_stop(engine: Engine, call: Call) -> Answer:
    await engine.containers.stop(call.path["id"], signal=_signal(call), timeout=call.query.get("t"))
    return Empty(204)


async def container_restart(engine: Engine, call: Call) -> Answer:
    await engine.containers.restart(call.path["id"], signal=_signal(call), timeout=call.query.get("t"))
    return Empty(204)


async def container_kill(engine: Engine, call: Call) -> Answer:
    await engine.containers.kill(call.path["id"], call.query.get("signal") or "")
    return Empty(204)


async def container_rename(engine: Engine, call: Call) -> Answer:
    await engine.containers.rename(call.path["id"], call.query.get("name") or "")
    return Empty(204)


async def container_pause(engine: Engine, call: Call) -> Answer:
    await engine.containers.pause(call.path["id"])
    return Empty(204)


async def container_unpause(engine: Engine, call: Call) -> Answer:
    await engine.containers.unpause(call.path["id"])
    return Empty(204)


async def container_resize(engine: Engine, call: Call) -> Answer:
    height, width = int(call.query.get("h") or 0), int(call.query.get("w") or 0)
    await engine.containers.resize(call.path["id"], height, width)
    return Empty(200)


async def container_delete(engine: Engine, call: Call) -> Answer:
    query = call.query
    await engine.containers.remove(
        call.path["id"],
        force=bool(query.get("force")),
        volumes=bool(query.get("v")),
        link=bool(query.get("link")),
    )
    return Empty(204)


async def container_prune(engine: Engine, call: Call) -> Answer:
    return Json(await engine.containers.prune(_filters(call)))


HANDLERS: dict[str, Handler] = {
    "ContainerList": container_list,
    "ContainerCreate": container_create,
    "ContainerInspect": container_inspect,
    "ContainerTop": container_top,
    "ContainerUpdate": container_update,
    "ContainerStart": container_start,
    "ContainerStop": container_stop,
    "ContainerRestart": container_restart,
    "ContainerKill": container_kill,
    "ContainerRename": container_rename,
    "ContainerPause": container_pause,
    "ContainerUnpause": container_unpause,
    "ContainerResize": container_resize,
    "ContainerDelete": container_delete,
    "ContainerPrune": container_prune,
    **STREAM_HANDLERS,
}

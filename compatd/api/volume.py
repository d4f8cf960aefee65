"""`/volumes`: the volume operations that `docker run -v` needs."""

from typing import Any

from compatd.engine.engine import Engine
from compatd.http import Answer, Call, Empty, Handler, Json


async def volume_create(engine: Engine, call: Call) -> Answer:
    body: dict[str, Any] = call.body or {}
    volume = engine.volumes.create(
        body.get("Name") or "", body.get("Driver") or "", body.get("DriverOpts"), body.get("Labels")
    )
    return Json(volume, status=201)


async def volume_list(engine: Engine, call: Call) -> Answer:
    return Json({"Volumes": engine.volumes.find_all(call.query.get("filters") or {}), "Warnings": None})


async def volume_inspect(engine: Engine, call: Call) -> Answer:
    return Json(engine.volumes.get(call.path["name"]))


async def volume_delete(engine: Engine, call: Call) -> Answer:
    engine.volumes.remove(call.path["name"], force=bool(call.query.get("force")))
    return Empty(204)


HANDLERS: dict[str, Handler] = {
    "VolumeCreate": volume_create,
    "VolumeList": volume_list,
    "VolumeInspect": volume_inspect,
    "VolumeDelete": volume_delete,
}

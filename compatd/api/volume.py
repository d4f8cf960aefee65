"""`/volumes`: those of the local driver; cluster volumes are of a swarm, which this engine is in none of."""

from typing import Any

from apispec import Version
from compatd.engine.engine import Engine
from compatd.engine.errors import Unavailable
from compatd.http import Answer, Call, Empty, Handler, Json

_NAMED_STAY = Version("1.42")
_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
    "node to swarm and try again."
)


async def volume_create(engine: Engine, call: Call) -> Answer:
    """VolumeCreate."""
    body: dict[str, Any] = call.body or {}
    if body.get("ClusterVolumeSpec") is not None:
        raise Unavailable(_NO_SWARM)
    volume = engine.volumes.create(
        body.get("Name") or "", body.get("Driver") or "", body.get("DriverOpts"), body.get("Labels")
    )
    return Json(volume, status=201)


async def volume_list(engine: Engine, call: Call) -> Answer:
    """VolumeList: warnings are other drivers' that do not answer, of which there are none."""
    return Json({"Volumes": engine.volumes.find_all(call.query.get("filters") or {}), "Warnings": None})


async def volume_inspect(engine: Engine, call: Call) -> Answer:
    """VolumeInspect."""
    return Json(engine.volumes.get(call.path["name"]))


async def volume_update(engine: Engine, call: Call) -> Answer:
    """VolumeUpdate: only cluster volumes can be changed."""
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def volume_delete(engine: Engine, call: Call) -> Answer:
    """VolumeDelete."""
    engine.volumes.remove(call.path["name"], force=bool(call.query.get("force")))
    return Empty(204)


async def volume_prune(engine: Engine, call: Call) -> Answer:
    """VolumePrune: since 1.42 of anonymous volumes only, unless the filter `all` says otherwise."""
    filters = call.query.get("filters") or {}
    return Json(await engine.volumes.prune(filters, named_too=call.version < _NAMED_STAY))


HANDLERS: dict[str, Handler] = {
    "VolumeCreate": volume_create,
    "VolumeList": volume_list,
    "VolumeInspect": volume_inspect,
    "VolumeUpdate": volume_update,
    "VolumeDelete": volume_delete,
    "VolumePrune": volume_prune,
}

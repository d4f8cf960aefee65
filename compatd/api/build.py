"""The build cache. Nothing is built here yet, so it is empty, and there is nothing to free."""

from compatd.engine.engine import Engine
from compatd.http import Answer, Call, Handler, Json


async def build_prune(engine: Engine, call: Call) -> Answer:
    """BuildPrune."""
    engine.events.emit("builder", "prune", "", {"reclaimed": "0"})
    return Json({"CachesDeleted": None, "SpaceReclaimed": 0})


HANDLERS: dict[str, Handler] = {"BuildPrune": build_prune}

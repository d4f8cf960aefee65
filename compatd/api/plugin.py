"""`/plugins`: plugins in images are not built; there are none."""

from compatd.engine.engine import Engine
from compatd.http import Answer, Call, Handler, Json


async def plugin_list(_: Engine, __: Call) -> Answer:
    return Json([])


HANDLERS: dict[str, Handler] = {
    "PluginList": plugin_list,
}

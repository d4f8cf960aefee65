"""`/plugins`: plugins in images are not built, so none can be there."""

from compatd.engine.engine import Engine
from compatd.engine.errors import NotFound
from compatd.http import Answer, Call, Handler, Json


async def plugin_list(_: Engine, __: Call) -> Answer:
    """PluginList."""
    return Json([])


async def plugin_inspect(_: Engine, call: Call) -> Answer:
    """PluginInspect: `docker inspect` of a name of no kind asks for this one, too."""
    raise NotFound(f'plugin "{call.path["name"]}" not found')


HANDLERS: dict[str, Handler] = {
    "PluginList": plugin_list,
    "PluginInspect": plugin_inspect,
}

"""`/build`: the classic door, BuildKit's requests by the same path, and the build cache."""

from compatd.api.build_options import options
from compatd.api.image import Progress
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.classic.build import Body, build
from compatd.engine.builder.errors import BuildError
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError, InvalidParameter
from compatd.http import Answer, Call, Empty, Handler, Json
from compatd.http.lending import lend

_AUX_SINCE = "1.30"


async def image_build(engine: Engine, call: Call) -> None:
    """ImageBuild."""
    version = call.query["version"] or "1"
    if version not in ("1", "2"):
        raise InvalidParameter(f'invalid version "{version}"')
    wanted = options(call)
    progress = Progress(call)
    call.abandonable = True
    if version == "2":
        from compatd.api.build_posted import build_posted  # BuildKit's side is large

        await build_posted(engine, call, wanted, progress.write)
        return
    try:
        aux = call.version >= _AUX_SINCE
        await build(engine, wanted, Body(call.chunks, lambda: lend(call)), progress.write, aux=aux)
    except EngineError as error:
        if call.stream_open is None:
            raise
        detail: dict[str, object] = {"message": error.message}
        if isinstance(error, BuildError) and error.code:
            detail = {"code": error.code, **detail}
        await progress.write({"errorDetail": detail, "error": error.message})


async def build_cancel(engine: Engine, call: Call) -> Answer:
    """BuildCancel. One that is not there is no error, as it may just have ended."""
    wanted = call.query["id"]
    if not wanted:
        raise InvalidParameter("build ID not provided")
    owner = Peer(*call.access).owner
    if not engine.builder.cancel(wanted, owner):
        engine.buildkit.posted.cancel(wanted, owner)
    return Empty(200)


async def build_prune(engine: Engine, call: Call) -> Answer:
    """BuildPrune."""
    query = call.query
    report = engine.builder.prune_asked(
        query["filters"],
        all=query["all"],
        reserved=query["reserved-space"] or query["keep-storage"] or 0,
        most=query["max-used-space"] or 0,
        free=query["min-free-space"] or 0,
    )
    return Json(report)


HANDLERS: dict[str, Handler] = {
    "ImageBuild": image_build,
    "BuildCancel": build_cancel,
    "BuildPrune": build_prune,
}

"""`POST /build?version=2`: BuildKit for command lines without buildx."""

from collections.abc import Awaitable, Callable
from typing import Any

from compatd.api.build_options import outputs
from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.posted import Request
from compatd.engine.builder.classic.build import Options
from compatd.engine.engine import Engine
from compatd.engine.errors import EngineError
from compatd.http import Call

Write = Callable[[dict[str, Any]], Awaitable[None]]


async def build_posted(engine: Engine, call: Call, options: Options, write: Write) -> None:
    """Build; errors after the stream has begun go into it. Raises EngineError."""
    request = Request(
        options, call.chunks, Peer(*call.access), call.query["session"], outputs(call.query["outputs"])
    )
    try:
        await engine.buildkit.posted.build(request, write)
    except EngineError as error:
        if call.stream_open is None:
            raise
        await write({"errorDetail": {"message": error.message}, "error": error.message})

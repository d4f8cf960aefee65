"""Images that clients ask about by name, in the midst of a build."""

from typing import TYPE_CHECKING

from compatd.engine.builder.bases import Base, Bases
from compatd.engine.builder.board import Board
from compatd.engine.builder.buildkit.jobs import Job
from compatd.engine.builder.buildkit.lent import SessionAuth
from compatd.engine.builder.buildkit.wire.codec import Message
from compatd.engine.images import platform as platforms

if TYPE_CHECKING:
    from compatd.engine.builder.buildkit.service import BuildKit


async def resolve(kit: "BuildKit", job: Job, name: str, platform: Message | None, mode: str) -> Base:
    """The image of that name, which is pulled where it must be. Raises EngineError."""
    wanted = platforms.host()
    if platform is not None and platform.Architecture:
        wanted = platforms.normalise(platform.OS or "linux", platform.Architecture, platform.Variant)
    with kit.engine.images.index.pinned() as pins:
        auth = SessionAuth(kit.sessions.of(job.peer.owner), job.session_id)
        bases = Bases(kit.engine.images, Board(job.status), pins, pull=mode == "pull", auth=auth)
        try:
            return await bases.get(name, wanted)
        finally:
            await bases.close()

"""Clients that ask for builds, and their folders."""

import asyncio
from typing import Any

from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.server import ServerStream
from compatd.engine.builder.buildkit.wire.status import GrpcError
from tests.unit.builder.kit.scene import SESSION, Scene, bridge, control

COPY = "/moby.filesync.v1.FileSync/DiffCopy"
Packet = proto("fsutil.types.Packet")


class Folder:
    """A client's folders; `asked` keeps what metadata each call came with."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.asked: list[dict[str, list[str]]] = []

    async def __call__(self, call: ServerStream) -> None:
        self.asked.append(dict(call.metadata))
        wanted = call.metadata.get("followpaths")
        names = [name for name in sorted(self.files) if wanted is None or name in wanted]
        for name in names:
            await call.send(Packet(stat=proto("fsutil.types.Stat")(path=name, mode=0o644)))
        await call.send(Packet())
        if not names:
            return
        async for packet in call:
            if packet.type == 3:
                await call.send(Packet(type=3))
                return
            await call.send(Packet(type=2, ID=packet.ID, data=self.files[names[packet.ID]]))
            await call.send(Packet(type=2, ID=packet.ID))


def folder(dockerfile: bytes = b"FROM scratch\n") -> Folder:
    return Folder(**{"Dockerfile": dockerfile, ".dockerignore": b"*.log\n", "a.txt": b"a"})


async def by_function(one: Scene, options: dict[str, str], **solve: Any) -> Any:
    """As buildx builds: Control/Solve waits for what a build function returns."""
    request = control("SolveRequest", Ref="job", Session=SESSION, **solve)
    solving = asyncio.ensure_future(one.control("Solve", request))
    try:
        await one.bridge("Ping", bridge("PingRequest"))
        asked = bridge("SolveRequest", Frontend="dockerfile.v0", FrontendOpt=options, allowResultReturn=True)
        try:
            result = (await one.bridge("Solve", asked)).result
        except GrpcError as error:
            details = [proto("google.protobuf.Any")(type_url=d[0], value=d[1]) for d in error.details]
            status = proto("google.rpc.Status")(code=error.code, message=error.message, details=details)
            await one.bridge("Return", bridge("ReturnRequest", error=status))
        else:
            await one.bridge("Return", bridge("ReturnRequest", result=result))
        return await solving
    finally:
        solving.cancel()

"""What BuildKit's gateway gave to who asked, and should not have."""

import asyncio

import pytest

from compatd.engine.builder.buildkit.wire.status import GrpcError
from tests.unit.builder.kit.scene import SESSION, bridge, control, scene
from tests.unit.builder.wire.ends import run


def test_cve_2024_23653_no_containers_by_the_gateway() -> None:
    """They were privileged without an entitlement; here are none at all."""

    async def play() -> None:
        async with scene({}) as one:
            solving = asyncio.ensure_future(
                one.control("Solve", control("SolveRequest", Ref="job", Session=SESSION))
            )
            await one.bridge("Ping", bridge("PingRequest"))
            with pytest.raises(GrpcError, match="not supported"):
                await one.bridge("NewContainer", bridge("NewContainerRequest", ContainerID="x"))
            assert not one.builder.requests
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)

    run(play())

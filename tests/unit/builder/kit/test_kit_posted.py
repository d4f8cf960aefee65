"""Builds that are asked for by `POST /build?version=2`."""

import asyncio
import base64
from typing import Any

import pytest

from compatd.engine.builder.buildkit.posted import Request
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.classic.build import Options
from compatd.engine.errors import EngineError
from tests.unit.builder.kit.asking import COPY, folder
from tests.unit.builder.kit.scene import SESSION, Scene, scene
from tests.unit.builder.wire.ends import run


def posted(options: Options, body: bytes = b"", **more: Any) -> Request:
    async def chunks() -> Any:
        yield body

    return Request(options, chunks, **more)


async def tell(one: Scene, request: Request) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []

    async def write(value: dict[str, Any]) -> None:
        told.append(value)

    await one.kit.posted.build(request, write)
    return told


ONLY_CACHE = ({"Type": "cacheonly", "Attrs": {}},)


def test_a_posted_build_with_a_session() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            options = Options(
                remote="client-session",
                build_args={"A": "1", "B": None},
                labels={"x": "y"},
                extra_hosts=("h:host-gateway",),
                network="host",
                resources={"ShmSize": 5, "Ulimits": [{"Name": "core", "Soft": 1, "Hard": 2}]},
                target="t",
                no_cache=True,
            )
            told = await tell(one, posted(options, session=SESSION, outputs=ONLY_CACHE))
            assert {each["id"] for each in told} == {"moby.buildkit.trace"}
            decode = proto("moby.buildkit.v1.StatusResponse").decode
            shown = {v.name for each in told for v in decode(base64.b64decode(each["aux"])).vertexes}
            assert "[internal] load build definition from Dockerfile" in shown
            (request,) = one.builder.requests
            assert request.options.build_args == {"A": "1"} and request.options.target == "t"
            assert request.extra_hosts == ("h:10.9.8.7",) and request.network == "host"
            assert request.entitlements == frozenset(("network.host",)) and request.no_cache is True
            assert request.resources["Ulimits"] == [{"Name": "core", "Soft": 1, "Hard": 2}]

    run(play())


def test_a_posted_body_is_the_context() -> None:
    async def play() -> None:
        async with scene() as one:
            await tell(one, posted(Options(), b"FROM scratch\n", outputs=ONLY_CACHE))
            assert one.builder.requests[0].dockerfile == b"FROM scratch\n"

    run(play())


def test_a_body_that_comes_by_another_request() -> None:
    async def play() -> None:
        async with scene() as one:
            waiting = posted(Options(remote="upload-request", build_id="b1"), outputs=ONLY_CACHE)
            building = asyncio.ensure_future(tell(one, waiting))
            await asyncio.sleep(0)
            sent = await tell(one, posted(Options(build_id="upload-request:b1"), b"FROM scratch\n"))
            await building
            assert sent == [] and one.builder.requests[0].dockerfile == b"FROM scratch\n"

    run(play())


def test_a_posted_build_is_cancelled_by_its_id() -> None:
    async def play() -> None:
        async with scene() as one:
            began = asyncio.Event()

            async def work(request: Any, observer: Any) -> None:
                began.set()
                await asyncio.Event().wait()

            one.builder.work = work
            options = Options(build_id="b1")
            building = asyncio.ensure_future(tell(one, posted(options, b"x", outputs=ONLY_CACHE)))
            await began.wait()
            assert one.kit.posted.cancel("b1") and not one.kit.posted.cancel("b2")
            with pytest.raises(EngineError, match="context canceled"):
                await building
            assert one.builder.cancelled == 1

    run(play())


def test_posted_builds_that_cannot_be() -> None:
    async def play() -> None:
        async with scene() as one:
            with pytest.raises(EngineError, match='network mode "bridge" not supported by buildkit'):
                await tell(one, posted(Options(network="bridge")))
            with pytest.raises(EngineError, match="multiple outputs not supported"):
                await tell(one, posted(Options(), outputs=ONLY_CACHE * 2))
            with pytest.raises(EngineError, match="invalid host x"):
                await tell(one, posted(Options(extra_hosts=("x",))))

    run(play())

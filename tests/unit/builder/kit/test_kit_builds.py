"""Builds as clients ask for them: by a build function of their own, or by a frontend."""

import asyncio
import base64
import json
from typing import Any

import pytest

from compatd.engine.builder.buildkit.limits import Peer
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.errors import BuildError
from compatd.engine.errors import EngineError
from tests.unit.builder.kit.asking import COPY, by_function, folder
from tests.unit.builder.kit.scene import CONTROL, SESSION, bridge, control, scene
from tests.unit.builder.wire.ends import run, until


def test_the_road_of_buildx() -> None:
    async def play() -> None:
        lent = folder()
        async with scene({COPY: lent}) as one:
            status = asyncio.ensure_future(one.status())
            await by_function(one, {"filename": "Dockerfile", "build-arg:A": "1", "label:x": "y"})
            (request,) = one.builder.requests
            assert request.dockerfile == b"FROM scratch\n" and request.options.build_args == {"A": "1"}
            assert request.options.labels == {"x": "y"} and request.network == "default"
            assert one.builder.ignore.ignored("x.log")
            shown = [v for response in await status for v in response.vertexes]
            assert [v.name for v in shown if v.completed and not v.error]
            names = {v.name for v in shown}
            assert {
                "[internal] load build definition from Dockerfile",
                "[internal] load .dockerignore",
                "[1/1] FROM scratch",
            } <= names
            assert lent.asked[0]["dir-name"] == ["dockerfile"]
            assert lent.asked[0]["followpaths"] == ["Dockerfile", "Dockerfile.dockerignore", "dockerfile"]
            assert one.builder.contexts.keys == [
                ("dockerfile", "dockerfile:dockerfile:key"),
                ("context", "context:context-.dockerignore:key"),
            ]
            assert one.builder.contexts.log.count("closed") == 2

    run(play())


def test_the_context_comes_when_a_step_wants_it() -> None:
    async def play() -> None:
        lent = folder()
        async with scene({COPY: lent}) as one:

            async def work(request: Any, observer: Any) -> None:
                files = await request.context.load(["/a.txt", "ü/x"])
                assert await files.read("a.txt") == b"a"

            one.builder.work = work
            await by_function(one, {})
            asked = lent.asked[-1]
            assert asked["dir-name"] == ["context"] and asked["exclude-patterns"] == ["*.log"]
            assert asked["followpaths"] == ["a.txt", "%C3%BC%2Fx"] and asked["followpaths-encoded"] == ["1"]
            parts = {part.ID for response in await one.status() for part in response.statuses}
            assert parts == {"transferring dockerfile:", "transferring context:"}

    run(play())


def test_what_came_of_it_goes_through_the_client() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            request = control("SolveRequest", Ref="job", Session=SESSION)
            solving = asyncio.ensure_future(one.control("Solve", request))
            asked = bridge("SolveRequest", Frontend="dockerfile.v0", allowResultReturn=True)
            result = (await one.bridge("Solve", asked)).result
            assert result.ref.id and json.loads(result.metadata["refs.platforms"])["Platforms"] == [
                {"ID": "linux/amd64", "Platform": {"architecture": "amd64", "os": "linux"}}
            ]
            assert b"diff_ids" not in result.metadata["containerimage.config"]
            with pytest.raises(GrpcError, match="no such ref: nope"):
                await one.bridge("Evaluate", bridge("EvaluateRequest", Ref="nope"))
            await one.bridge("Evaluate", bridge("EvaluateRequest", Ref=result.ref.id))
            await one.bridge("Return", bridge("ReturnRequest", result=result))
            await solving
            with pytest.raises(GrpcError) as caught:
                await one.bridge("Evaluate", bridge("EvaluateRequest", Ref=result.ref.id))
            assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, "no such job job")

    run(play())


@pytest.mark.parametrize(
    ("error", "text", "line"),
    [
        (DockerfileError("unknown instruction: FORM", [(1, 1)]), "unknown instruction: FORM", 1),
        (BuildError("process x did not", code=1, locations=[(1, 2)]), "process x did not", 1),
    ],
)
def test_errors_show_the_lines_that_they_are_about(error: EngineError, text: str, line: int) -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:

            async def work(request: Any, observer: Any) -> None:
                raise error

            one.builder.work = work
            with pytest.raises(GrpcError) as caught:
                await by_function(one, {})
            assert (caught.value.code, caught.value.message) == (Code.UNKNOWN, text)
            (detail,) = [d for d in caught.value.details if d.type_url.endswith("errdefs.Source+json")]
            source = json.loads(detail.value)
            assert source["info"]["filename"] == "Dockerfile"
            assert base64.b64decode(source["info"]["data"]) == b"FROM scratch\n"
            assert source["ranges"][0]["start"] == {"line": line}

    run(play())


def test_several_places_keep_their_order_on_the_way_through_the_client() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            one.builder.refusal = DockerfileError("circle", [(1, 1), (2, 2)])
            asked = bridge("SolveRequest", Frontend="dockerfile.v0")
            solving = asyncio.ensure_future(
                one.control("Solve", control("SolveRequest", Ref="job", Session=SESSION))
            )
            with pytest.raises(GrpcError) as first:
                await one.bridge("Solve", asked)
            # Go's clients turn the chain of errors round on the way back
            turned = [
                proto("google.protobuf.Any")(type_url=d[0], value=d[1]) for d in reversed(first.value.details)
            ]
            status = proto("google.rpc.Status")(code=2, message="circle", details=turned)
            await one.bridge("Return", bridge("ReturnRequest", error=status))
            with pytest.raises(GrpcError) as last:
                await solving
            assert last.value.details == first.value.details

    run(play())


def test_steps_are_waited_for_by_who_asked_for_the_build() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            go = asyncio.Event()

            async def work(request: Any, observer: Any) -> None:
                await go.wait()
                raise BuildError("process x did not", code=1)

            one.builder.work = work
            request = control("SolveRequest", Ref="job", Session=SESSION)
            solving = asyncio.ensure_future(one.control("Solve", request))
            asked = bridge("SolveRequest", Frontend="dockerfile.v0", allowResultReturn=True)
            result = (await one.bridge("Solve", asked)).result
            assert result.ref.id and not go.is_set()
            await one.bridge("Return", bridge("ReturnRequest", result=result))
            assert not solving.done()
            go.set()
            with pytest.raises(GrpcError, match="process x did not"):
                await solving

    run(play())


def test_a_result_can_be_built_on_also_when_its_job_is_over() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            request = control("SolveRequest", Ref="job", Session=SESSION)
            solving = asyncio.ensure_future(one.control("Solve", request))
            asked = bridge("SolveRequest", Frontend="dockerfile.v0", allowResultReturn=True)
            first = (await one.bridge("Solve", asked)).result
            await one.bridge("Return", bridge("ReturnRequest", result=first))
            await solving
            definition = getattr(first.ref, "def")
            solving = asyncio.ensure_future(
                one.control("Solve", control("SolveRequest", Ref="second", Session=SESSION))
            )
            again = await one.bridge(
                "Solve",
                bridge("SolveRequest", Definition=definition, Evaluate=True, allowResultReturn=True),
                "second",
            )
            assert again.result.ref.id
            one.kit.engine.images.index.layers.clear()
            with pytest.raises(GrpcError, match="no such ref"):
                await one.bridge("Solve", bridge("SolveRequest", Definition=definition), "second")
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)

    run(play())


def test_who_asks_late_for_a_short_job_hears_of_it() -> None:
    async def play() -> None:
        async with scene() as one:
            solving = asyncio.ensure_future(
                one.control("Solve", control("SolveRequest", Ref="job", Internal=True))
            )
            await one.bridge("Ping", bridge("PingRequest"))
            await one.bridge("Return", bridge("ReturnRequest", result=bridge("Result", ref=bridge("Ref"))))
            await solving
            async with asyncio.timeout(2):
                assert await one.status() == []
            listen = control("BuildHistoryRequest", EarlyExit=True)
            async with await one.client.call(f"{CONTROL}ListenBuildHistory") as call:
                await call.send(listen)
                call.end()
                assert [event async for event in call] == []  # of internal ones nobody is told

    run(play())


def test_the_history_of_builds() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            await by_function(one, {"build-arg:A": "1"})

            async def history(**asked: Any) -> list[Any]:
                async with await one.client.call(f"{CONTROL}ListenBuildHistory") as call:
                    await call.send(control("BuildHistoryRequest", EarlyExit=True, **asked))
                    call.end()
                    return [event async for event in call]

            (event,) = await history()
            assert (event.type, event.record.Ref, event.record.numTotalSteps) == (1, "job", 3)
            assert event.record.FrontendAttrs == {"build-arg:A": "1"} and event.record.CompletedAt
            assert await history(ActiveOnly=True) == [] and await history(Ref="other") == []
            update = control("UpdateBuildHistoryRequest", Ref="job", Pinned=True)
            await one.control("UpdateBuildHistory", update)
            assert (await history())[0].record.pinned
            await one.control(
                "UpdateBuildHistory", control("UpdateBuildHistoryRequest", Ref="job", Delete=True)
            )
            assert await history() == []

    run(play())


def test_a_client_that_goes_away_ends_its_build() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            began = asyncio.Event()

            async def work(request: Any, observer: Any) -> None:
                began.set()
                await asyncio.Event().wait()

            one.builder.work = work
            building = asyncio.ensure_future(by_function(one, {}))
            await began.wait()
            building.cancel()
            await asyncio.gather(building, return_exceptions=True)
            await until(lambda: one.builder.cancelled == 1)
            await until(lambda: not one.kit.jobs.all(active=True))
            (job,) = one.kit.jobs.all()
            assert job.error is not None and job.error.message == "context canceled"

    run(play())


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"Entitlements": ["x"]}, "unknown entitlement x"),
        (
            {"Entitlements": ["security.insecure"]},
            "granting entitlement security.insecure is not allowed by build daemon configuration",
        ),
        ({"Exporters": [control("Exporter", Type="x")]}, 'exporter "x" could not be found'),
        ({"Frontend": "gateway.v0"}, "the frontend gateway.v0 is not supported"),
    ],
)
def test_what_is_refused_at_once(given: dict[str, Any], text: str) -> None:
    async def play() -> None:
        async with scene() as one:
            with pytest.raises(GrpcError) as caught:
                await one.control("Solve", control("SolveRequest", Ref="job", **given))
            assert caught.value.message.startswith(text)

    run(play())


def test_configured_entitlements() -> None:
    async def play() -> None:
        async with scene({COPY: folder()}) as one:
            one.kit.engine.config.builder = {
                "Entitlements": {"security-insecure": True, "network-host": False}
            }
            granted = control(
                "SolveRequest",
                Ref="job",
                Session=SESSION,
                Frontend="dockerfile.v0",
                Entitlements=["security.insecure"],
            )
            await one.control("Solve", granted)
            assert one.builder.requests[0].entitlements == frozenset(("security.insecure",))
            with pytest.raises(GrpcError, match="granting entitlement network"):
                await one.control("Solve", control("SolveRequest", Ref="j2", Entitlements=["network.host"]))

    run(play())


def test_other_frontends_and_capabilities() -> None:
    async def solve(dockerfile: bytes, **options: str) -> None:
        async with scene({COPY: folder(dockerfile)}) as one:
            await one.control(
                "Solve",
                control(
                    "SolveRequest",
                    Ref="job",
                    Session=SESSION,
                    Frontend="dockerfile.v0",
                    FrontendAttrs={key.replace("_", "."): value for key, value in options.items()},
                ),
            )

    run(solve(b"# syntax=docker/dockerfile:1\nFROM scratch\n"))
    with pytest.raises(GrpcError, match="the frontend example/x"):
        run(solve(b"# syntax=example/x\nFROM scratch\n"))
    with pytest.raises(GrpcError) as caught:
        run(solve(b"FROM scratch\n", frontend_caps="moby.buildkit.frontend.nope"))
    assert caught.value.code == Code.UNIMPLEMENTED
    assert caught.value.details[0].value == b'{"name":"moby.buildkit.frontend.nope"}'
    run(solve(b"FROM scratch\n", frontend_caps="moby.buildkit.frontend.contexts+forward"))


def test_others_builds_are_not_there() -> None:
    async def play() -> None:
        limited = Peer(frozenset(("own",)), "bob")
        async with scene(peer=limited) as one:
            job = control("SolveRequest", Ref="job")
            task = asyncio.ensure_future(one.kit.solve_request(job, Peer(frozenset(), "ann")))
            await until(lambda: bool(one.kit.jobs.all(active=True)))
            with pytest.raises(GrpcError, match="no such job job"):
                await one.bridge("Ping", bridge("PingRequest"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(play())

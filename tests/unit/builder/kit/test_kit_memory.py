"""What clients, and servers that they name, can make the daemon remember is bounded."""

import asyncio
from typing import Any

import pytest

from compatd.engine.builder.buildkit import bridge as bridge_module
from compatd.engine.builder.buildkit import inputs, jobs
from compatd.engine.builder.buildkit.jobs import Job, Jobs
from compatd.engine.builder.buildkit.lines import Line
from compatd.engine.builder.buildkit.status import StatusLog
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.progress import Log
from tests.unit.builder.kit.scene import SESSION, bridge, control, scene
from tests.unit.builder.wire.ends import run


def test_builds_that_have_ended_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty of them had 16 MiB of output each, their requests of as much again, and pinned ones no bound."""
    monkeypatch.setattr(jobs, "MAX_KEPT", 100 << 10)

    async def play() -> None:
        known = Jobs()
        for number in range(10):
            attributes = {"build-arg:x": "x" * 1000}
            inputs_ = {"context": control_definition()}
            request = control(
                "SolveRequest", Ref=str(number), FrontendAttrs=attributes, FrontendInputs=inputs_
            )
            job = Job(str(number), request)
            known.add(job)
            for moment in range(20):
                await job.status.log(Log("sha256:a", 1, b"x" * 500, moment))
            await known.end(job)
            known.update(str(number), pinned=True)
        refs = [job.ref for job in known.all()]
        assert refs == [str(number) for number in range(10 - len(refs), 10)] and 1 < len(refs) < 5
        large = Job("large", control("SolveRequest", Ref="large", FrontendAttrs={"x": "x" * (200 << 10)}))
        known.add(large)
        await known.end(large)
        assert [job.ref for job in known.all()] == ["large"]

    def control_definition() -> Any:
        return inputs.definitions.of_result("x" * 20000, "y")

    run(play())


def test_solves_of_one_build_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "MAX_SOLVES", 3)

    async def play() -> None:
        async with scene({}) as one:
            solving = asyncio.ensure_future(
                one.control("Solve", control("SolveRequest", Ref="job", Session=SESSION))
            )
            await one.bridge("Ping", bridge("PingRequest"))
            for _ in range(3):
                await one.bridge("Solve", bridge("SolveRequest"))
            with pytest.raises(GrpcError) as caught:
                await one.bridge("Solve", bridge("SolveRequest"))
            assert caught.value.code == Code.RESOURCE_EXHAUSTED
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)

    run(play())


def test_what_a_git_server_says_is_bounded() -> None:
    """Each line of its progress was a part of a line, and kept."""

    async def play() -> None:
        log = StatusLog()
        with Line(log, "x", "git") as line:
            progress = inputs._Progress(line)
            for number in range(10_000):
                await progress(f"remote: {number}", 0, 0)
            await progress("remote: 1", 5, 9)
        (response,) = log.replay()
        assert len(response.statuses) == len(progress._parts) == 100

    run(play())

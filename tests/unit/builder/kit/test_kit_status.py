"""Status streams, and how much of a step's output they tell."""

import asyncio
from typing import Any

import pytest

from compatd.engine.builder.buildkit import status
from compatd.engine.builder.buildkit.clipping import MAX_SIZE, MAX_SPEED, MAX_TAIL, Clip
from compatd.engine.builder.buildkit.errors import source_info
from compatd.engine.builder.buildkit.status import StatusLog
from compatd.engine.builder.progress import Log, Notice, Status, Vertex
from tests.unit.builder.wire.ends import run


async def all_of(log: StatusLog) -> list[Any]:
    return [response async for response in log.follow()]


def test_a_late_follower_is_told_all() -> None:
    async def scene() -> None:
        log = StatusLog()
        vertex = Vertex("sha256:a", "[1/1] FROM x")
        log.vertex(vertex)
        vertex.started = 2_000_000_001
        log.vertex(vertex)
        log.status(Status("sha256:a", "pull", 1, 2, 3, 0, "downloading"))
        await log.log(Log("sha256:a", 2, b"out", 4))
        log.warning(Notice("sha256:a", "Rule", "Rule: text", ("detail",), "http://x", (1, 2)))
        vertex.completed = 5
        log.vertex(vertex)
        log.end()
        (response,) = await all_of(log)
        (shown,) = response.vertexes
        assert (shown.digest, shown.name, shown.started.seconds) == ("sha256:a", "[1/1] FROM x", 2)
        assert shown.completed.nanos == 5 and not shown.error
        (part,) = response.statuses
        assert (part.ID, part.name, part.current, part.total) == ("pull", "downloading", 1, 2)
        assert [(one.stream, one.msg) for one in response.logs] == [(2, b"out")]
        (warning,) = response.warnings
        assert warning.short == b"Rule: text" and warning.detail == [b"detail"]
        assert (warning.ranges[0].start.line, warning.ranges[0].end.line) == (1, 2)
        assert log.counts == (1, 1, 0, 1)

    run(scene())


def test_what_has_not_ended_was_cancelled() -> None:
    async def scene() -> None:
        log = StatusLog()
        log.vertex(Vertex("sha256:a", "runs", started=1))
        log.vertex(Vertex("sha256:b", "waits"))
        log.end()
        (response,) = await all_of(log)
        shown = {one.digest: one for one in response.vertexes}
        assert shown["sha256:a"].error == "context canceled" and shown["sha256:a"].completed
        assert shown["sha256:b"].completed is None

    run(scene())


def test_followers_hear_what_happens_and_the_end() -> None:
    async def scene() -> None:
        log = StatusLog()
        followers = [asyncio.ensure_future(all_of(log)) for _ in range(3)]
        await asyncio.sleep(0)
        for number in range(100):
            log.vertex(Vertex("sha256:a", f"step {number}", started=1))
            await log.log(Log("sha256:a", 1, b"%d\n" % number, number))
        await asyncio.sleep(0)
        log.end()
        for responses in await asyncio.gather(*followers):
            text = b"".join(one.msg for response in responses for one in response.logs)
            assert text.split() == [b"%d" % number for number in range(100)]
            assert [v.name for r in responses for v in r.vertexes][-1] == "step 99"

    run(scene())


def test_messages_stay_small() -> None:
    async def scene() -> None:
        log = StatusLog()
        for number in range(4):
            log.vertex(Vertex(f"sha256:{number}", "x", started=1))
            await log.log(Log(f"sha256:{number}", 1, b"x" * (MAX_SPEED - 1), 1))
        for response in log.replay():
            assert len(response.encode()) < 2 * status.MAX_MESSAGE
        assert sum(len(one.msg) for r in log.replay() for one in r.logs) == 4 * (MAX_SPEED - 1)

    run(scene())


def test_output_is_clipped_by_speed_and_by_size() -> None:
    now = 0.0
    clip = Clip(lambda: now)
    now = 0.5
    told = clip.cut(b"a" * MAX_SPEED + b"b")
    assert told == b"a" * MAX_SPEED + b"\n[output clipped, log limit 200KiB/s reached]\n"
    assert clip.cut(b"c") == b""
    now = 1000.0
    told = clip.cut(b"d" * MAX_SIZE)
    assert told.endswith(b"\n[output clipped, log limit 2MiB reached]\n") or told.endswith(b"d")
    assert clip.cut(b"e" * 10) == b""
    tail = clip.tail()
    assert len(tail) == MAX_TAIL and tail.endswith(b"d" + b"e" * 10)
    assert clip.tail() == b""


def test_the_end_of_clipped_output_comes_when_the_step_fails() -> None:
    async def scene() -> None:
        for error in ("", "exit code: 1"):
            log = StatusLog()
            vertex = Vertex("sha256:a", "RUN yes", started=1)
            log.vertex(vertex)
            for _ in range(200):
                await log.log(Log("sha256:a", 1, b"y\n" * 16384, 1))
            await log.log(Log("sha256:a", 1, b"the end\n", 1))
            vertex.completed, vertex.error = 2, error
            log.vertex(vertex)
            text = b"".join(one.msg for response in log.replay() for one in response.logs)
            assert len(text) < 3 * MAX_SIZE
            assert b"output clipped" in text
            assert text.endswith(b"the end\n") is bool(error)

    run(scene())


def test_memory_stays_flat() -> None:
    async def scene() -> None:
        log = StatusLog()
        for number in range(200):
            await log.log(Log(f"sha256:{number}", 1, b"x" * (MAX_SPEED // 2), 1))
        assert sum(len(one.msg) for r in log.replay() for one in r.logs) <= status.MAX_LOGS

    run(scene())


def test_many_short_messages_are_bounded_like_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of one byte takes a kilobyte here: who writes bytes one by one filled the memory."""
    monkeypatch.setattr(status, "MAX_LOGS", 100 << 10)

    async def scene() -> None:
        log = StatusLog()
        for number in range(1000):
            await log.log(Log("sha256:a", 1, b"x", number))
        kept = [one.timestamp.nanos for r in log.replay() for one in r.logs]
        assert kept == list(range(1000 - len(kept), 1000)) and 50 < len(kept) <= 100

    run(scene())


def test_warnings_do_not_carry_the_file_without_end() -> None:
    """Each one pointed into a copy of the whole Dockerfile: 2,000 in one of 4 MiB made a message of 8 GiB."""
    told = StatusLog(source_info("Dockerfile", b"x" * (300 << 10)))
    for number in range(5000):
        told.warn("sha256:a", f"warning {number}", ["detail"], "", [(1, 1)])
    (response,) = told.replay()
    assert len(response.encode()) < 4 << 20
    assert len(response.warnings) == status.MAX_WARNINGS
    assert [one.info is not None for one in response.warnings[:5]] == [True, True, True, False, False]
    told = StatusLog()
    for _ in range(10):
        told.warn("sha256:a", "x" * (300 << 10), [], "", [], 1, source_info("f", b"x" * (2 << 20)))
    assert sum(len(response.encode()) for response in told.replay()) < 2 << 20


def test_parts_of_lines_are_bounded() -> None:
    log = StatusLog()
    for number in range(2 * status.MAX_STATUSES):
        log.status(Status("sha256:a", f"layer {number}", started=1))
    log.status(Status("sha256:a", "layer 0", current=7, started=1))
    (response,) = log.replay()
    assert len(response.statuses) == status.MAX_STATUSES
    assert any(one.current == 7 for one in response.statuses)

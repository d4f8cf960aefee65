"""The classic text: order while stages run side by side, output, bounds of what waits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compatd.engine.builder.classic import text as classic
from compatd.engine.builder.classic.text import Buffer, ClassicText, short
from compatd.engine.builder.progress import STDERR, STDOUT, Log, StepEvent

IDS = {name: "sha256:" + name * 64 for name in "abcdef"}


class Told:
    """Collects messages, and can be made to wait like a client that does not read."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, message: dict[str, Any]) -> None:
        await self.open.wait()
        self.messages.append(message)

    @property
    def text(self) -> str:
        return "".join(
            str(one.get("stream", "<" + one.get("aux", {}).get("ID", "")[7:8] + ">")) for one in self.messages
        )


def begin(stage: int, number: int, text: str) -> StepEvent:
    return StepEvent("begin", stage, number, 6, text)


def heard(told: Told, *, aux: bool = True) -> ClassicText:
    return ClassicText(told.write, Path("/tmp"), aux=aux)


def done(stage: int, image: str) -> StepEvent:
    return StepEvent("done", stage, image=IDS[image] if image else "")


def test_one_stage() -> None:
    async def main() -> str:
        told = Told()
        text = heard(told)
        await text.step(begin(-1, 1, "ARG x"))
        await text.step(begin(0, 2, "FROM a"))
        await text.step(done(0, "a"))
        await text.step(begin(0, 3, "RUN b"))
        await text.step(StepEvent("running", 0, id="f" * 64))
        await text.log(Log("0", STDOUT, b"out\n", 0))
        await text.log(Log("0", STDERR, b"err\n", 0))
        await text.step(StepEvent("removed", 0, id="f" * 64))
        await text.step(done(0, "b"))
        await text.step(begin(0, 4, "ENV c"))
        await text.step(StepEvent("cached", 0))
        await text.step(done(0, "c"))
        await text.finish()
        assert told.messages[0] == {"stream": "Step 1/6 : ARG x"}
        return told.text

    assert asyncio.run(main()) == (
        "Step 1/6 : ARG x\n"
        "Step 2/6 : FROM a\n ---> aaaaaaaaaaaa\n"
        "Step 3/6 : RUN b\n ---> Running in ffffffffffff\nout\n\x1b[91merr\n\x1b[0m"
        " ---> Removed intermediate container ffffffffffff\n ---> bbbbbbbbbbbb\n"
        "Step 4/6 : ENV c\n ---> Using cache\n ---> cccccccccccc\n<c>"
    )


def test_stages_side_by_side_come_in_order() -> None:
    async def main() -> tuple[str, str]:
        told = Told()
        text = heard(told)
        await text.step(begin(2, 5, "FROM scratch"))
        await text.step(done(2, ""))
        await text.step(begin(1, 3, "FROM b"))
        await text.step(done(1, "b"))
        await text.step(begin(1, 4, "RUN two"))
        await text.step(begin(0, 1, "FROM a"))
        await text.log(Log("1", STDOUT, b"second\n", 0))
        await text.step(done(0, "a"))
        await text.step(begin(0, 2, "RUN one"))
        await text.log(Log("0", STDOUT, b"first\n", 0))
        before = told.text
        await text.step(done(1, "d"))
        await text.step(done(0, "c"))
        await text.step(begin(2, 6, "COPY x"))
        await text.step(done(2, "e"))
        await text.finish()
        return before, told.text[len(before) :]

    before, after = asyncio.run(main())
    assert before == "Step 1/6 : FROM a\n ---> aaaaaaaaaaaa\nStep 2/6 : RUN one\nfirst\n"
    assert after == (
        " ---> cccccccccccc\n<c>Step 3/6 : FROM b\n ---> bbbbbbbbbbbb\nStep 4/6 : RUN two\nsecond\n"
        " ---> dddddddddddd\n<d>Step 5/6 : FROM scratch\n ---> \nStep 6/6 : COPY x\n ---> eeeeeeeeeeee\n<e>"
    )


def test_what_waits_comes_out_when_a_later_stage_fails() -> None:
    async def main() -> str:
        told = Told()
        text = heard(told)
        await text.step(begin(0, 1, "FROM a"))
        await text.step(begin(1, 2, "FROM b"))
        await text.log(Log("1", STDOUT, b"why\n", 0))
        await text.finish(failed=True)
        return told.text

    assert asyncio.run(main()) == "Step 1/6 : FROM a\nStep 2/6 : FROM b\nwhy\n"


def test_characters_in_two_pieces_and_bytes_that_are_none() -> None:
    async def main() -> list[dict[str, Any]]:
        told = Told()
        text = heard(told)
        await text.step(begin(0, 1, "RUN a"))
        for data in (b"a\xc3", b"\xa9", b"\xff", b"\xc3"):
            await text.log(Log("0", STDOUT, data, 0))
        await text.step(StepEvent("removed", 0, id="f" * 64))
        return told.messages[2:6]

    messages = asyncio.run(main())
    assert "".join(one["stream"] for one in messages[:4]) == "aé\ufffd\ufffd"


def test_output_that_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classic, "MAX_WAITING", 1000)

    async def main() -> str:
        told = Told()
        text = heard(told)
        await text.step(begin(1, 2, "RUN b"))
        for _ in range(100):
            await text.log(Log("1", STDOUT, b"x" * 100, 0))
        await text.step(done(1, "b"))
        await text.step(begin(0, 1, "FROM a"))
        await text.step(done(0, "a"))
        await text.finish()
        return told.text

    found = asyncio.run(main())
    assert 800 < found.count("x") < 1200
    assert found.endswith(classic.CLIPPED + " ---> bbbbbbbbbbbb\n<b>")


def test_a_buffer_is_a_file_when_it_grows(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path)
    for number in range(10_000):
        buffer.put({"stream": f"{number}" * 10})
    assert buffer.size > classic.IN_MEMORY and not list(tmp_path.iterdir())
    assert sum(1 for _ in buffer.take()) == 10_000


def test_a_client_that_does_not_read_holds_output_back() -> None:
    async def main() -> None:
        told = Told()
        text = heard(told)
        await text.step(begin(0, 1, "RUN a"))
        told.open.clear()
        task = asyncio.ensure_future(text.log(Log("0", STDOUT, b"x", 0)))
        await asyncio.sleep(0.01)
        assert not task.done()
        told.open.set()
        await task

    asyncio.run(main())


def test_pulls_warnings_and_triggers() -> None:
    async def main() -> list[dict[str, Any]]:
        told = Told()
        text = heard(told, aux=False)
        await text.warn("careful")
        await text.step(begin(0, 1, "FROM a"))
        await text.pulled({"status": "Pulling fs layer", "id": "abc"})
        await text.step(begin(0, 1, "FROM a"))  # once is enough
        await text.step(StepEvent("triggers", 0, 2, 6))
        await text.step(StepEvent("note", 0, text="of it"))
        await text.step(done(0, "a"))
        await text.finish()
        return told.messages

    messages = asyncio.run(main())
    streams = "".join(one.get("stream", "") for one in messages)
    assert streams.count("Step 1/6") == 1
    assert "Step 1/6 : FROM a\n# Executing 2 build triggers\nNote: of it\n ---> aaaaaaaaaaaa\n" in streams
    assert "\x1b[91m[WARNING]: careful\n\x1b[0m" in streams and "Note: of it\n" in streams
    assert {"status": "Pulling fs layer", "id": "abc"} in messages
    assert not any("aux" in one for one in messages)


def test_short_ids() -> None:
    assert [short(""), short("sha256:" + "ab" * 32), short("cd" * 32)] == ["", "ab" * 6, "cd" * 6]

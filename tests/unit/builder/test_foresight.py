"""Stages that need not be built, as a cache from elsewhere knows what others take of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.evaluate import evaluate
from compatd.engine.builder.foresight import Foresight, shown
from compatd.engine.builder.graph import Options, plan
from compatd.engine.builder.planning import Program
from compatd.engine.builder.request import BuildRequest
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Layer
from compatd.engine.images.platform import Platform

HERE = Platform("linux", "amd64")
KEY = "sha256:" + "1" * 64


class Everything:
    """A cache of which all that it is asked for came to the same."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find(self, key: str, parent: Sequence[str], pins: Pins) -> tuple[Layer, int] | None:
        return None

    async def defined(self, definition: str) -> str:
        self.asked.append(definition)
        return KEY


class Nothing(Everything):
    async def defined(self, definition: str) -> str:
        self.asked.append(definition)
        return ""


def foresight(text: str, *caches: Everything) -> Foresight:
    made = plan(parse(text.encode()), Options(), HERE)
    program = Program(made, made.needed)
    for index in made.needed:
        parent = made.stages[index].parent
        base = program.states[parent] if parent is not None else None
        program.steps[index], program.states[index] = evaluate(made, index, base)

    async def no_context() -> None:
        return None

    request = BuildRequest(text.encode(), cache_from=caches)
    builder: Any = None  # nothing here is done
    return Foresight(builder, request, program, no_context, {})


def needed(text: str, *caches: Everything) -> list[str]:
    async def ask() -> list[str]:
        found = foresight(text, *caches)
        try:
            built = await found.needed()
        finally:
            await found.close()
        assert len(shown(found.program, built)) == sum(
            step.layer
            for index in found.program.order
            if index not in built
            for step in found.program.steps[index]
        )
        return [found.program.plan.stages[index].name for index in built]

    return asyncio.run(ask())


MADE = "FROM scratch AS made\nRUN make\n"
LAST = "FROM scratch AS last\nCOPY --from=made /a /\n"


def test_all_is_known() -> None:
    assert needed(MADE + LAST, Everything()) == ["last"]
    assert needed(MADE + LAST, Nothing(), Everything()) == ["last"]


def test_nothing_is_known() -> None:
    cache = Nothing()
    assert needed(MADE + LAST + "COPY --from=made /b /\n", cache) == ["made", "last"]
    assert len(cache.asked) == 1  # after what is not known nothing is


def test_a_stage_on_another() -> None:
    text = MADE + LAST + "FROM last AS more\nCOPY --from=made /b /\n"
    assert needed(text, Everything()) == ["last", "more"]


def test_stages_that_only_others_take_from() -> None:
    middle = "FROM scratch AS mid\nRUN --mount=from=made,target=/m cp\n"
    text = MADE + middle + "FROM scratch AS end\nCOPY --from=mid / /\n"
    assert needed(text, Everything()) == ["end"]
    assert needed(text, Nothing()) == ["made", "mid", "end"]


@pytest.mark.parametrize("line", ["ADD https://example.com/x /", "COPY --chown=alice <<EOF /x\ntext\nEOF"])
def test_what_is_known_only_once_it_is_built(line: str) -> None:
    cache = Everything()
    assert needed(f"FROM scratch AS made\n{line}\n{LAST}", cache) == ["made", "last"]
    assert not cache.asked


def definitions(text: str) -> list[str]:
    """Of all steps of the target that have one."""

    async def ask() -> list[str]:
        found = foresight(text)
        steps = found.program.steps[found.program.plan.target]
        return [one for step in steps if (one := await found.definition(step, KEY))]

    return asyncio.run(ask())


def test_a_definition_is_of_all_that_leads_to_it() -> None:
    texts = [
        MADE + LAST,
        MADE.replace("make", "other") + LAST,
        MADE.replace("RUN", "ENV a=b\nRUN") + LAST,
        MADE + LAST.replace("/a", "/b"),
        MADE + LAST.replace("--from", "--chown=1 --from"),
        MADE + "RUN more\n" + LAST,
        "FROM scratch AS one\nRUN one\n" + MADE.replace("RUN", "COPY --from=one / /\nRUN") + LAST,
        "FROM scratch AS one\nRUN two\n" + MADE.replace("RUN", "COPY --from=one / /\nRUN") + LAST,
    ]
    found = [definitions(text) for text in texts]
    assert all(len(one) == 1 for one in found)
    assert len({one[0] for one in found}) == len(texts)
    assert definitions(MADE.replace(" AS made", " AS other") + LAST.replace("made", "other")) == found[0]
    assert definitions(MADE.replace("RUN", "LABEL a=b\nRUN") + LAST) == found[0]  # RUN does not see labels

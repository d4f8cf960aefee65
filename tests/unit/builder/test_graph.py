"""Plans: which stages a target needs, where files come from, scopes of ARG, ONBUILD, and what cannot be."""

# ruff: noqa: E501  (texts of errors in one piece)

import time

import pytest

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.builder.graph import Options, Plan, Source, plan
from compatd.engine.images.platform import Platform

HERE = Platform("linux", "amd64")
ARM = Platform("linux", "arm64")


def planned(text: str, target: str = "", **options: object) -> Plan:
    return plan(parse(text.encode()), Options(target=target, **options), HERE)  # type: ignore[arg-type]


def fails(text: str, target: str = "", **options: object) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        planned(text, target, **options)
    return caught.value


STAGES = """FROM one AS a
FROM two AS b
COPY --from=a x y
FROM three AS unused
FROM b
COPY --from=0 x y
COPY --from=busybox:1 /bin/sh /
RUN --mount=type=bind,from=A,target=/a --mount=type=tmpfs,target=/t true
COPY z /
"""


def test_only_what_the_target_needs_in_order() -> None:
    made = planned(STAGES)
    assert made.target == 3
    assert sorted(made.needed) == [0, 1, 3, 4]
    order = made.needed
    assert order.index(0) < order.index(1) < order.index(3) > order.index(4)
    assert planned(STAGES, "unused").needed == [2]
    assert planned(STAGES, "B").needed == [0, 1]


def test_bases_and_sources() -> None:
    stages = planned(STAGES).stages
    assert [stage.name for stage in stages] == ["a", "b", "unused", "stage-3", ""]
    assert [stage.parent for stage in stages] == [None, None, None, 1, None]
    assert (stages[4].base, stages[4].declared, stages[0].declared) == ("busybox:1", False, True)
    assert [one.sources for one in stages[3].instructions] == [
        (Source(0),), (Source(4),), (Source(0), Source()), (Source(),),
    ]  # fmt: skip


def test_arguments_of_from() -> None:
    text = "ARG a=x\nARG b=${a}y\nFROM ${b}:1 AS z\nFROM --platform=$BUILDPLATFORM $TARGETARCH\nARG b\n"
    made = planned(text, platform=ARM)
    assert [stage.base for stage in made.stages] == ["xy:1", "arm64"]
    assert (made.stages[0].platform, made.stages[1].platform, made.platform) == (None, HERE, ARM)
    assert planned(text, build_args={"a": "q"}).stages[0].base == "qy:1"
    assert planned(text, build_args={"b": "q", "TARGETARCH": "r"}).stages[1].base == "r"
    assert planned("ARG a\nFROM ${a:-z}").stages[0].base == "z"
    assert made.global_args["TARGETSTAGE"] == "default"


def test_contexts_by_name() -> None:
    text = "FROM busybox:latest AS a\nFROM other AS named\nFROM a\nCOPY --from=extra . .\nCOPY --from=a . .\n"
    stages = planned(text, contexts={"busybox", "named", "extra", "scratch"}).stages
    assert [stage.context for stage in stages] == ["busybox", "named", "", "extra"]
    replaced = planned("FROM x AS y\nRUN a\nFROM x AS z\nRUN b", contexts={"y", "x"}).stages
    assert [(stage.context, len(stage.instructions)) for stage in replaced] == [("y", 0), ("x", 1)]
    assert planned("FROM scratch", contexts={"scratch"}).stages[0].context == ""


@pytest.mark.parametrize(
    ("text", "target", "message", "locations"),
    [
        ("FROM a AS base", "bas", 'target stage "bas" could not be found (did you mean base?)', []),
        ("FROM a", "none", 'target stage "none" could not be found', []),
        ("FROM $none", "", "base name ($none) should not be blank", [(1, 1)]),
        ("FROM ${a", "", "failed to process \"${a\": unsupported modifier (\ufffd) in substitution", [(1, 1)]),
        ("ARG x=${y?z}\nFROM a", "", 'failed to process "${y?z}": y: z', [(1, 1)]),
        ("FROM --platform=$TARGETPLATFOR a", "", "empty platform value from expression $TARGETPLATFOR (did you mean TARGETPLATFORM?)", [(1, 1)]),
        ("FROM a\nCOPY --from=3 x y", "", "invalid stage index 3", []),
        ("FROM a\nCOPY --from=$x x y", "", "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround", []),
        ("FROM a AS s\nCOPY --from=s x y", "", "circular dependency detected on stage: s", [(2, 2)]),
        ("FROM a AS s\nCOPY --from=t x y\nFROM b AS t\nCOPY --from=s x y", "", "circular dependency detected on stage: s", [(2, 2), (4, 4)]),
        ("FROM a AS s\nCOPY --from=t x y\nFROM b AS t", "s", 'cannot copy from stage "t", it needs to be defined before current stage "s"', [(2, 2)]),
        ("FROM a AS s\nRUN --mount=from=t,target=/x y\nFROM b AS t", "s", 'cannot mount from stage "t" to "/x", stage needs to be defined before current command', [(2, 2)]),
        ("FROM a AS s\nCOPY --from=t x y\nFROM s AS t", "", 'cannot copy from stage "t", it needs to be defined before current stage "s"', [(2, 2)]),
    ],
)  # fmt: skip
def test_errors(text: str, target: str, message: str, locations: list[tuple[int, int]]) -> None:
    found = fails(text, target)
    assert found.message == message
    assert found.locations == locations


def test_a_platform_that_is_none() -> None:
    found = fails("FROM --platform=a/b/c/d x")
    assert found.message.startswith('failed to parse platform a/b/c/d: "a/b/c/d": cannot parse')


def test_triggers_come_first_and_may_need_more() -> None:
    made = planned("FROM x AS a\nFROM base AS b\nRUN own\n", "b")
    assert made.needed == [1]
    more = made.with_triggers(1, ["COPY --from=a x y", "RUN <<E\nz\nE", "COPY --from=img x y"])
    assert sorted(more.needed) == [0, 1, 2]
    lines = [(one.instruction.original, one.triggered) for one in more.stages[1].instructions]
    assert lines[0] == ("COPY --from=a x y", True)
    assert lines[-1] == ("RUN own", False)
    assert {one.instruction.lines for one in more.stages[1].instructions[:3]} == {(2, 2)}
    assert planned("FROM a AS b\nONBUILD RUN x\nFROM b").own_triggers(0) == ["RUN x"]


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("BAD a", "unknown instruction: BAD (did you mean ADD?)"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("COPY --from=a x y", "circular dependency detected on stage: a"),
    ],
)
def test_bad_triggers(trigger: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        planned("\nFROM x AS a\nFROM y").with_triggers(0, [trigger])
    assert caught.value.message == message
    assert caught.value.locations == [(2, 2)]


def test_many_stages_that_need_each_other() -> None:
    stages = ["FROM a AS s0"]
    for number in range(1, 300):
        stages.append(f"FROM s{number - 1} AS s{number}")
        stages += [f"COPY --from=s{other} a b" for other in range(max(0, number - 5), number)]
    begin = time.process_time()
    assert planned("\n".join(stages)).needed == list(range(300))
    assert time.process_time() - begin < 10

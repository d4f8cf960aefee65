"""What the classic builder reads of a Dockerfile before it builds, the images' documents, labels as steps."""

import json
from typing import Any

import pytest

from compatd.engine.builder import evaluate, graph
from compatd.engine.builder.classic import refusals
from compatd.engine.builder.classic.documents import child, command, config_of
from compatd.engine.builder.dockerfile.parser import parse
from compatd.engine.errors import InvalidParameter


def read(text: str, target: str = "", **labels: str) -> refusals.Reading:
    return refusals.read(text.encode(), "Dockerfile", target, labels)


def test_steps_in_the_order_of_the_text() -> None:
    text = "ARG a=1\nFROM x AS one\nRUN b\nFROM y\nCOPY c d\nENV \\\n e=f\n"
    found = read(text, z="1", y="2")
    assert [step.text for step in found.steps] == [
        "ARG a=1", "FROM x AS one", "RUN b", "FROM y", "COPY c d", "ENV  e=f", "LABEL y=2", "LABEL z=1",
    ]  # fmt: skip
    assert (found.refused, found.global_arguments, found.first_container) == (None, 1, 2)
    assert found.at((6, 7)) == 5 and found.at((9, 9)) is None
    assert [step.text for step in read(text, "ONE").steps] == ["ARG a=1", "FROM x AS one", "RUN b"]


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        ("RUN --mount=type=cache,target=/x y", refusals.BUILDKIT.format("mount")),
        ("run   --network=default y", refusals.BUILDKIT.format("network")),
        ("RUN --security=sandbox y", refusals.BUILDKIT.format("security")),
        ("RUN echo --mount=x", ""),
        ("COPY --chmod=1 a b", refusals.BUILDKIT.format("chmod")),
        ("ADD --chmod=1 a b", refusals.BUILDKIT.format("chmod")),
        ("COPY <<E /x\nE", "COPY failed: no source files were specified"),
        ("ADD <<E /x\nE", "ADD failed: no source files were specified"),
        ("COPY a <<E /x/\nE", ""),
        ("RUN <<E\nE", ""),
        ("COPY --from=0 a b", ""),
        ("COPY --from=1 a b", "invalid from flag value 1: refers to current build stage"),
        ("COPY --from=2 a b", "invalid from flag value 2: index out of bounds"),
        ("COPY --from=one a b", ""),
    ],
)
def test_refused(instruction: str, text: str) -> None:
    found = read(f"FROM x AS one\nFROM y\nUSER z\n{instruction}\n")
    assert found.refused == (3 if text else None)
    assert found.steps[3].refused == text


def test_a_name_for_two_stages() -> None:
    found = read("FROM x AS One\nFROM y AS one\n")
    assert found.refused == 1 and found.steps[1].refused == "one stage name already used"


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "", "the Dockerfile (Dockerfile) cannot be empty"),
        ("# x", "", "failed to parse Dockerfile: file with no instructions"),
        ("FROM x\nQQQQQQQ", "", "dockerfile parse error on line 2: unknown instruction: QQQQQQQ"),
        ("FROM x AS one", "two", 'target stage "two" could not be found'),
    ],
)
def test_no_dockerfile(text: str, target: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(text, target)
    assert caught.value.message == message


def test_empty_lines_in_between() -> None:
    found = read("FROM x\nRUN a \\\n\n && b\nRUN c \\\n && d\n")
    assert found.continued == ("RUN a  && b",)


def test_unused_arguments() -> None:
    found = read("ARG a\nFROM x\nARG b=1 c\nFROM y\n", "")
    given = dict.fromkeys(("a", "b", "d", "e", "HTTP_PROXY", "no_proxy"), "1")
    assert refusals.unused(given, found.arguments, ["ARG d", "RUN x", "BAD"]) == ["e"]


# Documents -------------------------------------------------------------------------------------------------


def test_a_config_has_all_fields_in_order() -> None:
    found = config_of(
        {"Labels": {"b": "1", "a": "2"}, "ArgsEscaped": True, "Cmd": None, "User": "u"}, "sha256:p"
    )
    assert list(found)[:3] == ["Hostname", "Domainname", "User"] and "ArgsEscaped" not in found
    assert (found["Image"], found["Env"], found["User"]) == ("sha256:p", None, "u")
    assert list(found["Labels"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "shell", "words"),
    [
        ("/bin/sh -c #(nop)  ENV a=b", None, ["/bin/sh", "-c", "#(nop) ", "ENV a=b"]),
        ("/bin/sh -c #(nop) WORKDIR /w", None, ["/bin/sh", "-c", "#(nop) WORKDIR /w"]),
        ("|1 a=b echo x", None, ["|1 a=b echo x"]),
        ("/s #(nop)  SHELL [/s]", ["/s"], ["/s", "#(nop) ", "SHELL [/s]"]),
    ],
)
def test_commands(text: str, shell: list[str] | None, words: list[str]) -> None:
    assert command(text, shell) == words


def test_documents_grow_step_by_step() -> None:
    base: dict[str, Any] = {"architecture": "amd64", "os": "linux"}
    first = json.loads(child(base, {"Env": ["A=1"]}, created_by="x", created=10**9, diff_id="sha256:1"))
    assert first["history"] == [{"created": "1970-01-01T00:00:01Z", "created_by": "x"}]
    assert first["rootfs"] == {"type": "layers", "diff_ids": ["sha256:1"]} and "container" not in first
    second = json.loads(
        child(first, {"User": "7"}, created_by="/bin/sh -c #(nop)  USER 7", created=2 * 10**9,
              parent_id="sha256:p", author="me", container="c" * 64)
    )  # fmt: skip
    assert second["history"][1] == {
        "created": "1970-01-01T00:00:02Z", "created_by": "/bin/sh -c #(nop)  USER 7", "author": "me",
        "empty_layer": True,
    }  # fmt: skip
    assert second["rootfs"] == first["rootfs"] and second["author"] == "me"
    assert second["container_config"]["Hostname"] == "c" * 12
    assert second["container_config"]["Cmd"] == ["/bin/sh", "-c", "#(nop) ", "USER 7"]
    assert second["config"]["Image"] == "sha256:p"


# Labels ----------------------------------------------------------------------------------------------------


def test_labels_are_steps_and_taken_as_they_are() -> None:
    options = graph.Options(labels={"b": '$X "q"', "a": "1"}, label_steps=True)
    plan = graph.plan(parse(b"FROM scratch\nENV X=1\nLABEL a=0\n"), options)
    steps, state = evaluate.evaluate(plan, 0, None)
    assert [step.classic_created_by.partition("  ")[2] for step in steps] == [
        "ENV X=1", "LABEL a=0", "LABEL a=1", 'LABEL b=$X "q"',
    ]  # fmt: skip
    assert state.config["Labels"] == {"a": "1", "b": '$X "q"'}

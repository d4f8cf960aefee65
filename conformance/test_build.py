"""The classic builder's stream: its text line by line, the cache, stages, arguments, triggers, q."""

import json

import pytest

from conformance.builds import build, context, masked
from conformance.engine import Engine

BUILD = "ImageBuild"
FROM = [" ---> ID"]
RUN = [" ---> Running in ID", " ---> Removed intermediate container ID", " ---> ID"]


def label(engine: Engine) -> str:
    return f"LABEL conformance.run={engine.run_id}"


def numbered(*steps: tuple[str, list[str]]) -> list[str]:
    """The lines of these steps: what each shows, and what follows it."""
    total = len(steps)
    found: list[str] = []
    for number, (text, lines) in enumerate(steps, 1):
        found += [f"Step {number}/{total} : {text}", *lines]
    return found


@pytest.mark.operation(BUILD)
def test_the_text_and_the_cache(engine: Engine) -> None:
    marker = engine.name()
    dockerfile = (
        f"# a comment\nFROM {engine.image}\nRUN echo {marker}; \\\n  echo more\nRUN echo err >&2\nCOPY a /a\n"
        'ENV x=1\nWORKDIR /w\nCMD ["a"]\n'
    )
    names = (f"{engine.prefix}/x:1", f"{engine.prefix}/y", f"{engine.prefix}/x:1")
    first = build(engine, dockerfile, {"a": "1"})
    steps = (
        (f"FROM {engine.image}", FROM),
        (f"RUN echo {marker};   echo more", [RUN[0], marker, "more", *RUN[1:]]),
        ("RUN echo err >&2", [RUN[0], "\x1b[91merr", "\x1b[0m" + RUN[1], RUN[2]]),
        ("COPY a /a", FROM),
        ("ENV x=1", RUN),
        ("WORKDIR /w", RUN),
        ('CMD ["a"]', RUN),
        (label(engine), RUN),
    )
    assert first.lines == [*numbered(*steps), "Successfully built ID"]
    # Steps are two messages each, and the end of the stage tells the image in between
    assert first.messages[:2] == [{"stream": f"Step 1/8 : FROM {engine.image}"}, {"stream": "\n"}]
    assert first.messages[-2:] == [
        {"aux": {"ID": first.image}},
        {"stream": f"Successfully built {first.image[7:19]}\n"},
    ]
    again = build(engine, dockerfile, {"a": "1"}, t=names)
    assert again.lines == [
        *numbered(steps[0], *((text, [" ---> Using cache", " ---> ID"]) for text, _ in steps[1:])),
        "Successfully built ID",
        f"Successfully tagged {names[0]}",
        f"Successfully tagged {names[1]}:latest",
    ]
    assert again.image == first.image
    assert engine.wire.get(f"/images/{names[1]}/json")["Id"] == first.image


@pytest.mark.operation(BUILD)
def test_what_breaks_the_cache(engine: Engine) -> None:
    dockerfile = f"FROM {engine.image}\nCOPY a* /a/\nRUN echo {engine.name()} >/b\nARG v\nRUN echo $v\n"
    files = {"a1": "1", "a2": "2", "other": "3"}
    first = build(engine, dockerfile, files, buildargs={"v": "1"})
    cached = " ---> Using cache"
    total = 5

    def hits(**more: object) -> int:
        return build(engine, dockerfile, **{"buildargs": {"v": "1"}, **more}).lines.count(cached)  # type: ignore[arg-type]

    def with_files(files: dict[str, str], **more: object) -> int:
        body = context(dockerfile, files)
        return hits(body=body, **more)

    assert with_files({**files, "other": "changed"}) == total
    assert with_files(files, buildargs={"v": "2"}) == 3
    assert with_files({**files, "a2": "changed"}) == 0
    assert with_files(files, nocache=True) == 0
    assert with_files(files) == total
    assert first.text.count(cached) == 0


@pytest.mark.operation(BUILD)
def test_stages(engine: Engine) -> None:
    dockerfile = (
        f"FROM {engine.image} AS one\nRUN echo 1 >/x\nFROM {engine.image} AS unused\nRUN echo 3 >/u\n"
        "FROM scratch\nCOPY --from=one /x /x\nCOPY --from=0 /x /z\nCOPY --from=unused /u /u\n"
    )
    done = build(engine, dockerfile, nocache=True)
    assert done.lines == [
        *numbered(
            (f"FROM {engine.image} AS one", FROM),
            ("RUN echo 1 >/x", RUN),
            (f"FROM {engine.image} AS unused", FROM),
            ("RUN echo 3 >/u", RUN),
            ("FROM scratch", [" ---> "]),
            ("COPY --from=one /x /x", FROM),
            ("COPY --from=0 /x /z", FROM),
            ("COPY --from=unused /u /u", FROM),
            (label(engine), RUN),
        ),
        "Successfully built ID",
    ]
    assert len(done.ids) == 3
    target = build(engine, dockerfile, target="unused")
    assert target.lines[0].startswith("Step 1/5 ") and target.lines.count(" ---> Using cache") == 2
    named = build(engine, dockerfile, target="ONE")
    assert named.lines[0].startswith("Step 1/3 ") and len(named.ids) == 1


@pytest.mark.operation(BUILD)
def test_arguments(engine: Engine) -> None:
    dockerfile = (
        f"ARG base={engine.image}\nARG v=1\nFROM $base\nARG a=2\nARG v\nARG none\n"
        "RUN echo a=$a v=$v none=$none p=$HTTP_PROXY b=$b\n"
    )
    given = {"a": "x", "HTTP_PROXY": "proxy", "b": "no"}
    done = build(engine, dockerfile, buildargs=given)
    assert "a=x v=1 none= p=proxy b=" in done.lines
    assert "[Warning] One or more build-args [b] were not consumed" in done.lines
    assert done.lines[:3] == [
        f"Step 1/8 : ARG base={engine.image}",
        "Step 2/8 : ARG v=1",
        "Step 3/8 : FROM $base",
    ]
    last = engine.wire.get(f"/images/{done.image}/history")[1]["CreatedBy"]
    assert last.startswith("|2 a=x v=1 /bin/sh -c echo a=$a")


@pytest.mark.operation(BUILD)
def test_triggers(engine: Engine) -> None:
    name = f"{engine.prefix}/onbuild-{engine.name()}"
    base = build(engine, f"FROM {engine.image}\nONBUILD RUN echo trig >/t\nONBUILD COPY a /\n", t=name)
    assert engine.wire.get(f"/images/{base.image}/json")["Config"]["OnBuild"] == [
        "RUN echo trig >/t", "COPY a /",
    ]  # fmt: skip
    done = build(engine, f"FROM {name}\nRUN cat /t /a\n", {"a": "copied\n"})
    assert done.lines == [
        *numbered(
            (f"FROM {name}", ["# Executing 2 build triggers", *RUN[:2], " ---> ID"]),
            ("RUN cat /t /a", [RUN[0], "trig", "copied", *RUN[1:]]),
            (label(engine), RUN),
        ),
        "Successfully built ID",
    ]
    assert engine.wire.get(f"/images/{done.image}/json")["Config"].get("OnBuild") is None
    again = build(engine, f"FROM {name}\nRUN cat /t /a\n", {"a": "copied\n"})
    assert again.lines[1:5] == [
        "# Executing 2 build triggers", " ---> Using cache", " ---> Using cache", " ---> ID",
    ]  # fmt: skip
    one = build(engine, f"FROM {base.image} AS x\nFROM scratch\nCOPY --from=x /t /t\n", {"a": ""})
    assert not one.error


@pytest.mark.operation(BUILD)
def test_a_command_fails(engine: Engine) -> None:
    failed = build(engine, f"FROM {engine.image}\nRUN echo before; exit 7\n")
    text = "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"
    assert failed.messages[-1] == {"errorDetail": {"code": 7, "message": text}, "error": text}
    assert failed.lines[-1] == "before"
    forced = build(engine, f'FROM {engine.image}\nRUN ["sh", "-c", "exit 8"]\n', forcerm=True)
    assert forced.lines[-1] == RUN[1]
    assert (forced.code, forced.error) == (8, "The command 'sh -c exit 8' returned a non-zero code: 8")
    killed = build(engine, f"FROM {engine.image}\nRUN sh -c 'kill -9 $$'; exit $?\n")
    assert killed.code == 137


@pytest.mark.operation(BUILD)
def test_quiet(engine: Engine) -> None:
    done = build(engine, f"FROM {engine.image}\nRUN echo quiet\n", q=True)
    assert len(done.messages) == 1
    image = done.messages[0]["stream"].removesuffix("\n")
    assert engine.wire.get(f"/images/{image}/json")["Id"] == image
    failed = build(engine, f"FROM {engine.image}\nRUN echo why; false\n", q=True)
    assert "why" in failed.lines and failed.code == 1
    wrong = build(engine, f"FROM {engine.image}\nWRONG\n", q=True)
    assert wrong.status == 400


@pytest.mark.operation(BUILD)
def test_containers_may_stay(engine: Engine) -> None:
    done = build(engine, f"FROM {engine.image}\nRUN echo {engine.name()}\n", rm=False)
    assert RUN[1] not in done.lines and done.lines.count(RUN[0]) == 2


@pytest.mark.operation(BUILD)
def test_the_stream_of_an_old_client(engine: Engine) -> None:
    old = build(engine, f"FROM {engine.image}\nENV a=b\n", api="1.29") if _knows(engine, "1.29") else None
    new = build(engine, f"FROM {engine.image}\nENV a=b\n")
    assert new.ids and (old is None or (not old.ids and not old.error))
    answer = engine.wire.request(
        "POST", "/build", context(f"FROM {engine.image}\n"), headers={"Content-Type": "application/x-tar"},
        labels={"conformance.run": engine.run_id},
    )  # fmt: skip
    assert answer.headers["content-type"] == "application/json"
    lines = answer.body.split(b"\r\n")
    assert lines.pop() == b"" and all(json.loads(line) for line in lines)


def _knows(engine: Engine, api: str) -> bool:
    from conformance.engine import version

    return version(engine.min_api) <= version(api)


@pytest.mark.operation(BUILD)
def test_a_label_is_taken_as_it_is(engine: Engine) -> None:
    labels = {"b c": 'x $HOME "q"', "a": "two\nlines", "empty": ""}
    done = build(engine, f"FROM {engine.image}\nLABEL a=old own=1\n", labels=labels)
    found = engine.wire.get(f"/images/{done.image}/json")["Config"]["Labels"]
    assert {key: found[key] for key in ("own", *labels)} == {"own": "1", **labels}
    steps = [line for line in masked(done.text) if line.startswith("Step")]
    assert steps[-1] == "Step 6/6 : LABEL empty=" and 'Step 4/6 : LABEL b c=x $HOME "q"' in steps


@pytest.mark.operation(BUILD)
def test_what_is_told_beside_the_steps(engine: Engine) -> None:
    dockerfile = f"FROM {engine.image}\nHEALTHCHECK CMD a b\nHEALTHCHECK \\\n\n NONE\nHEALTHCHECK CMD c\n"
    lines = [line.removeprefix("\x1b[0m") for line in build(engine, dockerfile).lines]
    first = "".join(lines[: lines.index(next(line for line in lines if line.startswith("Step 1")))])
    assert first.startswith("\x1b[91m[WARNING]: Empty continuation line found in:")
    assert "HEALTHCHECK  NONE" in first and "lines will become errors in a future release." in first
    notes = [line for line in lines if line.startswith("Note")]
    assert notes == ["Note: overriding previous HEALTHCHECK: [CMD-SHELL a b]"]
    assert lines[lines.index(notes[0]) - 1] == "Step 3/5 : HEALTHCHECK  NONE"

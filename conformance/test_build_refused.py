"""What the classic builder refuses, before its stream and in it: statuses, codes, texts."""

from typing import Any

import pytest

from conformance.builds import build
from conformance.engine import Engine
from conformance.images import Tar

BUILD = "ImageBuild"
NEEDS = (
    "the --{} option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how to build "
    "images with BuildKit enabled"
)
COPY = "COPY failed: "
MISSING = "file not found in build context or excluded by .dockerignore: stat {}: file does not exist"


def since(old: Any, new: Any, version: str = "1.43") -> dict[str, Any]:
    """An answer of the oldest engine, and the one of those from `version` on."""
    return {"1.25": old, version: new}


def pick(engine: Engine, wanted: Any) -> Any:
    return engine.pick(wanted) if isinstance(wanted, dict) else wanted


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    ("dockerfile", "status", "text"),
    [
        ("", 400, "the Dockerfile (Dockerfile) cannot be empty"),
        ("# only that\n", 400, "failed to parse Dockerfile: file with no instructions"),
        ("RUN x\n", 400, "no build stage in current context"),
        (
            "FROM {B}\nX y\n", 400,
            since("dockerfile parse error line 2: unknown instruction: X",
                  "dockerfile parse error on line 2: unknown instruction: X"),
        ),
        (
            "FROM {B}\n\nRUN true\nENV\n", 400,
            since("dockerfile parse error line 4: ENV requires at least one argument",
                  "dockerfile parse error on line 4: ENV requires at least one argument"),
        ),
        ("FROM {B}\nENV a=b c\n", 400, 'failed to parse Dockerfile: Syntax error - can\'t find = in "c". '
                                      "Must be of the form: name=value"),
    ],
)  # fmt: skip
def test_no_dockerfile(engine: Engine, dockerfile: str, status: int, text: Any) -> None:
    failed = build(engine, dockerfile.replace("{B}", engine.image))
    assert (failed.status, failed.message) == (status, pick(engine, text))


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"dockerfile": "nope"}, 500, "Cannot locate specified Dockerfile: nope"),
        ({"dockerfile": "/etc/passwd"}, 500, "Cannot locate specified Dockerfile: /etc/passwd"),
        ({"dockerfile": "up"}, 500, "Cannot locate specified Dockerfile: up"),
        ({"dockerfile": "../x"}, 500, "forbidden path outside the build context: ../x ()"),
        (
            {"target": "x"}, 400,
            since("failed to reach build target x in Dockerfile", 'target stage "x" could not be found'),
        ),
        (
            {"t": "A:::x"}, 500,
            since("invalid reference format: repository name must be lowercase",
                  "invalid reference format: repository name (library/A) must be lowercase"),
        ),
        ({"t": "x@sha256:" + "a" * 64}, 500, "build tag cannot contain a digest"),
        (
            {"buildargs": "x"}, 400,
            "error reading build args: invalid character 'x' looking for beginning of value",
        ),
        (
            {"buildargs": "[1]"}, 400,
            "error reading build args: json: cannot unmarshal array into Go value of type map[string]*string",
        ),
        (
            {"buildargs": '{"a":1}'}, 400,
            "error reading build args: json: cannot unmarshal number into Go value of type string",
        ),
        (
            {"ulimits": "x"}, 400,
            "error reading ulimit settings: invalid character 'x' looking for beginning of value",
        ),
        (
            {"cachefrom": "x"}, since(500, 400),
            since("invalid character 'x' looking for beginning of value",
                  "error reading cache-from: invalid character 'x' looking for beginning of value"),
        ),
        (
            {"outputs": "x"}, since(500, 400),
            since("invalid character 'x' looking for beginning of value",
                  "invalid outputs specified: invalid character 'x' looking for beginning of value"),
        ),
        ({"shmsize": "x"}, 500, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"isolation": "x"}, 400, since('Unsupported isolation: "x"', 'unsupported isolation: "x"')),
        ({"version": "3"}, since(500, 400), 'invalid version "3"'),
        (
            {"securityopt": "x"}, 400,
            since("The daemon on this platform does not support setting security options on build",
                  "security options are not supported on linux"),
        ),
        (
            {"platform": "a/b/c/d"}, 400,
            since('"a/b/c/d": cannot parse platform specifier: invalid argument',
                  '"a/b/c/d": cannot parse platform specifier: invalid argument'),
        ),
        ({"squash": 1}, 400, "squash is only supported with experimental mode"),
        ({"remote": "x"}, 500, "remoteURL (x) could not be recognized as URL"),
        (
            {"remote": "client-session"}, 400,
            "experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) "
            "instead",
        ),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_parameters(engine: Engine, query: dict[str, Any], status: Any, text: Any) -> None:
    archive = Tar().add("Dockerfile", f"FROM {engine.image}\n").link("up", "../../../../etc/passwd").bytes()
    failed = build(engine, None, body=archive, **query)
    assert (failed.status, failed.message) == (pick(engine, status), pick(engine, text))


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        ("RUN --mount=type=cache,target=/x true", NEEDS.format("mount")),
        ("COPY --chmod=755 a /a", NEEDS.format("chmod")),
        ("ADD --chmod=755 a /a", NEEDS.format("chmod")),
        ("COPY --from=1 /x /x", "invalid from flag value 1: index out of bounds"),
        ("COPY --from=0 /x /x", "invalid from flag value 0: refers to current build stage"),
        ("COPY nope /x", COPY + MISSING.format("nope")),
        ("COPY a/../nope /x", COPY + MISSING.format("a/../nope")),
        ("ADD nope /x", "ADD failed: " + MISSING.format("nope")),
        ("COPY nope* /x", COPY + "no source files were specified"),
        ("COPY ../x /x", COPY + "forbidden path outside the build context: ../x ()"),
        (
            "COPY a b /x",
            "When using COPY with more than one source file, the destination must be a directory and end "
            "with a /",
        ),
        ("COPY http://x/y /x", COPY + "source can't be a URL for COPY"),
        (
            "ADD http://127.0.0.1:1/y /x",
            'ADD failed: Get "http://127.0.0.1:1/y": dial tcp 127.0.0.1:1: connect: connection refused',
        ),
        ("COPY --chown=nobody2 a /a", None),
        ("USER ${A:?bad}", 'failed to process "${A:?bad}": A: bad'),
        ("STOPSIGNAL FOO", since("Invalid signal: FOO", "invalid signal: FOO")),
        ("EXPOSE x", {"1.25": "Invalid containerPort: x", "1.48": "invalid containerPort: x"}),
    ],
)
def test_in_the_stream(engine: Engine, instruction: str, text: Any) -> None:
    failed = build(engine, f"FROM {engine.image}\n{instruction}\n", {"a": "1", "b": "2"})
    assert failed.status == 200 and failed.code == 0
    assert failed.lines[-1] == f"Step 2/3 : {instruction}"
    wanted = pick(engine, text)
    assert failed.error == wanted if wanted else "nobody2" in failed.error, failed.error


@pytest.mark.operation(BUILD)
@pytest.mark.since("1.43")
@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        ("RUN --network=none true", NEEDS.format("network")),
        ("COPY <<EOF /x\nhi\nEOF", COPY + "no source files were specified"),
    ],
)
def test_what_only_buildkit_does(engine: Engine, instruction: str, text: str) -> None:
    failed = build(engine, f"FROM {engine.image}\n{instruction}\n")
    assert failed.error == text and failed.lines[-1] == f"Step 2/3 : {instruction.splitlines()[0]}"


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    ("dockerfile", "text", "last"),
    [
        ("FROM $none\n", "base name ($none) should not be blank", "Step 1/2 : FROM $none"),
        (
            "FROM {B} AS one\nFROM {B} AS two\nCOPY --from=one nope /x\n",
            "COPY failed: stat nope: file does not exist", "Step 3/4 : COPY --from=one nope /x",
        ),
        ("FROM {B} AS one\nFROM {B} AS One\n", "one stage name already used", None),
        ("FROM scratch\nRUN true\n", None, "---> Running in ID"),
    ],
)  # fmt: skip
def test_stages(engine: Engine, dockerfile: str, text: str | None, last: str | None) -> None:
    failed = build(engine, dockerfile.replace("{B}", engine.image))
    assert failed.status == 200 and failed.error and (text is None or failed.error == text), failed
    assert last is None or failed.lines[-1].endswith(last)


@pytest.mark.operation(BUILD)
def test_a_base_that_is_not_there(engine: Engine) -> None:
    failed = build(engine, "FROM 127.0.0.1:1/nope:1\n")
    assert failed.status == 200 and "127.0.0.1:1" in failed.error
    assert failed.lines == ["Step 1/2 : FROM 127.0.0.1:1/nope:1"]


@pytest.mark.operation(BUILD)
@pytest.mark.parametrize(
    ("query", "text"),
    [
        (
            {"networkmode": "nope"},
            since(
                "network nope not found",
                "failed to set up container networking: network nope not found",
                "1.48",
            ),
        ),
        ({"networkmode": "container:nope"}, "No such container: nope"),
        ({"memory": 1}, "Minimum memory limit allowed is 6MB"),
        (
            {"memory": 10 << 20, "memswap": 5 << 20},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"cpusetcpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
        ({"cpuquota": 5}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"extrahosts": "bad"}, 'bad format for add-host: "bad"'),
        ({"shmsize": -1}, "SHM size can not be less than 0"),
    ],
)  # fmt: skip
def test_what_a_command_may_not_have(engine: Engine, query: dict[str, Any], text: Any) -> None:
    failed = build(engine, f"FROM {engine.image}\nRUN echo {engine.name()}\n", **query)
    assert failed.status == 200 and failed.error.lower() == pick(engine, text).lower()
    assert any(line.startswith("Step 2/3 : RUN echo") for line in failed.lines)


@pytest.mark.operation("BuildCancel")
def test_cancel_of_what_is_not_there(engine: Engine) -> None:
    answer = engine.wire.request("POST", "/build/cancel")
    assert (answer.status, answer.message) == (pick(engine, since(500, 400)), "build ID not provided")
    answer = engine.wire.request("POST", "/build/cancel", id="nothing")
    assert (answer.status, answer.body) == (200, b"")

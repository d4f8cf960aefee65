"""What a frontend answers instead of building, and definitions that are but a source."""

import base64
import hashlib
import json
from typing import Any

import pytest

from compatd.engine.builder.buildkit import definitions, subrequests
from compatd.engine.builder.buildkit.options import FrontendOptions
from compatd.engine.builder.buildkit.wire.messages import proto
from compatd.engine.builder.buildkit.wire.status import Code, GrpcError
from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.lint import Linter
from compatd.engine.builder.request import BuildRequest, BuildResult
from tests.unit.builder.wire.ends import run

FILE = b"""ARG BASE=busybox
ARG UNUSED=1
# base what all stand on
FROM $BASE AS base
# VERSION of the thing
ARG VERSION=1.0
ARG BASE
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
FROM base
RUN --mount=type=secret,id=other true
"""


class Builder:
    """Answers build checks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[BuildRequest] = []

    async def build(self, request: BuildRequest, observer: Any) -> BuildResult:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        linter = Linter()
        linter.warn("StageNameCasing", (3, 3), "Base")
        return BuildResult((), linter.warnings)


def answer(name: str, wanted: FrontendOptions | None = None, builder: Any = None) -> dict[str, bytes]:
    request = BuildRequest(FILE)
    work = subrequests.answer(builder, request, name, wanted or FrontendOptions())
    found: dict[str, bytes] = run(work).metadata
    return found


def test_targets() -> None:
    found = answer("frontend.targets")
    assert found["version"] == b"1.0.0"
    document = json.loads(found["result.json"])
    assert document["sources"] == [base64.b64encode(FILE).decode()]
    first, second = document["targets"]
    assert first == {
        "name": "base",
        "description": "what all stand on",
        "base": "$BASE",
        "location": {"ranges": [{"start": {"line": 4}, "end": {"line": 4}}]},
    }
    assert second["default"] is True and "name" not in second
    assert found["result.txt"].decode() == (
        "TARGET    DESCRIPTION\nbase      what all stand on\n(default) \n"
    )


def test_outline() -> None:
    found = answer("frontend.outline", FrontendOptions(build_args={"VERSION": "2"}))
    document = json.loads(found["result.json"])
    args = {arg["name"]: arg for arg in document["args"]}
    assert list(args) == ["BASE", "VERSION"]
    assert args["BASE"]["value"] == "busybox" and args["VERSION"]["value"] == "2"
    assert args["VERSION"]["description"] == "of the thing"
    assert [(one["name"], one.get("required", False)) for one in document["secrets"]] == [
        ("token", True),
        ("other", False),
    ]
    assert [one["name"] for one in document["ssh"]] == ["default"]
    text = found["result.txt"].decode()
    assert "BUILD ARG   VALUE     DESCRIPTION\nBASE        busybox   \n" in text
    assert "SECRET   REQUIRED\ntoken    true\nother    \n" in text


def test_outline_of_a_target() -> None:
    document = json.loads(answer("frontend.outline", FrontendOptions(target="base"))["result.json"])
    assert document["name"] == "base" and document["description"] == "what all stand on"
    assert [one["name"] for one in document["secrets"]] == ["token"]


def test_description() -> None:
    document = json.loads(answer("frontend.subrequests.describe")["result.json"])
    assert {one["name"] for one in document} == {
        "frontend.outline",
        "frontend.targets",
        "frontend.lint",
        "frontend.subrequests.describe",
    }


def test_build_checks() -> None:
    builder = Builder()
    found = answer("frontend.lint", builder=builder)
    assert found["result.statuscode"] == b"1"
    document = json.loads(found["result.json"])
    assert document["warnings"][0]["ruleName"] == "StageNameCasing"
    assert document["sources"][0]["filename"] == "Dockerfile" and "buildError" not in document
    assert found["result.txt"].decode().startswith("\nWARNING: StageNameCasing - https://")
    assert ">>> # base what all" in found["result.txt"].decode()


def test_build_checks_of_a_file_that_fails() -> None:
    found = answer("frontend.lint", builder=Builder(DockerfileError("no such", [(4, 4)])))
    document = json.loads(found["result.json"])
    assert document["buildError"]["message"] == "no such"
    assert document["buildError"]["location"]["ranges"][0]["start"] == {"line": 4}
    assert found["result.statuscode"] == b"1"


def test_what_nobody_knows() -> None:
    with pytest.raises(GrpcError) as caught:
        answer("frontend.nope")
    assert caught.value.message == "unsupported request frontend.nope"
    assert caught.value.details[0].type_url == "github.com/moby/buildkit/errdefs.Subrequest+json"


def definition(*ops: Any, **source: Any) -> Any:
    packed = [op.encode() for op in ops]
    if source:
        packed = [proto("pb.Op")(source=proto("pb.SourceOp")(**source)).encode()]
    digest = "sha256:" + hashlib.sha256(packed[-1]).hexdigest()
    packed.append(proto("pb.Op")(inputs=[proto("pb.Input")(digest=digest)]).encode())
    name = proto("pb.OpMetadata")(description={"llb.customname": "[internal] x"})
    return proto("pb.Definition")(**{"def": packed, "metadata": {digest: name}})


def test_a_source_is_found() -> None:
    given = definition(identifier="local://context", attrs={"local.followpaths": '["a"]'})
    source, title = definitions.source(proto("pb.Definition").decode(given.encode()))
    assert (source.identifier, title) == ("local://context", "[internal] x")


def test_results_are_handed_out_and_found_again() -> None:
    source, _ = definitions.source(definitions.of_result("job", "ref"))
    assert source.identifier == "compatd-result://job/ref"


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("exec", proto("pb.ExecOp")(meta=proto("pb.Meta")(args=["x"])), "ExecOp"),
        ("file", proto("pb.FileOp")(), "FileOp"),
        ("merge", proto("pb.MergeOp")(), "MergeOp"),
    ],
)
def test_other_builds_are_refused_by_name(kind: str, value: Any, name: str) -> None:
    with pytest.raises(GrpcError) as caught:
        definitions.source(definition(proto("pb.Op")(**{kind: value})))
    assert caught.value.code == Code.UNIMPLEMENTED
    assert caught.value.message.startswith(f"a low-level build with {name} is not supported")


def test_no_definition() -> None:
    with pytest.raises(GrpcError, match="invalid empty definition"):
        definitions.source(proto("pb.Definition")())

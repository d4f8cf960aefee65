"""Provenance statements, in the shape that dockerd 26.1 gives them."""

import json

import pytest

from compatd.engine.builder.bases import Base
from compatd.engine.builder.exporting import provenance
from compatd.engine.builder.exporting.task import Invocation
from compatd.engine.builder.request import PlatformResult, StepRecord
from compatd.engine.errors import EngineError
from compatd.engine.images.platform import Platform

AMD64 = Platform("linux", "amd64")
DIGEST = "sha256:" + "5a" * 32


def result(*steps: StepRecord) -> PlatformResult:
    base = Base("docker.io/library/base:1", DIGEST, {}, ())
    return PlatformResult(AMD64, b"{}", (), (), steps, (base,))


def made(asked: str, *steps: StepRecord, **more: object) -> dict:  # type: ignore[type-arg]
    what = provenance.wanted({"provenance": asked})
    assert what
    frontend = {"filename": "D", "platform": "linux/amd64", "attest:provenance": asked, "build-arg:A": "1"}
    invocation = Invocation(ref="r", frontend=frontend, dockerfile=b"FROM base:1", started=1, **more)  # type: ignore[arg-type]
    return provenance.predicate(what, invocation, result(*steps))


def test_the_least() -> None:
    found = made("mode=min,inline-only=true,builder-id=https://b")
    assert list(found) == ["builder", "buildType", "materials", "invocation", "metadata"]
    assert found["builder"] == {"id": "https://b"}
    assert found["materials"] == [
        {"uri": "pkg:docker/base@1?platform=linux%2Famd64", "digest": {"sha256": "5a" * 32}}
    ]
    assert found["invocation"]["configSource"] == {"entryPoint": "D"}
    assert found["invocation"]["parameters"] == {
        "frontend": "dockerfile.v0",
        "locals": [{"name": "context"}, {"name": "dockerfile"}],
    }
    completeness = found["metadata"]["completeness"]
    assert completeness == {"parameters": False, "environment": True, "materials": False}
    assert found["metadata"]["https://mobyproject.org/buildkit@v1#metadata"] == {}


def test_all_of_it() -> None:
    steps = [
        StepRecord("k1", (), None, "from", kind="from"),
        StepRecord("k2", ("k1", "elsewhere"), None, "RUN x", kind="run"),
        StepRecord("k2", ("k1",), None, "RUN x", kind="run"),
    ]
    found = made("", *steps)
    assert found["invocation"]["parameters"]["args"] == {"build-arg:A": "1"}
    assert found["metadata"]["completeness"]["parameters"] is True
    definition = found["buildConfig"]["llbDefinition"]
    assert [(one["id"], one.get("inputs")) for one in definition] == [("step0", None), ("step1", ["step0:0"])]
    assert found["buildConfig"]["digestMapping"] == {"k1": "step0", "k2": "step1"}
    infos = found["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["source"]["infos"]
    assert infos == [{"filename": "Dockerfile", "language": "Dockerfile", "data": "RlJPTSBiYXNlOjE="}]
    json.dumps(found)


def test_a_remote_context_is_a_material() -> None:
    found = made("mode=min", locals=(), materials=[("https://x/y.git", {"sha1": "ab"})])
    assert found["materials"][-1] == {"uri": "https://x/y.git", "digest": {"sha1": "ab"}}
    assert found["metadata"]["completeness"]["materials"] is True
    fetched = made("mode=min", StepRecord("k", (), None, "ADD", kind="add"), locals=())
    assert fetched["metadata"]["completeness"]["materials"] is False


def test_cve_2023_26054_no_credentials_of_urls() -> None:
    """What is pushed with an image is read by everybody."""
    url = "https://me:secret@x/y.git#main"
    frontend = {"context": url, "context:other": "https://secret@x/z.git", "vcs:source": url}
    what = provenance.wanted({"provenance": "mode=max"})
    assert what
    invocation = Invocation(ref="r", frontend=frontend, dockerfile=b"", started=1, materials=[(url, {})])
    found = provenance.predicate(what, invocation, result())
    assert "secret" not in json.dumps(found)
    assert found["invocation"]["configSource"]["uri"] == "https://xxxxx:xxxxx@x/y.git#main"
    assert found["invocation"]["parameters"]["args"]["context:other"] == "https://xxxxx@x/z.git"
    assert found["materials"][-1]["uri"] == "https://xxxxx:xxxxx@x/y.git#main"
    for same in ("git@x:y.git", "https://x/@y", "docker-image://a@sha256:bc", "x", ""):
        assert provenance.redacted(same) == same


def test_nothing_asked() -> None:
    assert provenance.wanted({}) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sbom": ""}, "SBOM attestations are not supported"),
        ({"other": ""}, 'unknown attestation type "other"'),
        ({"provenance": "mode=some"}, 'invalid mode "some"'),
        ({"provenance": "version=v1"}, "SLSA version v1 is not supported"),
        ({"provenance": "reproducible=x"}, "non-bool value specified for reproducible"),
    ],
)
def test_what_is_refused(given: dict[str, str], text: str) -> None:
    with pytest.raises(EngineError, match=text):
        provenance.wanted(given)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("base", "pkg:docker/base@latest?platform=linux%2Famd64"),
        ("localhost:5000/a/b:1", "pkg:docker/localhost%3A5000/a/b@1?platform=linux%2Famd64"),
        (f"x@{DIGEST}", f"pkg:docker/x?digest={DIGEST}&platform=linux%2Famd64"),
    ],
)
def test_package_urls(name: str, url: str) -> None:
    assert provenance.image_url(name, AMD64) == url


def test_a_file_name_stays_a_name() -> None:
    found = provenance.wanted({"provenance": "filename=../../etc/x"})
    assert found and found.filename == "x"


def test_a_statement() -> None:
    found = provenance.statement([provenance.subject("a", "sha256:ff")], {"p": 1})
    assert list(found) == ["_type", "predicateType", "subject", "predicate"]
    assert found["subject"] == [{"name": "a", "digest": {"sha256": "ff"}}]

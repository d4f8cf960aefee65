"""References: Docker's grammar, its familiar forms and its texts of errors."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compatd.engine.errors import InvalidParameter
from compatd.engine.images.reference import is_digest, parse, parse_any, repo_and_tag

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("a/b:C_d.e-f", "docker.io/a/b:C_d.e-f", "a/b:C_d.e-f"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x", "localhost:5000/x", "localhost:5000/x"),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("Host/x", "Host/x", "Host/x"),
        ("x@" + DIGEST, "docker.io/library/x@" + DIGEST, "x@" + DIGEST),
        ("x:1@" + DIGEST, "docker.io/library/x:1@" + DIGEST, "x:1@" + DIGEST),
        ("a__b/c-d/e.f--g", "docker.io/a__b/c-d/e.f--g", "a__b/c-d/e.f--g"),
    ],
)
def test_names(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert str(reference) == canonical
    assert reference.familiar == familiar
    assert parse(reference.familiar) == reference


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid reference format"),
        ("UPPER", "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ("a/B", "invalid reference format: repository name (a/B) must be lowercase"),
        ("a b", "invalid reference format"),
        ("a:", "invalid reference format"),
        (":a", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("h.x/" + "a" * 256, "repository name must not be more than 255 characters"),
        ("a@sha256:" + "a" * 63, "invalid checksum digest length"),
        ("a@md5:" + "a" * 32, "unsupported digest algorithm"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_errors(text: str, error: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse(text)
    assert caught.value.message == error


def test_digests_and_ids() -> None:
    assert parse_any("a" * 64) == DIGEST
    assert parse_any(DIGEST) == DIGEST
    assert str(parse_any("abc")) == "docker.io/library/abc"
    assert not is_digest("sha256:" + "A" * 64)


def test_stored_form_prefers_the_digest_and_adds_latest() -> None:
    assert str(parse("x").stored()) == "docker.io/library/x:latest"
    assert str(parse("x:1@" + DIGEST).stored()) == "docker.io/library/x@" + DIGEST


def test_repo_and_tag() -> None:
    assert repo_and_tag("", "x", digest_error="no") is None
    assert str(repo_and_tag("a", "", digest_error="no")) == "docker.io/library/a:latest"
    assert str(repo_and_tag("a:1", "2", digest_error="no")) == "docker.io/library/a:2"
    with pytest.raises(InvalidParameter, match=r"^no$"):
        repo_and_tag("a@" + DIGEST, "", digest_error="no")
    with pytest.raises(InvalidParameter, match=r"^invalid tag format$"):
        repo_and_tag("a", "b c", digest_error="no")


@patient
@given(st.text(max_size=40))
def test_any_text_parses_to_itself_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidParameter:
        return
    assert parse(str(reference)) == reference

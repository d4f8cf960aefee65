"""Regular expressions of callers: Go's texts, and never more than a moment."""

import pytest

from compatd.engine.namefilter import name_matcher
from compatd.engine.patterns import PatternError, finder


# As dockerd 26.1 answers `--log-opt labels-regex=…`.
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a(", "missing closing ): `a(`"),
        ("a[", "missing closing ]: `[`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        (r"\q", r"invalid escape sequence: `\q`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("a)", "unexpected ): `a)`"),
        ("x{2,1}", "invalid repeat count: `{2,1}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
    ],
)
def test_go_s_words(pattern: str, text: str) -> None:
    with pytest.raises(PatternError) as caught:
        finder(pattern)
    assert str(caught.value) == f"error parsing regexp: {text}"


def test_go_s_syntax() -> None:
    assert finder(r"^\pL+\z")("naïve")
    assert not finder(r"b\z")("b\n")
    assert not finder("x")("\udcff")


@pytest.mark.timeout(60)
def test_a_hostile_expression_takes_no_time() -> None:
    """Python's own re would take longer than the universe is old."""
    passes = name_matcher(["^(a+)+$", "(.*)*(.*)*(.*)*!"])
    assert not passes("a" * 200 + "-")
    assert passes("a" * 200)

"""Variables, quotes and escapes: the forms of the reference, and what hostile words cost."""

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.expand import Lexer
from compatd.engine.builder.dockerfile.glob import Pattern

# A loaded machine is slow, not wrong.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

VARIABLES = {"set": "abc/def.tar.gz", "empty": "", "two": "a  b", "lines": "x1\nx2"}


def fails(text: str, lexer: Lexer | None = None) -> str:
    with pytest.raises(DockerfileError) as caught:
        (lexer or Lexer()).word(text, VARIABLES)
    return caught.value.message


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$set", "abc/def.tar.gz"),
        ("${set}x", "abc/def.tar.gzx"),
        ("$setx$", "$"),
        ("\\$set", "$set"),
        ("'$set'", "$set"),
        ('"$two"', "a  b"),
        ('"\\$set \\n \\""', '$set \\n "'),
        ("$1x", "x"),
        ("$$x", "x"),
        ("$.", "$."),
        ("${none:-d}", "d"),
        ("${empty:-d}|${empty-d}|${none-d}", "d||d"),
        ("${set:+y}|${empty:+y}|${empty+y}|${none+y}", "y||y|"),
        ("${none:-${empty:-${set}}}", "abc/def.tar.gz"),
        ("${none:-a b'}'\\}}", "a b}}"),
        ("${set?no}${empty?no}", "abc/def.tar.gz"),
        ("${set#*/}", "def.tar.gz"),
        ("${set##*.}", "gz"),
        ("${set%.*}", "abc/def.tar"),
        ("${set%%.*}", "abc/def"),
        ("${set#?b}", "c/def.tar.gz"),
        ("${set#x}", "abc/def.tar.gz"),
        ("${set/\\//-}", "abc-def.tar.gz"),
        ("${set//./_}", "abc/def_tar_gz"),
        ("${set/.*/}", "abc/def"),
        ("${set//?a/X}", "abc/def.Xr.gz"),
        ("${lines//*/y}", "y\ny"),
        ("${empty/*/y}", "y"),
        ("a\\", "a"),
        ("a<<EOF", "a<<EOF"),
        ("${two//  /\\$x}", "a\\b"),
    ],
)
def test_words(word: str, expected: str) -> None:
    assert Lexer().word(word, VARIABLES).text == expected


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${set", "unsupported modifier (\ufffd) in substitution"),
        ("${set:-a", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:-a}", "syntax error: bad substitution"),
        ("${set:a}", "unsupported modifier (:a) in substitution"),
        ("${set:#a}", "unsupported modifier (:#) in substitution"),
        ("${set^}", "unsupported modifier (^) in substitution"),
        ("${none?}", "none: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${none:?say why}", "none: say why"),
        ("${set/a}", "syntax error: missing '/' in ${}"),
        ("${set/a/b", "syntax error: missing '}'"),
        ("${set#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"),
    ],
)
def test_errors(word: str, why: str) -> None:
    shown = word.replace("\\", "\\\\").replace('"', '\\"')
    assert fails(word) == f'failed to process "{shown}": {why}'


def test_other_escape_characters() -> None:
    assert Lexer("`").word("c:\\x`$set", VARIABLES).text == "c:\\x$set"


def test_ways_of_reading() -> None:
    assert Lexer(raw_quotes=True, keep_unset=True).word("'a' \"$none\" ${none} $set", VARIABLES).text == (
        "'a' \"$none\" ${none} abc/def.tar.gz"
    )
    assert Lexer(keep_quotes=True).word('it\'s "$empty" \\$set', VARIABLES).text == 'it\'s "" $set'
    assert Lexer(keep_unset=True).word("${none:-x}", {}).text == "${none:-x}"
    assert Lexer(raw_escapes=True).word("a\\ b", {}).text == "a\\ b"


def test_words_are_parted_after_the_expansion() -> None:
    assert Lexer().words("x$two \"$two\" a\\ b '' c", VARIABLES) == ["xa", "b", "a  b", "a b", "c"]


def test_what_was_used_and_what_is_missing() -> None:
    found = Lexer().word("$set ${none:-x} $other", VARIABLES)
    assert (found.used, found.unset) == ({"set"}, {"none", "other"})


LETTERS = st.text(alphabet="ab\n", max_size=8)
PATTERNS = st.text(alphabet="ab*?", max_size=6)


def regex(pattern: str, lazy: bool = False) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*?" if lazy else ".*", "?": "."}.get(c, c) for c in pattern))


@patient
@given(PATTERNS, LETTERS)
def test_patterns_are_those_of_regular_expressions(pattern: str, value: str) -> None:
    found = Pattern(pattern)
    for longest in (True, False):
        match = regex(pattern, not longest).match(value)
        expected = value[match.end() :] if match else value
        assert found.trim_prefix(value, longest=longest) == expected
        backwards = regex(pattern[::-1], not longest).match(value[::-1])
        expected = value[: len(value) - backwards.end()] if backwards else value
        assert found.trim_suffix(value, longest=longest) == expected
    match = regex(pattern).search(value)
    expected = value[: match.start()] + "X" + value[match.end() :] if match else value
    assert found.replace(value, "X", every=False) == expected


@patient
@given(PATTERNS.filter(lambda p: p.strip("*")), LETTERS)
def test_replacing_all(pattern: str, value: str) -> None:
    assert Pattern(pattern).replace(value, "X", every=True) == regex(pattern).sub("X", value)


@patient
@given(st.text(alphabet="${}:-+?#%/\\'\"ab<* ", max_size=30))
def test_any_word_is_expanded_or_refused(text: str) -> None:
    try:
        Lexer().word(text, {"a": "b"})
        Lexer().words(text, {"a": "b"})
    except DockerfileError as error:
        assert error.message.startswith("failed to process ")


def test_hostile_words() -> None:
    begin = time.process_time()
    assert "nested too deeply" in fails("${a:-" * 10_000)
    big = {"v": "a" * 100_000}
    assert Lexer().word("${v//" + "*a" * 500 + "b/x}", big).text == big["v"]
    assert Lexer().word("${v%%" + "*a?" * 500 + "b}", big).text == big["v"]
    with pytest.raises(DockerfileError, match="longer than"):
        Lexer().word("$v" * 100, big)
    assert time.process_time() - begin < 20  # backtracking would never end

"""Ignore files: which lines are patterns, which paths they leave out."""

import fnmatch
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.ignore import Matcher, read_patterns
from runtime.storage.patterns import Pattern, State, _items, _simulate

# A loaded machine is slow, not wrong.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def walk(matcher: Matcher, path: str) -> bool:
    """As a walk over the context finds it."""
    state: State | None = None
    found = False
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        found, state = matcher.enter("/".join(parts[:end]), state)
    return found


def test_lines() -> None:
    text = b"\xef\xbb\xbf# no\n  a/ \n/b\n! /c\n\n #d\n./e/../f\r\n/\n!\n"
    assert read_patterns(text) == ["a", "b", "!c", "#d", "f", "/", "!"]


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("a/", "a/b", True),
        ("a", "ab", False),
        ("*", "a/b", True),
        ("*.o", "x.o", True),
        ("*.o", "d/x.o", False),
        ("*/x", "a/x", True),
        ("*/x", "a/b/x", False),
        ("?", "é", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "a/bx", False),
        ("**/*.o", "a/b/c.o", True),
        ("**/*.o", "c.o", True),
        ("**.o", "a/bc.o", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/xb", False),
        ("a**b", "ab", True),
        ("**", "a/b", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[\\]]", "]", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("a.b+(c)|{d}$", "a.b+(c)|{d}$", True),
        ("a.b", "axb", False),
        ("* !a", "a", False),
        ("* !a", "a/b", False),
        ("* !a", "b", True),
        ("* !a/b", "a/b", False),
        ("* !a/b", "a/c", True),
        ("** !a/*.txt a/no.txt", "a/x.txt", False),
        ("** !a/*.txt a/no.txt", "a/no.txt", True),
        ("!a a", "a", True),
    ],
)
def test_paths(patterns: str, path: str, ignored: bool) -> None:
    matcher = Matcher(patterns.split())
    assert matcher.ignored(path) is ignored
    assert walk(matcher, path) is ignored


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-", "[a-]", "[z-a]", "a\\", "[\\"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(DockerfileError, match="syntax error in pattern"):
        Matcher([pattern])


def test_an_exclamation_mark_alone() -> None:
    with pytest.raises(DockerfileError, match='illegal exclusion pattern: "!"'):
        Matcher(["!"])


def test_a_walk_differs_where_a_later_pattern_only_takes_back_a_folder() -> None:
    """The walk asks about a folder before what is in it is left out: BuildKit's and the archive's order."""
    matcher = Matcher(["a/b", "!a"])
    assert walk(matcher, "a/b") is True
    assert matcher.ignored("a/b") is False


PIECES = st.lists(st.sampled_from(["a", "b", "*", "?", "**/", "/", "[ab]", "."]), min_size=1, max_size=7)


@patient
@given(PIECES, st.text(alphabet="ab/.", min_size=1, max_size=8))
def test_expressions_and_simulation_agree(pieces: list[str], path: str) -> None:
    text = "".join(pieces)
    if "***" in text or text.startswith("**"):
        return  # at the beginning `**` has rules of its own, in the expression only
    pattern = Pattern(text, False, _items(text))
    assert pattern.matches(path) is _simulate(pattern.items, path)


@patient
@given(st.text(alphabet="ab*?", min_size=1, max_size=6), st.text(alphabet="ab", max_size=6))
def test_within_a_name_it_is_what_shells_do(text: str, name: str) -> None:
    if "**" not in text:
        assert Pattern(text, False, _items(text)).matches(name) is fnmatch.fnmatchcase(name, text)


def test_hostile_patterns() -> None:
    begin = time.process_time()
    for pattern in ("*a" * 30 + "b", "**/a/" * 30 + "b", "[ab]*" * 30 + "c", "a**" * 30 + "b"):
        Matcher([pattern]).ignored("a" * 200 + "/a" * 20)
    assert time.process_time() - begin < 60  # backtracking would never end


def test_a_hundred_thousand_paths() -> None:
    matcher = Matcher(["node_modules", "**/*.pyc", ".git", "dist/**", "**/tmp", "*.log"])
    begin = time.process_time()
    state = matcher.enter("src")[1]
    left_out = sum(matcher.enter(f"src/module{number}/file.py", state)[0] for number in range(100_000))
    assert left_out == 0
    assert time.process_time() - begin < 10  # it takes some 0.3 s

"""`.dockerignore`: its lines, and a matcher for a whole context.

Source: the reference (".dockerignore file"), moby/patternmatcher (rules). Which file is read, and that
NAME.dockerignore goes before, is the caller's.
"""

from collections.abc import Iterable

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.text import SPACE, clean
from runtime.storage import patterns as walking

MAX_PATTERNS = 10_000


def read_patterns(text: bytes) -> list[str]:
    """The patterns of an ignore file, cleaned; `!` stays in front."""
    patterns = []
    source = text.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    for line in source.split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACE)
        negated = pattern.startswith("!")
        pattern = pattern[1:].strip(SPACE) if negated else pattern
        if pattern:
            pattern = clean(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        if pattern or negated:
            patterns.append("!" + pattern if negated else pattern)
    if len(patterns) > MAX_PATTERNS:
        raise DockerfileError(f"more than {MAX_PATTERNS} patterns in the ignore file")
    return patterns


class Matcher(walking.Matcher):
    """Whether a path (slashes, relative to the context) is left out. Raises DockerfileError."""

    def __init__(self, patterns: Iterable[str]) -> None:
        kept = (text.strip(SPACE) for text in patterns)
        try:
            super().__init__(clean(text) for text in kept if text)
        except walking.PatternError as error:
            raise DockerfileError(str(error)) from None

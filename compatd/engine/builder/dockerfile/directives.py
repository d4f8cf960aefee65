"""Parser directives: the `# syntax=`, `# escape=` and `# check=` above everything else."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.text import SPACE

KNOWN = ("syntax", "escape", "check")
BOM = "\ufeff"

_NAME = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=", re.ASCII)
_BLANK = "\t\n\f\r "


@dataclass(frozen=True, slots=True)
class Directive:
    """`# name=value`, on this line."""

    name: str
    value: str
    line: int

    @property
    def word(self) -> str:
        """The value up to its first space: what `syntax` and `check` look at."""
        return self.value.partition(" ")[0]


@dataclass(slots=True)
class Reader:
    """Takes line after line; after the first one that is no directive there are none anymore."""

    mark: str = "#"
    line: int = 0
    done: bool = False
    seen: set[str] = field(default_factory=set)

    def read(self, text: str) -> Directive | None:
        """The directive in this line. Raises DockerfileError when it was there before."""
        self.line += 1
        if self.done:
            return None
        match = _NAME.match(text[len(self.mark) :].lstrip(SPACE)) if text.startswith(self.mark) else None
        value = text[len(self.mark) :].lstrip(SPACE)[match.end() :].strip(_BLANK) if match else ""
        name = match[1].lower() if match else ""
        if name not in KNOWN or not value:
            self.done = True
            return None
        if name in self.seen:
            raise DockerfileError(f"only one {name} parser directive can be used")
        self.seen.add(name)
        return Directive(name, value, self.line)


def find(name: str, source: str) -> Directive | None:
    """This directive of a Dockerfile's text."""
    return _find(name, source, "#")


def detect_syntax(source: str) -> Directive | None:
    """The frontend that a file asks for, in any comment style: `#`, `//`, or JSON with a `syntax` key."""
    for mark in ("#", "//"):
        if found := _find("syntax", source, mark):
            return found
    try:
        document = json.loads(_body(source)[1])
    except (ValueError, RecursionError):
        return None
    value = document.get("syntax") if isinstance(document, dict) else None
    return Directive("syntax", value, 1) if isinstance(value, str) else None


def _find(name: str, source: str, mark: str) -> Directive | None:
    skipped, body = _body(source)
    reader = Reader(mark, skipped)
    try:
        for text in _lines(body):
            found = reader.read(text)
            if found and found.name == name:
                return found
            if reader.done:
                break
    except DockerfileError:
        pass
    return None


def _body(source: str) -> tuple[int, str]:
    """How many lines a `#!` takes, and what follows it."""
    source = source.removeprefix(BOM)
    if not source.startswith("#!"):
        return 0, source
    return 1, source.partition("\n")[2]


def _lines(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        yield text[begin:end].removesuffix("\r")
        begin = end + 1

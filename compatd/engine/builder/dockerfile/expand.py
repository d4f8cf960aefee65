"""Words and variables: `$x`, `${x}`, `${x:-y}`, `${x#p}`, `${x/p/t}` …, quotes and escapes.

Source: the Dockerfile reference ("Environment replacement"); texts of errors: moby/buildkit
frontend/dockerfile/shell. What is hostile is bounded: how deep `${}` nest, how long a value becomes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from compatd.engine.builder.dockerfile.errors import DockerfileError
from compatd.engine.builder.dockerfile.glob import Pattern
from compatd.engine.builder.dockerfile.text import SPACE, quote

MAX_DEPTH = 64
MAX_LENGTH = 4 << 20
MAX_WORK = (
    64 << 20
)  # characters that all words of one Dockerfile come to; one that a pattern reads counts for
_PATTERN = 64  # as many

_SPECIAL = "@*#?-$!0"
_TEMPLATE = re.compile(r"\$(\$|\{(\w+)\}|\w+)")


@dataclass(slots=True)
class Budget:
    """What may still be done for one Dockerfile: a pattern may walk through megabytes and come to nothing."""

    left: int = field(default_factory=lambda: MAX_WORK)

    def spend(self, work: int) -> None:
        """Raises DockerfileError when that is too much."""
        self.left -= work
        if self.left < 0:
            raise DockerfileError("expanding the variables takes too long")


@dataclass(frozen=True, slots=True)
class Lexer:
    """How words are read. `escape` is the escape character.

    raw_quotes, raw_escapes: quotes and escapes stay in the result. keep_quotes: quotes mean nothing.
    keep_unset: `$x` stays as it is where x is not set. budget: of all lexers of a Dockerfile together.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_quotes: bool = False
    keep_unset: bool = False
    budget: Budget = field(default_factory=Budget, compare=False, repr=False)

    def word(self, text: str, variables: Mapping[str, str]) -> "Expanded":
        """All of `text` as one word. Raises DockerfileError."""
        reader = _Reader(self, text, variables)
        try:
            result, _ = reader.until("", self.raw_escapes)
        except DockerfileError as error:
            raise DockerfileError(f"failed to process {quote(text)}: {error.message}") from None
        return Expanded(result, reader.used, reader.unset)

    def words(self, text: str, variables: Mapping[str, str]) -> list[str]:
        """`text` parted at its spaces, also those that come out of variables. Raises DockerfileError."""
        try:
            return _Reader(self, text, variables).until("", self.raw_escapes)[1]
        except DockerfileError as error:
            raise DockerfileError(f"failed to process {quote(text)}: {error.message}") from None


@dataclass(frozen=True, slots=True)
class Expanded:
    """A word, and which variables in it are set and which are not."""

    text: str
    used: frozenset[str] | set[str] = frozenset()
    unset: frozenset[str] | set[str] = frozenset()


@dataclass(slots=True)
class _Words:
    done: list[str] = field(default_factory=list)
    word: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Text whose spaces part words."""
        for char in text:
            if char not in SPACE:
                self.word.append(char)
            elif self.word:
                self.end()

    def end(self) -> None:
        if text := "".join(self.word):
            self.done.append(text)
        self.word = []


class _Reader:
    def __init__(self, lexer: Lexer, text: str, variables: Mapping[str, str]) -> None:
        self.lexer, self.text, self.variables = lexer, text, variables
        self.position = self.depth = self.length = 0
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        char = self.text[self.position : self.position + 1]
        self.position += 1
        return char

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Up to `stop`, which is taken too ("": the end): as one word, and as words."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise DockerfileError("substitutions are nested too deeply")
        parts: list[str] = []
        words = _Words()
        while char := self.peek():
            if char == stop:
                self.next()
                break
            if char == "$":
                parts.append(self.dollar(raw_escapes))
                self.grown(parts[-1])
                words.add(parts[-1])
            elif char == "<" or (char in "'\"" and not self.lexer.keep_quotes):
                found = self.angle() if char == "<" else self.quoted(char, raw_escapes)
                parts.append(found)
                words.word.append(found)
            elif self.next() == self.lexer.escape:
                escaped = self.next()  # at the end an escape means nothing
                kept = char + escaped if raw_escapes else escaped
                parts.append(kept)
                words.word.append(kept)
            else:
                parts.append(char)
                words.add(char)
        else:
            if stop:
                raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        self.depth -= 1
        words.end()
        return "".join(parts), words.done

    def grown(self, text: str) -> None:
        self.length += len(text)
        self.lexer.budget.spend(len(text))
        if self.length > MAX_LENGTH:
            raise DockerfileError(f"value is longer than {MAX_LENGTH} characters after substitution")

    def angle(self) -> str:
        """`<`, or the `<<` of a heredoc with the blanks behind it, which do not part words."""
        self.next()
        if self.peek() != "<":
            return "<"
        begin = self.position
        self.next()
        while (char := self.peek()) and char in "\t\r ":
            self.next()
        return "<" + self.text[begin : self.position]

    def quoted(self, mark: str, raw_escapes: bool) -> str:
        self.next()
        if mark == "'":
            end = self.text.find("'", self.position)
            if end < 0:
                raise DockerfileError("unexpected end of statement while looking for matching single-quote")
            found, self.position = self.text[self.position : end], end + 1
            return f"'{found}'" if self.lexer.raw_quotes else found
        parts: list[str] = []
        while (char := self.peek()) != '"':
            if not char:
                raise DockerfileError("unexpected end of statement while looking for matching double-quote")
            if char == "$":
                parts.append(self.dollar(raw_escapes))
                self.grown(parts[-1])
                continue
            self.next()
            if char == self.lexer.escape:
                if raw_escapes:
                    parts.append(char)
                following = self.peek()
                if not following:
                    continue
                if following in ('"', "$", self.lexer.escape):
                    char = self.next()
            parts.append(char)
        self.next()
        found = "".join(parts)
        return f'"{found}"' if self.lexer.raw_quotes else found

    def dollar(self, raw_escapes: bool) -> str:
        self.next()
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.get(name)
            return f"${name}" if value is None and self.lexer.keep_unset else value or ""
        self.next()
        if not self.peek():
            raise DockerfileError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        name = self.name()
        modifier = self.next()
        if modifier == "}":
            value = self.get(name)
            return f"${{{name}}}" if value is None and self.lexer.keep_unset else value or ""
        if modifier == "/":
            return self.replaced(name)
        colon = modifier == ":"
        kind = self.next() if colon else modifier
        modifier = (":" if colon else "") + (kind or "\ufffd")
        if not kind or kind not in "+-?#%" or (colon and kind in "#%"):
            if colon and kind not in ("#", "%"):
                self.rest("}", False, "}")  # so a missing brace is told first
            raise DockerfileError(f"unsupported modifier ({modifier}) in substitution")
        word = self.rest("}", kind in "#%", "}")
        value = self.get(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        return self.modified(name, modifier, word, value)

    def modified(self, name: str, modifier: str, word: str, value: str | None) -> str:
        kind, missing = modifier[-1], value is None or (modifier[0] == ":" and not value)
        if kind == "-":
            return word if missing else value or ""
        if kind == "+":
            return "" if missing else word
        if kind == "?":
            if missing:
                why = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
                raise DockerfileError(f"{name}: {why}")
            return value or ""
        longest = word.startswith(kind)
        self.lexer.budget.spend(len(value or "") * _PATTERN)
        pattern = _pattern(word[1:] if longest else word)
        trim = pattern.trim_prefix if kind == "#" else pattern.trim_suffix
        return trim(value or "", longest=longest)

    def replaced(self, name: str) -> str:
        every = self.peek() == "/"
        if every:
            self.next()
        pattern = self.rest("/", True, "/' in ${}", "")
        text = self.rest("}", True, "}")
        value = self.get(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{text}}}"
        if every:  # there, `$` in the replacement names groups of the match, of which there are none
            text = _TEMPLATE.sub(lambda match: "$" if match[1] == "$" else "", text)
        self.lexer.budget.spend(len(value or "") * _PATTERN)
        return _pattern(pattern).replace(value or "", text, every=every)

    def rest(self, stop: str, raw_escapes: bool, missing: str, end: str = "'") -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except DockerfileError:
            if not self.peek():
                raise DockerfileError(f"syntax error: missing '{missing}{end}") from None
            raise

    def name(self) -> str:
        begin = self.position
        char = self.peek()
        if char and char.isdecimal():
            while (char := self.peek()) and char.isdecimal():
                self.next()
        elif char and char in _SPECIAL:
            self.next()
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self.next()
        return self.text[begin : self.position]

    def get(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.unset if value is None else self.used).add(name)
        return value


def _pattern(text: str) -> Pattern:
    try:
        return Pattern(text)
    except DockerfileError as error:
        raise DockerfileError(f"invalid pattern ({text}) in substitution: {error.message}") from None

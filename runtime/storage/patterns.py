"""Patterns of `.dockerignore`, of COPY's --exclude and --parents: which paths of a tree they match.

Pure. Patterns come from whoever builds: no pattern takes longer than its length times that of the path.
Source: moby/patternmatcher (rules).
"""

import re
from collections.abc import Iterable, Sequence

BAD_PATTERN = "syntax error in pattern"

_WILD = ("*", "**", "**/")
_MANY = 2  # above so many wildcards a regular expression may take too long


class PatternError(ValueError):
    """A pattern that means nothing; the text is for the client."""


class State:
    """What is known of a folder: which patterns match it or one above it. Given on to what is in it."""

    __slots__ = ("matched",)

    def __init__(self, matched: int = 0) -> None:
        self.matched = matched


class Matcher:
    """Whether a path (slashes, relative to the context) is left out. Raises PatternError.

    The patterns are clean paths without blanks around them, `!` in front where one takes in again.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns: list[Pattern] = []
        for text in patterns:
            if text:
                self.patterns.append(_compile(text))
        self.negations = any(pattern.negated for pattern in self.patterns)
        self._joined = None if self.negations else _joined(self.patterns)

    def ignored(self, path: str) -> bool:
        """Whether one path is left out, by itself or for a folder above it."""
        parents = [path[:at] for at, char in enumerate(path) if char == "/"]
        matched = False
        for pattern in self.patterns:
            if pattern.negated is matched and (pattern.matches(path) or any(map(pattern.matches, parents))):
                matched = not pattern.negated
        return matched

    def enter(self, path: str, parent: State | None = None) -> tuple[bool, State]:
        """Whether this is left out, and the state for what is in it: for walks from the top down."""
        before = parent.matched if parent else 0
        if self._joined is not None:
            found = bool(before) or self._joined.matches(path)
            return found, State(int(found))
        matched, known = False, 0
        for index, pattern in enumerate(self.patterns):
            inherited = before >> index & 1
            if not inherited and (pattern.negated is not matched or not pattern.matches(path)):
                continue
            known |= 1 << index
            matched = not pattern.negated
        return matched, State(known)


class Pattern:
    """One pattern. `negated` tells that it began with `!`."""

    def __init__(self, text: str, negated: bool, items: Sequence["_Item"]) -> None:
        self.text, self.negated, self.items = text, negated, items
        self.literal: str | None = None
        self.regex: re.Pattern[str] | None = None
        plain = all(kind == "literal" for kind, _ in items)
        if plain and "\\" not in text:
            self.literal = text
        elif sum(kind in _WILD for kind, _ in items) <= _MANY:
            self.regex = re.compile(self.expression() + r"\Z", re.ASCII)

    def matches(self, path: str) -> bool:
        """Whether it matches this path itself."""
        if self.literal is not None:
            return path == self.literal
        if self.regex is not None:
            return self.regex.match(path) is not None
        return _simulate(self.items, path)

    def expression(self) -> str:
        """The pattern as a regular expression."""
        if self.text.startswith("**") and all(kind == "literal" for kind, _ in self.items[1:]):
            # Only here `**x` also matches within a name.
            rest = re.escape("".join(what for _, what in self.items[1:]))
            return f"(?:(?:.*/)?{rest})" if self.items[0][0] == "**/" else f"[\\s\\S]*{rest}"
        return "".join(_EXPRESSIONS.get(kind) or what for kind, what in self._escaped())

    def _escaped(self) -> Iterable["_Item"]:
        for index, (kind, what) in enumerate(self.items):
            last = index == len(self.items) - 1
            if kind == "literal":
                yield kind, re.escape(what)
            elif kind in ("**", "**/") and last:
                yield "rest", r"[\s\S]*" if index and self._plain_before() else ".*"
            else:
                yield kind, what

    def _plain_before(self) -> bool:
        return all(kind == "literal" for kind, _ in self.items[:-1])


_Item = tuple[str, str]  # literal, class (a regular expression), ?, *, ** or **/ and its text
_EXPRESSIONS = {"*": "[^/]*", "?": "[^/]", "**": "(?:.*/)?", "**/": "(?:.*/)?"}


class _Joined:
    """All patterns of a file without `!` at once."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.regex: re.Pattern[str] | None = None
        self.others: list[Pattern] = []

    def matches(self, path: str) -> bool:
        if path in self.names or (self.regex and self.regex.match(path)):
            return True
        return any(pattern.matches(path) for pattern in self.others)


def _joined(patterns: list[Pattern]) -> _Joined:
    found = _Joined()
    expressions = []
    for pattern in patterns:
        if pattern.literal is not None:
            found.names.add(pattern.literal)
        elif pattern.regex is not None:
            expressions.append(pattern.expression())
        else:
            found.others.append(pattern)
    if expressions:
        found.regex = re.compile(f"(?:{'|'.join(expressions)})\\Z", re.ASCII)
    return found


def _compile(text: str) -> Pattern:
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise PatternError('illegal exclusion pattern: "!"')
    return Pattern(text, negated, _items(text))


def _items(text: str) -> list[_Item]:
    items: list[_Item] = []
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char == "*" and text.startswith("*", position):
            position += 1
            slash = text.startswith("/", position)
            position += slash
            items.append(("**/" if slash else "**", ""))
        elif char in "*?":
            items.append((char, ""))
        elif char == "[":
            expression, position = _class(text, position)
            items.append(("class", expression))
        elif char == "\\":
            if position == len(text):
                raise PatternError(BAD_PATTERN)
            items.append(("literal", text[position]))
            position += 1
        else:
            items.append(("literal", char))
    return items


def _class(text: str, position: int) -> tuple[str, int]:
    """A `[…]` from behind its bracket, and the place behind its end."""
    negated = text.startswith("^", position)
    position += negated
    ranges: list[str] = []
    while not (ranges and text.startswith("]", position)):
        low, position = _class_char(text, position)
        high = low
        if text.startswith("-", position):
            high, position = _class_char(text, position + 1)
        if high < low:
            raise PatternError(BAD_PATTERN)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' if negated else ''}{''.join(ranges)}]", position + 1


def _class_char(text: str, position: int) -> tuple[str, int]:
    char = text[position : position + 1]
    if char == "\\":
        position += 1
        char = text[position : position + 1]
    elif char in ("-", "]"):
        char = ""
    if not char or position + 1 >= len(text):
        raise PatternError(BAD_PATTERN)
    return char, position + 1


def _simulate(items: Sequence[_Item], path: str) -> bool:
    """All ways at once, so that no pattern takes longer than its length times that of the path."""
    end = len(items)

    def closed(states: set[tuple[int, bool]]) -> set[tuple[int, bool]]:
        for state in range(end):  # an item that may stand for nothing leads on, in order
            if items[state][0] in _WILD and (state, False) in states:
                states.add((state + 1, False))
        return states

    states = closed({(0, False)})
    for char in path:
        following: set[tuple[int, bool]] = set()
        for state, inside in states:
            kind, what = items[state] if state < end else ("end", "")
            if kind in ("**", "**/"):  # inside: it began, so it must go up to a slash, or to the end
                if char != "\n":
                    following.add((state, state < end - 1))
                if char == "/":
                    following.add((state + 1, False))
            elif kind == "*":
                if char != "/":
                    following.add((state, inside))
            elif kind == "?":
                if char != "/":
                    following.add((state + 1, False))
            elif (kind == "literal" and char == what) or (kind == "class" and re.match(what, char)):
                following.add((state + 1, False))
        states = closed(following)
        if not states:
            return False
    return (end, False) in states


class Glob:
    """A shell pattern as Go's path.Match takes it, for COPY's sources: `*` and `?` stay within a name."""

    def __init__(self, text: str) -> None:
        """Raises PatternError."""
        self.items: list[_Item] = []
        for kind, what in _items(text):
            self.items.append(("*" if kind in ("**", "**/") else kind, what))
            if kind == "**/":
                self.items.append(("literal", "/"))
        stars = sum(kind == "*" for kind, _ in self.items)
        expression = "".join(
            _EXPRESSIONS.get(kind) or (re.escape(what) if kind == "literal" else what)
            for kind, what in self.items
        )
        self._regex = re.compile(expression + r"\Z", re.ASCII) if stars <= _MANY else None
        # A class may stand for a slash, too
        self.depth = text.count("/") + 1 + sum(kind == "class" for kind, _ in self.items)

    def matches(self, path: str) -> bool:
        """Whether it matches all of this relative path."""
        if self._regex is not None:
            return self._regex.match(path) is not None
        return _simulate(self.items, path)


def has_wildcards(text: str) -> bool:
    """Whether one of Go's wildcards is in it that no backslash takes its meaning from."""
    rest = iter(text)
    for char in rest:
        if char == "\\":
            next(rest, "")
        elif char in "*?[":
            return True
    return False

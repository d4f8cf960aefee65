"""JSON as Go's decoder reads it: what is accepted, and what is said about what is not.

Parsing itself is orjson's; only when that fails is the text looked at again, to find what Go would complain
about (texts of Go's encoding/json scanner), and for the few things Go takes and orjson does not: bytes that
are not UTF-8, lone surrogates, and whatever follows a closing bracket.
"""

import json
import re
from typing import Any, NoReturn

import orjson

_SPACE = " \t\r\n"
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_HEX = frozenset("0123456789abcdefABCDEF")


class JSONError(ValueError):
    """Go's text about why this is not JSON. ``trailing`` when something follows a good value."""

    def __init__(self, message: str, *, trailing: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.trailing = trailing


class Number(float):
    """A number that is no integer, with the text it was written as."""

    text: str


def _keep_text(text: str) -> Number:
    number = Number(text)
    number.text = text
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def loads(raw: bytes) -> Any:
    """The value in ``raw``. Raises JSONError with Go's text; an empty ``raw`` is "EOF"."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return loads_slowly(raw)


def loads_slowly(raw: bytes) -> Any:
    """As ``loads``, but numbers with a fraction or exponent come as Number."""
    text = raw.decode("utf-8", "replace").lstrip(_SPACE)
    if not text:
        raise JSONError("EOF")
    decoder = json.JSONDecoder(parse_float=_keep_text, parse_constant=_no_constant)
    try:
        value, end = decoder.raw_decode(text)
    except RecursionError:
        raise JSONError("exceeded max depth") from None
    except ValueError:
        raise JSONError(complaint(text)) from None
    rest = text[end:].lstrip(_SPACE)
    if rest and rest[0] not in "]}":
        raise JSONError("unexpected content after JSON", trailing=True)
    return _without_surrogates(value)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def quote(text: str) -> str:
    """``text`` as Go's strconv.Quote writes it."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(r"\\u00([0-9a-f]{2})", r"\\x\1", quoted).replace("\x7f", r"\x7f")


def _character(char: str) -> str:
    if char == "'":
        return r"'\''"
    return "'\"'" if char == '"' else "'" + quote(char)[1:-1] + "'"


class _Complaint(Exception):
    pass


def complaint(text: str) -> str:
    """What Go's scanner says about ``text``, which is no JSON value."""
    try:
        _Scanner(text).value()
    except _Complaint as found:
        return str(found)
    except RecursionError:
        return "exceeded max depth"
    return "unexpected EOF"


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, context: str) -> NoReturn:
        if self.at >= len(self.text):
            raise _Complaint("unexpected EOF")
        raise _Complaint(f"invalid character {_character(self.text[self.at])} {context}")

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def space(self) -> str:
        while self.peek() and self.peek() in _SPACE:
            self.at += 1
        return self.peek()

    def value(self) -> None:
        char = self.space()
        if char == "{":
            self.members()
        elif char == "[":
            self.items()
        elif char == '"':
            self.string()
        elif char and char in "-0123456789":
            self.number()
        elif char and char in "tfn":
            self.word({"t": "true", "f": "false", "n": "null"}[char])
        else:
            self.fail("looking for beginning of value")

    def members(self) -> None:
        self.at += 1
        if self.space() == "}":
            self.at += 1
            return
        while True:
            if self.space() != '"':
                self.fail("looking for beginning of object key string")
            self.string()
            if self.space() != ":":
                self.fail("after object key")
            self.at += 1
            self.value()
            char = self.space()
            if char not in ("}", ","):
                self.fail("after object key:value pair")
            self.at += 1
            if char == "}":
                return

    def items(self) -> None:
        self.at += 1
        if self.space() == "]":
            self.at += 1
            return
        while True:
            self.value()
            char = self.space()
            if char not in ("]", ","):
                self.fail("after array element")
            self.at += 1
            if char == "]":
                return

    def string(self) -> None:
        self.at += 1
        while (char := self.peek()) != '"':
            if not char or char < " ":
                self.fail("in string literal")
            self.at += 1
            if char == "\\":
                self.escape()
        self.at += 1

    def escape(self) -> None:
        char = self.peek()
        if not char or char not in 'bfnrt\\/"u':
            self.fail("in string escape code")
        self.at += 1
        for _ in range(4 if char == "u" else 0):
            if self.peek() not in _HEX:
                self.fail("in \\u hexadecimal character escape")
            self.at += 1

    def number(self) -> None:
        if found := _NUMBER.match(self.text, self.at):
            self.at = found.end()
            char = self.peek()
            if char and char in ".eE":
                self.at += 1
                if char in "eE" and self.peek() and self.peek() in "+-":
                    self.at += 1
                self.fail(
                    "after decimal point in numeric literal"
                    if char == "."
                    else "in exponent of numeric literal"
                )
        else:
            self.at += 1
            self.fail("in numeric literal")

    def word(self, word: str) -> None:
        for expected in word:
            if self.peek() != expected:
                self.fail(f"in literal {word} (expecting '{expected}')")
            self.at += 1

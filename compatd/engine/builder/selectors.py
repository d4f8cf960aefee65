"""The filters by which BuildKit's clients choose cache records: `type==regular,id~=abc`, `inuse`.

Source: containerd's filters (grammar, texts of errors); moby/buildkit cache/manager.go (fields).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compatd.engine.builder.dockerfile.text import quote
from compatd.engine.errors import InvalidParameter
from compatd.engine.patterns import PatternError, finder

Fields = Mapping[str, str | None]
"""A record's fields: None for one that is not there; those that are but true are ""."""

Match = Callable[[Fields], bool]

_OPERATORS = {"==", "!=", "~="}
_QUOTES = '/|"'


def parse_all(filters: Sequence[str], what: str = "prune") -> Match:
    """Whether any of the filters fits; no filter, or an empty one, fits all. Raises InvalidParameter."""
    try:
        found = [_Parser(text).selectors() for text in filters]
    except _Wrong as error:
        shown = " ".join(filters)
        raise InvalidParameter(
            f"failed to parse {what} filters [{shown}]: filters: parse error: {error}: invalid argument"
        ) from None
    return lambda fields: not found or any(all(one(fields) for one in group) for group in found)


class _Wrong(Exception):
    """Where and what."""

    def __init__(self, text: str, at: int, why: str) -> None:
        where = f"[{text[:at]} >|{text[at]}|< {text[at + 1 :]}]" if at < len(text) else f"[{text}]"
        super().__init__(f"{where}: {why}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def selectors(self) -> list[Match]:
        found: list[Match] = []
        while self._text:
            found.append(self._selector())
            if self._at >= len(self._text):
                break
            if self._text[self._at] != ",":
                raise self._wrong(f"unexpected input: {self._text[self._at]}")
            self._at += 1
        return found

    def _wrong(self, why: str, at: int | None = None) -> _Wrong:
        return _Wrong(self._text, self._at if at is None else at, why)

    def _take(self, fits: Callable[[str], bool]) -> str:
        start = self._at
        while self._at < len(self._text) and fits(self._text[self._at]):
            self._at += 1
        return self._text[start : self._at]

    def _selector(self) -> Match:
        name = self._take(lambda sign: sign.isascii() and (sign.isalnum() or sign == "_"))
        if not name:
            raise self._wrong("expected field or quoted")
        if self._at >= len(self._text) or self._text[self._at] == ",":
            return lambda fields: fields.get(name) is not None
        start = self._at
        operator = self._take(lambda sign: sign in "=!~")
        if not operator:
            raise self._wrong('expected an operator ("=="|"!="|"~=")')
        if operator not in _OPERATORS:
            raise self._wrong(f"unsupported operator {quote(operator)}", start)
        return _selector(name, operator, self._value(matches=operator == "~="))

    def _value(self, *, matches: bool) -> str:
        start = self._at
        sign = self._text[start : start + 1]
        if sign and sign in _QUOTES:
            return self._quoted(sign, matches=matches)
        if not sign or sign in ",." or sign.isspace():
            raise self._wrong("expected value or quoted")
        return self._take(lambda one: one != "," and not one.isspace())

    def _quoted(self, mark: str, *, matches: bool) -> str:
        start, found = self._at, []
        self._at += 1
        while self._text[self._at : self._at + 1] != mark:
            if self._text[self._at : self._at + 1] in ("", "\n"):
                raise self._wrong("quoted literal not terminated", start)
            if self._text[self._at] == "\\":
                self._at += 1
            found.append(self._text[self._at : self._at + 1])
            self._at += 1
        self._at += 1
        if mark != '"' and not matches:
            raise self._wrong("invalid quote encountered", start)
        return "".join(found)


def _selector(name: str, operator: str, value: str) -> Match:
    if operator == "==":
        return lambda fields: fields.get(name) == value
    if operator == "!=":
        return lambda fields: (fields.get(name) or "") != value
    try:
        search = finder(value)
    except PatternError:
        return lambda fields: False
    return lambda fields: search(fields.get(name) or "")


def fields(shown: Mapping[str, Any], *, mutable: bool) -> Fields:
    """Those of a record as the API shows it."""
    flags = {
        "inuse": shown["InUse"], "mutable": mutable, "immutable": not mutable,
        "shared": shown["Shared"], "private": not shown["Shared"],
    }  # fmt: skip
    return {
        "id": shown["ID"], "type": shown["Type"], "description": shown["Description"] or None,
        "parents": ";".join(shown.get("Parents") or ()) or None,
        **{name: "" if is_so else None for name, is_so in flags.items()},
    }  # fmt: skip

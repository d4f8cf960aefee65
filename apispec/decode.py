"""Request bodies: JSON bytes in, a value in the API's spelling out, as lenient and as strict as Go.

Field names match whatever their case, unknown fields are dropped, null counts as absent (in a list or map:
as the type's empty value), fields younger than the client's version are dropped. Wrong types are refused
with the text of Go's decoder. Defaults are not filled in: an absent field stays absent.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from apispec import gojson
from apispec.model import (
    Anything,
    BadRequest,
    Binary,
    ListOf,
    MapOf,
    Operation,
    Scalar,
    Struct,
    Type,
    Words,
    resolve,
)
from apispec.versions import MAX, Version

Decoder = Callable[[Any], Any]

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA = re.compile(rf"\s*({_WORD})(?:(/)({_WORD})?)?\s*(.*)", re.DOTALL)
_MEDIA_PARAMETERS = re.compile(rf"(?:;\s*(?:{_WORD}=(?:{_WORD}|\"(?:[^\"\\]|\\.)*\")\s*)?)*")


class Mismatch(Exception):
    """A value of another type than wanted. ``path`` grows from the inside out."""

    def __init__(self, value: str, go: str) -> None:
        super().__init__(value)
        self.value = value
        self.go = go
        self.path: list[str] = []


def decode_body(
    operation: Operation,
    raw: bytes,
    content_type: str,
    version: Version = MAX,
    *,
    length_known: bool = True,
) -> Any:
    """The JSON body of a request to ``operation``; an absent body is {} (or [] where a list is wanted).

    length_known: the request had a Content-Length, or no body at all (not chunked).
    Raises BadRequest. None for operations that take no JSON.
    """
    body = operation.body
    if body is None or isinstance(body, Binary):
        return None
    absent = not raw and length_known
    if content_type or not absent:
        check_content_type(content_type)
    if not raw:
        if operation.body_required:
            raise BadRequest("invalid JSON: EOF")
        if absent:
            return _empty(resolve(body))
        raise BadRequest("invalid JSON: got EOF while reading request body")
    return decode_json(body, raw, version, root="" if operation.body_required else None)


def decode_json(type: Type, raw: bytes, version: Version = MAX, *, root: str | None = None) -> Any:
    """``raw`` decoded as ``type``. ``root`` is the outer struct's name in error texts, if not its own."""
    type = resolve(type)
    try:
        value = gojson.loads(raw)
    except gojson.JSONError as error:
        raise BadRequest(error.message if error.trailing else f"invalid JSON: {error.message}") from None
    try:
        decoded = _empty(type) if value is None else decoder(type, version.key)(value)
    except Mismatch as found:
        if found.value == "number ":
            found = _again(type, raw, version, found)
        raise BadRequest("invalid JSON: " + _text(type, found, root)) from None
    if isinstance(type, Struct) and type.check:
        type.check(decoded)
    return decoded


def _again(type: Type, raw: bytes, version: Version, first: Mismatch) -> Mismatch:
    """Go tells the number as it was written: decode once more with the text at hand."""
    try:
        decoder(type, version.key)(gojson.loads_slowly(raw))
    except Mismatch as found:
        return found
    return first


def _text(type: Type, found: Mismatch, root: str | None) -> str:
    where = "Go value"
    if found.path:
        outer = type.go.rpartition(".")[2] if isinstance(type, Struct) else ""
        where = f"Go struct field {outer if root is None else root}.{'.'.join(reversed(found.path))}"
    return f"json: cannot unmarshal {found.value} into {where} of type {found.go}"


def check_content_type(header: str, wanted: str = "application/json") -> None:
    """Refuses a Content-Type that is not ``wanted``: BadRequest with the texts of Go's mime package."""
    found = _MEDIA.fullmatch(header)
    if not found:
        problem = "no media type"
    elif found[2] and not found[3]:
        problem = "expected token after slash"
    elif found[4] and found[4][0] != ";":
        problem = "unexpected content after media subtype" if found[2] else "expected slash after first token"
    elif not _MEDIA_PARAMETERS.fullmatch(found[4]):
        problem = "invalid media parameter"
    elif f"{found[1]}{found[2] or ''}{found[3] or ''}".lower() != wanted:
        raise BadRequest(f"unsupported Content-Type header ({header}): must be '{wanted}'")
    else:
        return
    raise BadRequest(f"malformed Content-Type header ({header}): mime: {problem}")


@lru_cache(maxsize=4096)
def decoder(type: Type, version: tuple[int, ...]) -> Decoder:
    """The function that decodes a parsed, non-null value as ``type`` for a client of ``version``.

    It raises Mismatch.
    """
    if isinstance(type, Struct):
        return _struct(type, Version(".".join(map(str, version))))
    if isinstance(type, ListOf):
        return _list(type, decoder(resolve(type.item), version))
    if isinstance(type, MapOf):
        return _map(type, decoder(resolve(type.value), version))
    if isinstance(type, Words):
        return _words
    if isinstance(type, Scalar):
        return _scalar(type)
    assert isinstance(type, Anything)
    return lambda value: value


def _struct(type: Struct, version: Version) -> Decoder:
    known = {
        name: (name, resolve(field.type))
        for name, field in type.fields.items()
        if (not field.since or version >= field.since) and (not field.until or version <= field.until)
    }
    exact: dict[str, tuple[str, Decoder]] = {}
    folded: dict[str, tuple[str, Decoder]] = {}

    def build() -> None:  # at first use: a type may contain itself
        for name, (_, inner) in known.items():
            exact[name] = (name, decoder(inner, version.key))
            folded.setdefault(name.lower(), exact[name])

    def decode(value: Any) -> dict[str, Any]:
        if value.__class__ is not dict:
            raise Mismatch(_kind(value), type.go)
        if not exact and known:
            build()
        decoded: dict[str, Any] = {}
        for key, item in value.items():
            entry = exact.get(key) or folded.get(key.lower())
            if entry is None or item is None:
                continue
            name, inner = entry
            try:
                decoded[name] = inner(item)
            except Mismatch as found:
                found.path.append(name)
                raise
        return decoded

    return decode


def _list(type: ListOf, inner: Decoder) -> Decoder:
    item_type = resolve(type.item)

    def decode(value: Any) -> list[Any]:
        if value.__class__ is not list:
            raise Mismatch(_kind(value), type.go)
        decoded = []
        for index, item in enumerate(value):
            try:
                decoded.append(_empty(item_type) if item is None else inner(item))
            except Mismatch as found:
                found.path.append(str(index))
                raise
        return decoded

    return decode


def _map(type: MapOf, inner: Decoder) -> Decoder:
    value_type = resolve(type.value)

    def decode(value: Any) -> dict[str, Any]:
        if value.__class__ is not dict:
            raise Mismatch(_kind(value), type.go)
        decoded = {}
        for key, item in value.items():
            try:
                decoded[key] = _empty(value_type) if item is None else inner(item)
            except Mismatch as found:
                found.path.append(key)
                raise
        return decoded

    return decode


def _words(value: Any) -> list[str]:
    if value.__class__ is list and all(item is None or item.__class__ is str for item in value):
        return [item or "" for item in value]
    if value.__class__ is str:
        return [value]
    raise Mismatch(_kind(value), "string")


def _scalar(type: Scalar) -> Decoder:
    go = type.go
    if type.kind == "string":
        return _exactly(str, go)
    if type.kind == "boolean":
        return _exactly(bool, go)
    if type.kind == "number":

        def number(value: Any) -> Any:
            if value.__class__ is int or isinstance(value, float):
                return value
            raise Mismatch(_kind(value), go)

        return number
    low, high = (
        (-(1 << (-type.bits - 1)), (1 << (-type.bits - 1)) - 1)
        if type.bits < 0
        else (0, (1 << type.bits) - 1)
    )

    def integer(value: Any) -> int:
        if value.__class__ is int:
            if low <= value <= high:
                return int(value)
            raise Mismatch(f"number {value}", go)
        if isinstance(value, float):
            raise Mismatch(f"number {getattr(value, 'text', '')}", go)
        raise Mismatch(_kind(value), go)

    return integer


def _exactly(python: type, go: str) -> Decoder:
    def decode(value: Any) -> Any:
        if value.__class__ is python:
            return value
        raise Mismatch(_kind(value), go)

    return decode


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object"}[value.__class__]


def _empty(type: Type) -> Any:
    """What Go leaves where null was, in a list or map, or as the whole body."""
    if isinstance(type, Struct | MapOf):
        return {}
    if isinstance(type, ListOf | Words):
        return []
    if isinstance(type, Scalar):
        return {"string": "", "boolean": False, "integer": 0, "number": 0.0}[type.kind]
    return None

"""What the API's description is made of: types, fields, parameters, operations.

A type has a name for the OpenAPI document and the name that Go's JSON decoder would use in its error texts.
Version ranges are inclusive at both ends and are what an engine *does*: a field with ``since`` is left out of
answers to (and ignored in requests from) older clients, one with ``until`` is known only to older clients.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


class BadRequest(ValueError):
    """The request can't be understood: status 400, ``message`` goes to the client as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Type:
    """Base of all types. ``go`` is the Go type's name, for error texts."""

    __slots__ = ("go",)

    def __init__(self, go: str) -> None:
        self.go = go


class Scalar(Type):
    """A string, bool, integer or number; ``bits`` bounds integers (negative: signed)."""

    __slots__ = ("bits", "choices", "kind")

    def __init__(self, kind: str, go: str, bits: int = 0, choices: tuple[str, ...] = ()) -> None:
        super().__init__(go)
        self.kind = kind
        self.bits = bits
        self.choices = choices


String = Scalar("string", "string")
Bool = Scalar("boolean", "bool")
Int = Scalar("integer", "int", -64)
Int64 = Scalar("integer", "int64", -64)
Uint16 = Scalar("integer", "uint16", 16)
Uint32 = Scalar("integer", "uint32", 32)
Uint64 = Scalar("integer", "uint64", 64)
Float = Scalar("number", "float64")
ParseBool = Scalar("boolean", "strconv.ParseBool")
"""A bool that must be one (most parameters take any text but a few for true)."""


def Enum(*choices: str, go: str = "string") -> Scalar:
    """A string with known values. The OpenAPI document tells them; the engine refuses others."""
    return Scalar("string", go, choices=choices)


class Anything(Type):
    """Any JSON value, passed through as it is."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("interface {}")


class Words(Type):
    """A list of strings that may also be given as one string (``Cmd``, ``Entrypoint``)."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("[]string")


class ListOf(Type):
    """A JSON array."""

    __slots__ = ("item",)

    def __init__(self, item: Type) -> None:
        super().__init__("[]" + item.go)
        self.item = item


class MapOf(Type):
    """A JSON object with free keys."""

    __slots__ = ("value",)

    def __init__(self, value: Type) -> None:
        super().__init__("map[string]" + value.go)
        self.value = value


class Binary(Type):
    """A body that is bytes of the given media type, streamed."""

    __slots__ = ("media",)

    def __init__(self, *media: str) -> None:
        super().__init__("[]byte")
        self.media = media or ("application/octet-stream",)


class Stream(Type):
    """An answer of many JSON values, one after another; ``item`` is the type of each."""

    __slots__ = ("item",)

    def __init__(self, item: Type) -> None:
        super().__init__(item.go)
        self.item = item


class Ref(Type):
    """A type by name, ``module.Name`` below ``apispec.types``; loaded when first needed."""

    __slots__ = ("_type", "name")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
        self._type: Type | None = None

    def resolve(self) -> Type:
        if self._type is None:
            module, _, attribute = self.name.partition(".")
            found = getattr(importlib.import_module(f"apispec.types.{module}"), attribute)
            assert isinstance(found, Type)
            self._type = found
        return self._type


class Field:
    """A field of a struct.

    since, until: the first and last version that knows it ("" is: all).
    older: when an answer for a version up to ``until`` lacks the field, it is added with this value; a
        function gets the enclosing object (in its newest shape) and may return MISSING.
    nullable: may be null in an answer.
    """

    __slots__ = ("nullable", "older", "since", "type", "until")

    def __init__(
        self, type: Type, *, since: str = "", until: str = "", older: Any = ..., nullable: bool = False
    ) -> None:
        self.type = type
        self.since = since
        self.until = until
        self.older = older
        self.nullable = nullable


MISSING: Any = ...
Legacy = Callable[[dict[str, Any]], None]


class Struct(Type):
    """A JSON object with known fields, given by keyword; ``bases`` contribute theirs first.

    legacy: (last version, function) pairs: the function changes an answer, already a copy, for older clients
        in ways that come-and-go of fields can't express.
    check: called with a decoded request; raises BadRequest.
    more: fields whose names are no Python names.
    """

    __slots__ = ("check", "fields", "legacy")

    def __init__(
        self,
        go: str,
        *bases: Struct,
        legacy: tuple[tuple[str, Legacy], ...] = (),
        check: Callable[[dict[str, Any]], None] | None = None,
        more: dict[str, Type | Field] | None = None,
        **fields: Type | Field,
    ) -> None:
        super().__init__(go)
        self.fields: dict[str, Field] = {}
        for base in bases:
            self.fields.update(base.fields)
        for name, spec in {**fields, **(more or {})}.items():
            self.fields[name] = spec if isinstance(spec, Field) else Field(spec)
        self.legacy = legacy
        self.check = check


def resolve(type: Type) -> Type:
    """The type itself, with a reference followed."""
    return type.resolve() if isinstance(type, Ref) else type


class Filters(Type):
    """The ``filters`` parameter: a JSON map of names to values. ``names`` are accepted; none: all."""

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        super().__init__("filters.Args")
        self.names = frozenset(names)


class Param:
    """A parameter in the query or a header. Those in the path are in ``Operation.path``, always strings.

    default: the value when it is absent: None means "the type's own": "" for strings, False for bools,
        None for integers, [] for lists, {} for filters.
    before: the value for clients that do not know it yet (or no more), if another than ``default``.
    invalid: the error text when the value can't be read, with ``{value}`` (Go-quoted), ``{raw}`` and
        ``{why}`` (Go's reason); empty is strconv's own text. ``lenient`` takes a bad integer for 0 instead.
    """

    __slots__ = ("before", "default", "invalid", "lenient", "name", "since", "type", "until", "where")

    def __init__(
        self,
        name: str,
        type: Type,
        *,
        where: str = "query",
        default: Any = None,
        since: str = "",
        until: str = "",
        before: Any = None,
        invalid: str = "",
        lenient: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.where = where
        self.default = default
        self.since = since
        self.until = until
        self.before = default if before is None else before
        self.invalid = invalid
        self.lenient = lenient


class Operation:
    """One operation of the API.

    body: what is read from the request: a JSON type, Binary, or None; with ``body_required`` an empty JSON
        body is an error (else it counts as an absent value).
    answers: status → type of the answer (None: no body); errors: the statuses that carry an error message.
    since: clients of an older version are refused; known: the version that brought it, when that is not
        enforced.
    swarm: needs a swarm manager.
    """

    __slots__ = (
        "answers",
        "body",
        "body_required",
        "errors",
        "id",
        "known",
        "method",
        "params",
        "path",
        "since",
        "summary",
        "swarm",
        "tag",
        "until",
    )

    def __init__(
        self,
        id: str,
        method: str,
        path: str,
        tag: str,
        summary: str,
        *,
        params: tuple[Param, ...] = (),
        body: Type | None = None,
        body_required: bool = False,
        answers: dict[int, Type | None] | None = None,
        errors: tuple[int, ...] = (500,),
        since: str = "",
        until: str = "",
        known: str = "",
        swarm: bool = False,
    ) -> None:
        self.id = id
        self.method = method
        self.path = path
        self.tag = tag
        self.summary = summary
        self.params = params
        self.body = body
        self.body_required = body_required
        self.answers = answers or {}
        self.errors = errors
        self.since = since
        self.until = until
        self.known = known or since
        self.swarm = swarm

    @property
    def answer(self) -> Type | None:
        """The type of the successful answer, if it has a body."""
        return next((type for status, type in self.answers.items() if status < 300 and type), None)

    def __repr__(self) -> str:
        return f"Operation({self.id})"

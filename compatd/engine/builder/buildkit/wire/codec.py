"""Protocol buffers, version 3: messages are classes made of rows, `Row`, by `make`.

An absent field has its default as a class attribute, so a message holds only what was set. Unknown fields are
skipped. Strings are UTF-8 with surrogate escapes: paths in fsutil's Stat are bytes in truth. Encoded is as Go
does it: fields by number, repeated numbers packed, maps by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from runtime import varint

MAX_DEPTH = 64  # messages within messages
MAX_ITEMS = 1 << 16  # elements of lists and maps, and messages, in all of one message

_EMPTY: Mapping[Any, Any] = MappingProxyType({})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NUMBERS = frozenset(("bool", "enum", "int32", "int64", "uint32", "uint64"))
_DEFAULTS: dict[str, Any] = dict.fromkeys(_NUMBERS, 0) | {"bool": False, "string": "", "bytes": b""}


class DecodeError(ValueError):
    """Bytes that are no such message, or beyond the limits."""


class Row(NamedTuple):
    """A field: number, name, kind (a scalar's name, or `message` with its class in `of`).

    repeated; key: the kind of a map's keys ("" for no map); oneof: the name of its group.
    """

    number: int
    name: str
    kind: str
    of: Callable[[], type[Message]] | None = None
    repeated: bool = False
    key: str = ""
    oneof: str = ""


class Message:
    """A message; fields are attributes, given by keyword. Lists and maps that are unset are empty and fixed.

    Unset members of a oneof, and unset messages, are None.
    """

    NAME: ClassVar[str]
    ROWS: ClassVar[tuple[Row, ...]]
    _by_tag: ClassVar[dict[int, Row]]
    _groups: ClassVar[dict[str, tuple[str, ...]]]
    _heads: ClassVar[dict[str, bytes]]

    def __init__(self, **values: Any) -> None:
        """Raises TypeError for a name that is no field."""
        for name in values:
            if name not in self._heads:
                raise TypeError(f"{self.NAME} has no field {name}")
        self.__dict__.update(values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    @classmethod
    def decode(cls: type[_M], data: bytes) -> _M:
        """Raises DecodeError."""
        message = cls.__new__(cls)
        try:
            _decode(message, data, 0, len(data), MAX_DEPTH, [MAX_ITEMS])
        except IndexError:
            raise DecodeError("unexpected EOF") from None
        return message

    def encode(self) -> bytes:
        """The bytes."""
        parts: list[bytes] = []
        _encode(self, parts)
        return b"".join(parts)

    def which(self, group: str) -> str | None:
        """The name of the member of a oneof that is set."""
        return next((name for name in self._groups[group] if self.__dict__.get(name) is not None), None)

    def document(self) -> dict[str, Any]:
        """What is set, as dicts, lists and scalars; bytes stay bytes."""
        return {row.name: _plain(self.__dict__[row.name]) for row in self.ROWS if row.name in self.__dict__}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Message) and self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]  # they change

    def __repr__(self) -> str:
        return f"{self.NAME}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


_M = TypeVar("_M", bound=Message)


def make(name: str, rows: Iterable[Row]) -> type[Message]:
    """A message's class."""
    rows = tuple(sorted(rows))
    groups: dict[str, tuple[str, ...]] = {}
    body: dict[str, Any] = {"NAME": name, "ROWS": rows}
    by_tag: dict[int, Row] = {}
    heads: dict[str, bytes] = {}
    for row in rows:
        if row.oneof:
            groups[row.oneof] = (*groups.get(row.oneof, ()), row.name)
            body[row.name] = None
        elif row.key:
            body[row.name] = _EMPTY
        else:
            body[row.name] = () if row.repeated else _DEFAULTS.get(row.kind)
        number = row.kind in _NUMBERS and not row.key
        packed = number and row.repeated
        by_tag[row.number << 3 | (_VARINT if number else _BYTES)] = row
        if packed:
            by_tag[row.number << 3 | _BYTES] = row
        heads[row.name] = varint.encode(row.number << 3 | (_VARINT if number and not packed else _BYTES))
    body |= {"_by_tag": by_tag, "_groups": groups, "_heads": heads}
    return type(name.rpartition(".")[2], (Message,), body)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number and where the rest begins. Raises DecodeError, IndexError at the end of data."""
    try:
        return varint.decode(data, at)
    except ValueError:
        raise DecodeError("variable length integer overflow") from None


# decoding


def _number(kind: str, value: int) -> Any:
    if kind == "int64":
        return value - (1 << 64) if value >> 63 else value
    if kind == "bool":
        return value != 0
    if kind == "uint64":
        return value
    value &= 0xFFFFFFFF
    return value - (1 << 32) if kind != "uint32" and value >> 31 else value


def _decode(message: Message, data: bytes, at: int, end: int, depth: int, items: list[int]) -> None:
    if not depth:
        raise DecodeError("exceeded maximum recursion depth")
    by_tag, values = message._by_tag, message.__dict__
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = read_varint(data, at - 1)
        row = by_tag.get(tag)
        if row is None:
            at = _skip(data, at, end, tag, depth)
            continue
        value = data[at]  # a length, or a number
        at += 1
        if value >= 0x80:
            value, at = read_varint(data, at - 1)
        if tag & 7:
            stop = at + value
            if stop > end:
                raise DecodeError("unexpected EOF")
            _decode_bytes(row, values, data, at, stop, depth, items)
            at = stop
        elif row.repeated:
            _append(values, row.name, _number(row.kind, value), items)
        else:
            values[row.name] = _number(row.kind, value)
        if row.oneof:
            for other in message._groups[row.oneof]:
                if other != row.name:
                    values.pop(other, None)
    if at > end:
        raise DecodeError("unexpected EOF")


def _decode_bytes(
    row: Row, values: dict[str, Any], data: bytes, at: int, stop: int, depth: int, items: list[int]
) -> None:
    kind, name = row.kind, row.name
    if row.key:
        entry = _entry(row)()
        _decode(entry, data, at, stop, depth - 1, items)
        _spend(items)
        value = entry.value
        values.setdefault(name, {})[entry.key] = row.of() if row.of and value is None else value
    elif kind == "message":
        assert row.of is not None
        inner = None if row.repeated else values.get(name)
        if inner is None:
            inner = row.of().__new__(row.of())
        _spend(items)
        _decode(inner, data, at, stop, depth - 1, items)
        if row.repeated:
            values.setdefault(name, []).append(inner)
        else:
            values[name] = inner
    elif kind in _NUMBERS:  # packed
        while at < stop:
            number, at = read_varint(data, at)
            _append(values, name, _number(kind, number), items)
        if at > stop:
            raise DecodeError("unexpected EOF")
    else:
        value = data[at:stop]
        if kind == "string":
            value = str(value, "utf-8", "surrogateescape")
        if row.repeated:
            _append(values, name, value, items)
        else:
            values[name] = value


def _spend(items: list[int]) -> None:
    items[0] -= 1
    if items[0] < 0:
        raise DecodeError(f"more than {MAX_ITEMS} elements")


def _append(values: dict[str, Any], name: str, value: Any, items: list[int]) -> None:
    _spend(items)
    values.setdefault(name, []).append(value)


def _skip(data: bytes, at: int, end: int, tag: int, depth: int) -> int:
    wire = tag & 7
    if not tag >> 3:
        raise DecodeError("invalid field number")
    if wire == _VARINT:
        _, at = read_varint(data, at)
    elif wire == _BYTES:
        size, at = read_varint(data, at)
        at += size
    elif wire in (_FIXED64, _FIXED32):
        at += 8 if wire == _FIXED64 else 4
    elif wire == 3:  # a group, which ends with the same number
        while True:
            inner, at = read_varint(data, at)
            if inner == tag + 1:
                break
            if depth <= 1:
                raise DecodeError("exceeded maximum recursion depth")
            at = _skip(data, at, end, inner, depth - 1)
    else:
        raise DecodeError("mismatching end group marker" if wire == 4 else "cannot parse reserved wire type")
    if at > end:
        raise DecodeError("unexpected EOF")
    return at


_ENTRIES: dict[Row, type[Message]] = {}


def _entry(row: Row) -> type[Message]:
    """The message that one element of a map is on the wire."""
    made = _ENTRIES.get(row)
    if made is None:
        rows = (Row(1, "key", row.key), Row(2, "value", row.kind, row.of))
        made = _ENTRIES[row] = make(f"{row.name}.Entry", rows)
    return made


# encoding


def _encode(message: Message, parts: list[bytes]) -> None:
    values, heads = message.__dict__, message._heads
    for row in message.ROWS:
        value = values.get(row.name)
        if value is None or (not value and not row.oneof and row.kind != "message"):
            continue
        head = heads[row.name]
        if row.key:
            heads_of_entry = _entry(row)._heads
            for key in sorted(value):
                entry: list[bytes] = []  # Go writes both, also when they are the defaults
                _put_one(entry, heads_of_entry["key"], row.key, key)
                _put_one(entry, heads_of_entry["value"], row.kind, value[key])
                _put(parts, head, b"".join(entry))
        elif row.repeated and row.kind in _NUMBERS:
            _put(parts, head, b"".join(varint.encode(int(number) & 0xFFFFFFFFFFFFFFFF) for number in value))
        else:
            for item in value if row.repeated else (value,):
                _put_one(parts, head, row.kind, item)


def _put_one(parts: list[bytes], head: bytes, kind: str, value: Any) -> None:
    if kind in _NUMBERS:
        parts += (head, varint.encode(int(value) & 0xFFFFFFFFFFFFFFFF))
    else:
        _put(parts, head, _chunk(kind, value))


def _chunk(kind: str, value: Any) -> bytes:
    if kind == "string":
        return str(value).encode("utf-8", "surrogateescape")
    if kind == "message":
        return value.encode()  # type: ignore[no-any-return]
    return value  # type: ignore[no-any-return]


def _put(parts: list[bytes], head: bytes, chunk: bytes) -> None:
    parts += (head, varint.encode(len(chunk)), chunk)


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return value.document()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [_plain(inner) for inner in value]
    return value

"""Answers for older clients: fields that they do not know are dropped, those they miss are put back.

A handler answers in the newest shape. ``gate`` makes of that what an engine tells a client of ``version``;
the plan for a (type, version) pair is made once, and for most pairs it is "leave it as it is".
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from apispec.model import MISSING, Field, ListOf, MapOf, Operation, Stream, Struct, Type, resolve
from apispec.versions import MAX, Version

Gate = Callable[[Any], Any]


def gate(of: Operation | Type | None, value: Any, version: Version = MAX) -> Any:
    """``value``, an answer of a type (an operation's: its successful answer), in the shape for ``version``.

    Never changes ``value``: where nothing differs the same object is returned, else a copy. Of a Stream
    ``value`` is one item.
    """
    change = gate_of(of.answer if isinstance(of, Operation) else of, version)
    return value if change is None or value is None else change(value)


def gate_of(type: Type | None, version: Version = MAX) -> Gate | None:
    """The function that ``gate`` applies, or None when answers of ``type`` are the same for ``version``."""
    return None if type is None else _plan(type, version.key, version)


@lru_cache(maxsize=4096)
def _plan(type: Type, key: tuple[int, ...], version: Version) -> Gate | None:
    type = resolve(type)
    if isinstance(type, Struct):
        return _struct(type, version)
    if isinstance(type, Stream):
        return _plan(type.item, key, version)
    if isinstance(type, ListOf):
        return _each(_plan(type.item, key, version))
    if isinstance(type, MapOf):
        return _each(_plan(type.value, key, version))
    return None


def _each(inner: Gate | None) -> Gate | None:
    if inner is None:
        return None

    def change(values: Any) -> Any:
        if isinstance(values, dict):
            new = {name: item and inner(item) for name, item in values.items()}
            return new if any(new[name] is not values[name] for name in new) else values
        items = [item and inner(item) for item in values]
        same = all(item is old for item, old in zip(items, values, strict=True))
        return values if same else items

    return change


def _struct(type: Struct, version: Version) -> Gate | None:
    drop: list[str] = []
    put: list[tuple[str, Any]] = []
    inner: list[tuple[str, Gate]] = []
    for name, field in type.fields.items():
        if not _knows(field, version):
            drop.append(name)
            continue
        if field.until and field.older is not MISSING:
            put.append((name, field.older))
        change = _plan(field.type, version.key, version)
        if change:
            inner.append((name, change))
    legacy = [function for until, function in type.legacy if version <= until]
    if not (drop or put or inner or legacy):
        return None

    def change_struct(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed: dict[str, Any] = value
        if legacy or any(name in value for name in drop):
            changed = value.copy()
            for name in drop:
                changed.pop(name, None)
            for function in legacy:
                function(changed)
        for name, older in put:
            if name not in changed:
                item = older(value) if callable(older) else older
                if item is not MISSING:
                    changed = value.copy() if changed is value else changed
                    changed[name] = item
        for name, change in inner:
            item = changed.get(name)
            if item is not None and (new := change(item)) is not item:
                changed = value.copy() if changed is value else changed
                changed[name] = new
        return changed

    return change_struct


def _knows(field: Field, version: Version) -> bool:
    return not (field.since and version < field.since) and not (field.until and version > field.until)

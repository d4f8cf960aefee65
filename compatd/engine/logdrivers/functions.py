"""Functions of Docker's templates, and how Go's templates print values."""

import json
from collections.abc import Callable
from typing import Any


def text_of(value: Any) -> str:
    """A value as Go's %v prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(map(text_of, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text_of(value[key])}" for key in sorted(value)) + "]"
    return str(value)


def truth(value: Any) -> bool:
    """Whether `if` takes it for true: not zero, not empty."""
    return bool(value)


def _title(text: str) -> str:
    return "".join(
        character.upper() if not index or text[index - 1].isspace() else character
        for index, character in enumerate(text)
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=isinstance(value, dict))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, dict) else value[key]
    return value


def _printf(pattern: str, *values: Any) -> str:
    pieces = pattern.replace("%v", "%s").replace("%d", "%s").split("%q")
    quoted = '"%s"'.join(pieces)
    return quoted % tuple(text_of(value) for value in values)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": lambda parts, separator: separator.join(parts),
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "index": _index,
    "len": len,
    "print": lambda *values: "".join(map(text_of, values)),
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": _printf,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda first, other: first != other,
    "not": lambda value: not truth(value),
    "and": lambda *values: next((value for value in values if not truth(value)), values[-1]),
    "or": lambda *values: next((value for value in values if truth(value)), values[-1]),
}

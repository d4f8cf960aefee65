"""JSON values as Go's decoder takes them, and what it says of others."""

from collections.abc import Callable
from typing import Any

from compatd.config.gostructs import path_to


class Mismatch(ValueError):
    """JSON of another type than wanted: `found` and `go` (the wanted one) in Go's words.

    `owner` is the struct that the wrong field is in, when that is below the key's value, `path` leads to it.
    """

    def __init__(self, found: str, go: str, owner: str = "Config", path: tuple[str, ...] = ()) -> None:
        super().__init__(found)
        self.found, self.go, self.owner, self.path = found, go, owner, path

    def text(self, key: str) -> str:
        """The sentence of Go's decoder about the daemon.json key."""
        name = ".".join((f"{self.owner}.{path_to(key)}{key}", *self.path))
        return f"json: cannot unmarshal {self.found} into Go struct field {name} of type {self.go}"


def kind_of(value: Any) -> str:
    """What Go calls a JSON value in an error."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {"str": "string", "list": "array", "dict": "object"}.get(type(value).__name__, "null")


def string(value: Any) -> str:
    """A string. Raises Mismatch, as all of these."""
    return str(exactly(value, str, "string"))


def exactly(value: Any, python: type, go: str) -> Any:
    """A value of just the Python type; `go` is its name in Go."""
    if type(value) is not python:
        raise Mismatch(kind_of(value), go)
    return value


def whole(value: Any, go: str = "int") -> int:
    """An integer."""
    if isinstance(value, float):
        raise Mismatch(f"number {getattr(value, 'text', value)}", go)
    if not -(1 << 63) <= int(exactly(value, int, go)) < 1 << 63:
        raise Mismatch(f"number {value}", go)
    return int(value)


def whole64(value: Any) -> int:
    """One of Go's int64."""
    return whole(value, "int64")


def listed(item: Callable[[str], str] = lambda text: text) -> Callable[[Any], list[str]]:
    """A list of strings, each given to `item`."""

    def check(value: Any) -> list[str]:
        return [item("" if text is None else string(text)) for text in exactly(value, list, "[]string")]

    return check


def map_of(item: Callable[[Any], Any], go: str) -> Callable[[Any], dict[str, Any]]:
    """An object whose values are given to `item`."""

    def check(value: Any) -> dict[str, Any]:
        return {key: item(inner) for key, inner in exactly(value, dict, go).items()}

    return check


def truth(value: Any) -> bool:
    """A boolean."""
    return bool(exactly(value, bool, "bool"))


def struct(name: str, **fields: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Go's struct: names in any case, unknown ones ignored."""
    spelled = {field.lower(): field for field in fields}

    def check(value: Any) -> dict[str, Any]:
        found = {}
        for key, inner in exactly(value, dict, name).items():
            field = spelled.get(key.lower())
            if field is None or inner is None:
                continue
            try:
                found[field] = fields[field](inner)
            except Mismatch as error:
                owner = error.owner if error.path else name.rpartition(".")[2]
                raise Mismatch(error.found, error.go, owner, (field, *error.path)) from None
        return found

    return check

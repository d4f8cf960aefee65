"""From method and path to an operation.

The engine's own router matches decoded paths, answers 404 for a wrong method and for HEAD (unless an
operation says so), and names of images and the like contain slashes: hence a table of prefixes and suffixes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from apispec.model import Operation

_VERSION = re.compile(r"/v([0-9.]+)(/.*)\Z", re.DOTALL)

_WITHOUT_SLASHES = ("/swarm", "/services", "/nodes", "/tasks", "/secrets", "/configs")
"""What starts so has IDs without slashes; every other name may hold some."""

_ALIASES = {("GET", "/networks/"): ("GET", "/networks")}


def clean(path: str) -> str:
    """``path`` without empty, ``.`` and ``..`` parts; a slash at its end stays. Clients get redirected."""
    if path[:1] != "/":
        path = "/" + path
    if "//" not in path and "/." not in path:
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    cleaned = "/" + "/".join(parts)
    return cleaned + "/" if path[-1] == "/" and parts else cleaned


def location(path: str, query: str) -> str:
    """A decoded path and a raw query as the value of a Location header."""
    url = quote(path, safe="/$&+,:;=@~", errors="surrogateescape")
    return f"{url}?{query}" if query else url


def split_version(path: str) -> tuple[str | None, str]:
    """The version in a path's prefix ``/v1.41`` (None: there is none), and the rest."""
    found = _VERSION.match(path) if path[:2] == "/v" else None
    return (found[1], found[2]) if found else (None, path)


class _Wild:
    __slots__ = ("name", "operation", "prefix", "shortest", "slashes", "suffix")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.prefix, rest = operation.path.split("{", 1)
        self.name, self.suffix = rest.split("}", 1)
        self.shortest = len(self.prefix) + len(self.suffix)
        self.slashes = not operation.path.startswith(_WITHOUT_SLASHES)


class Router:
    """A table of operations by method and path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._exact: dict[tuple[str, str], Operation] = {}
        self._wild: dict[tuple[str, str], list[_Wild]] = {}
        for operation in operations:
            key = (operation.method, operation.path)
            if "{" in operation.path:
                noun = operation.path.split("/", 2)[1]
                self._wild.setdefault((operation.method, noun), []).append(_Wild(operation))
            else:
                self._exact[key] = operation
        for alias, key in _ALIASES.items():
            if key in self._exact:
                self._exact[alias] = self._exact[key]
        for routes in self._wild.values():
            routes.sort(key=lambda route: -len(route.suffix))

    def match(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation for an unversioned path and what its path's names stand for, or None."""
        operation = self._exact.get((method, path))
        if operation is not None:
            return operation, {}
        for route in self._wild.get((method, path.split("/", 2)[1]), ()):
            if len(path) >= route.shortest and path.startswith(route.prefix) and path.endswith(route.suffix):
                value = path[len(route.prefix) : len(path) - len(route.suffix)]
                if route.slashes or ("/" not in value and value):
                    return route.operation, {route.name: value}
        return None

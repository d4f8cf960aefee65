"""Command lines in the way of Go's flag packages: `--name value`, `--name=value`, `-n value`, options
first."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class UsageError(Exception):
    pass


class Options:
    """What was given: `value("root")`, `flag("force")`, `values("env")`; `rest` are the arguments."""

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.rest: list[str] = []

    def value(self, name: str, default: str = "") -> str:
        return self.given[name][-1] if name in self.given else default

    def values(self, name: str) -> list[str]:
        return self.given.get(name, [])

    def flag(self, name: str) -> bool:
        return self.value(name, "false") not in ("false", "0", "f")


def parse(arguments: Sequence[str], known: Mapping[str, bool], short: Mapping[str, str]) -> Options:
    """known: option → whether it takes a value; short: letter → option. Raises UsageError."""
    result = Options()
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            position += 1
            break
        if len(argument) < 2 or argument[0] != "-":
            break
        name, equals, value = argument.lstrip("-").partition("=")
        name = short.get(name, name)
        if name not in known:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals:
            if known[name]:
                position += 1
                if position >= len(arguments):
                    raise UsageError(f"flag needs an argument: -{name}")
                value = arguments[position]
            else:
                value = "true"
        result.given.setdefault(name, []).append(value)
        position += 1
    result.rest = list(arguments[position:])
    return result

"""Shell patterns of `${name#pattern}` and `${name/pattern/text}`: `*`, `?`, escapes; `*` stays in its line.

No regular expressions: patterns come from whoever builds, and must not take more than linear time. The states
of the pattern are the bits of a number, and one step does all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from compatd.engine.builder.dockerfile.errors import DockerfileError


@dataclass(slots=True)
class _Machine:
    """Bit i is set while the first i items of the pattern are matched."""

    literal: dict[str, int] = field(default_factory=dict)
    anything: int = 0  # items that are `?`
    star: int = 0
    length: int = 0

    def close(self, states: int) -> int:
        return states | (states & self.star) << 1  # a star may stand for nothing; two never follow each other

    def step(self, states: int, char: str) -> int:
        if char == "\n":
            return self.close((states & self.literal.get(char, 0)) << 1)
        single = self.literal.get(char, 0) | self.anything
        return self.close((states & single) << 1 | states & self.star)

    def accepts(self, states: int) -> bool:
        return bool(states >> self.length & 1)


def _machine(items: list[tuple[str, str]]) -> _Machine:
    found = _Machine()
    for kind, char in items:
        bit = 1 << found.length
        if kind == "*":
            if found.star & bit >> 1:
                continue
            found.star |= bit
        elif kind == "?":
            found.anything |= bit
        else:
            found.literal[char] = found.literal.get(char, 0) | bit
        found.length += 1
    return found


def _items(pattern: str) -> list[tuple[str, str]]:
    items = []
    rest = iter(enumerate(pattern))
    for position, char in rest:
        if char == "\\":
            following = pattern[position + 1 : position + 2]
            if following in ("}", "/"):
                continue  # escaped only because of the ${} around
            if following not in ("*", "?", "\\"):
                shown = following or "\ufffd"
                raise DockerfileError(f"invalid escape '\\{shown}'")
            next(rest)
            items.append(("literal", following))
        else:
            items.append((char if char in "*?" else "literal", char))
    return items


class Pattern:
    """A pattern, ready to be matched. Raises DockerfileError for escapes that mean nothing."""

    def __init__(self, pattern: str) -> None:
        items = _items(pattern)
        self._forward, self._backward = _machine(items), _machine(items[::-1])

    def trim_prefix(self, value: str, *, longest: bool) -> str:
        """`value` without the shortest (or longest) start that matches."""
        end = self._end(self._forward, value, longest)
        return value if end is None else value[end:]

    def trim_suffix(self, value: str, *, longest: bool) -> str:
        """`value` without the shortest (or longest) end that matches."""
        end = self._end(self._backward, value[::-1], longest)
        return value if end is None else value[: len(value) - end]

    def replace(self, value: str, text: str, *, every: bool) -> str:
        """`value` with the leftmost match, or each, replaced by `text`; a match is as long as it can be."""
        parts, position = [], 0
        for start, end in self._matches(value):
            parts += [value[position:start], text]
            position = end
            if not every:
                break
        return "".join([*parts, value[position:]])

    def _end(self, machine: _Machine, value: str, longest: bool, start: int = 0) -> int | None:
        states, found = machine.close(1), None
        if machine.accepts(states):
            found = start
            if not longest:
                return found
        for index in range(start, len(value)):
            states = machine.step(states, value[index])
            if not states:
                break
            if machine.accepts(states):
                found = index + 1
                if not longest:
                    break
        return found

    def _matches(self, value: str) -> Iterator[tuple[int, int]]:
        begins = bytearray(len(value) + 1)  # where a match begins: found from the end
        initial = self._backward.close(1)
        states = initial
        begins[len(value)] = self._backward.accepts(states)
        for index in range(len(value) - 1, -1, -1):
            states = self._backward.step(states, value[index]) | initial
            begins[index] = self._backward.accepts(states)
        position, previous = 0, -1
        while (position := begins.find(1, position)) >= 0:
            end = self._end(self._forward, value, True, position)
            assert end is not None
            if end > position or position != previous:  # nothing is not found right behind a match
                yield position, end
                previous = end
            position = max(end, position + 1)

"""What is wrong with a Dockerfile, where, and how the line is shown."""

from collections.abc import Iterable, Sequence
from itertools import islice

from compatd.engine.errors import InvalidParameter

Lines = tuple[int, int]  # first and last line, counted from 1

EMPTY = "the Dockerfile cannot be empty"
MAX_NAME = 100  # what suggestions are looked for at all
MAX_OPTIONS = 1000


class DockerfileError(InvalidParameter):
    """An error in a Dockerfile, worded as BuildKit words it.

    `locations` are the places it is about, the innermost first; `excerpt` shows one. `syntax` is true for
    files that cannot be parted into instructions.
    """

    def __init__(self, text: str, locations: Sequence[Lines] = ()) -> None:
        super().__init__(text)
        self.locations: list[Lines] = list(locations)
        self.syntax = False

    def classic(self, name: str = "Dockerfile") -> str:
        """The text that the classic builder gives."""
        if self.message == EMPTY:
            return f"the Dockerfile ({name}) cannot be empty"
        return f"failed to parse {name}: {self.message}" if self.syntax else self.message

    def at(self, lines: Lines, prefix: str = "") -> "DockerfileError":
        """The same error, `prefix` before its text, at `lines` where it has no place yet."""
        return DockerfileError(prefix + self.message, self.locations or [lines])


def excerpt(source: str, lines: Lines, name: str = "Dockerfile") -> str:
    """`Dockerfile:3`, a rule, the lines around `lines` with `>>>` at those meant, a rule; "" out of range."""
    text = source.split("\n")
    first, last = lines
    if not 1 <= first <= len(text):
        return ""
    last = min(max(first, last), len(text))
    start, end = first, last
    wanted, shown = (4 if first == last else 2), 0
    while shown < wanted:
        if start > 1:
            start, shown = start - 1, shown + 1
        if end != len(text):
            end, shown = end + 1, shown + 1
        shown += 1
    rule = "-" * 20
    rows = [
        f" {number:3} | {'>>>' if first <= number <= last else '   '} {text[number - 1]}\n"
        for number in range(start, end + 1)
    ]
    return f"{name}:{first}\n{rule}\n{''.join(rows)}{rule}\n"


def suggestion(value: str, options: Iterable[str], *, case: bool = True) -> str:
    """The option at most two edits away from `value`, or ""; without `case` in the case of `value`."""
    wanted = value if case else value.lower()
    best, distance = "", 3
    if len(wanted) > MAX_NAME:
        return ""
    for option in sorted(islice(options, MAX_OPTIONS)):
        option = option if case else option.lower()
        if option == wanted:
            return ""
        if abs(len(option) - len(wanted)) < distance and (found := _distance(wanted, option)) < distance:
            best, distance = option, found
    if case or value == value.lower():
        return best
    return best.upper() if value == value.upper() else best


def suggested(text: str, value: str, options: Iterable[str], *, case: bool = True) -> str:
    """`text`, with `(did you mean …?)` behind it where an option is near."""
    found = suggestion(value, options, case=case)
    return f"{text} (did you mean {found}?)" if found else text


def _distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for index, char in enumerate(left, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(right, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (char != other)),
            )
    return row[-1]

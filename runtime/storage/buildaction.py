"""What COPY and ADD do, as data: one action a source. Made of JSON before a worker enters anything."""

from __future__ import annotations

import os

from runtime.storage.buildpaths import Wildcards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.storage.patterns import Matcher, State

    Json = dict[str, Any]


class Action:
    """One source on its way. `path` (but the classic builder's) and `target` are absolute.

    `source`: which of the view's sources; `follow`: a link at the end of `path` is followed; `contents`: of a
    folder its content is copied; `unpack`: an archive is unpacked; `required`: paths that must be there;
    `mode`: None, a number, or changes (see `changed`).
    """

    def __init__(self, told: Json) -> None:
        """Raises PatternError."""
        self.source: int = told.get("source", 0)
        self.text: str = told["path"]
        self.path = os.fsencode(self.text)
        self.target = os.fsencode(told["target"])
        self.follow: bool = told.get("follow", False)
        self.contents: bool = told.get("contents", False)
        self.unpack: bool = told.get("unpack", False)
        self.wildcards = Wildcards(self.text) if told.get("wildcards") else None
        self.include = _matcher(told.get("include"))
        self.exclude = _matcher(told.get("exclude"))
        self.required: list[str] = told.get("required") or []
        self.mode: int | list[list[int | str]] | None = told.get("mode")

    def wanted(
        self, path: str, include: State | None, exclude: State | None
    ) -> tuple[bool, bool, State | None, State | None]:
        """(whether it is copied, whether what is in it may be), and the states for what is in it."""
        wanted = may = True
        if self.include:
            wanted, include = self.include.enter(path, include)
        if self.exclude:
            left_out, exclude = self.exclude.enter(path, exclude)
            if left_out:
                wanted, may = False, self.exclude.negations
        return wanted, may, include, exclude


def _matcher(patterns: list[str] | None) -> Matcher | None:
    if not patterns:
        return None
    from runtime.storage.patterns import Matcher

    return Matcher(patterns)


def changed(mode: int, changes: int | list[list[int | str]] | None, *, folder: bool) -> int:
    """`mode` (12 bits) after `--chmod`. Changes are [operation, bits, places]: `+` and `-` set and clear
    bits, `X` sets them where somebody may execute it already (or it is a folder), `u`, `g` and `o` copy what
    these have: `places` says where to, and `bits` how (1: what is there goes first, 2: what they have is set,
    4: cleared).
    """
    if changes is None:
        return mode
    if isinstance(changes, int):
        return changes
    new = mode
    for operation, bits, places in changes:
        assert isinstance(bits, int)
        if operation == "+":
            new |= bits
        elif operation == "-":
            new &= ~bits
        elif operation == "X":
            if folder or mode & 0o111:
                new |= bits
        else:
            new = _copied(new, new >> {"u": 6, "g": 3, "o": 0}[str(operation)] & 7, bits, str(places))
    return new


def _copied(mode: int, value: int, how: int, places: str) -> int:
    for place in places:
        shift = {"u": 6, "g": 3, "o": 0}[place]
        if how & 1:
            mode &= ~(7 << shift)
        if how & 4:
            mode &= ~(value << shift)
        if how & 2:
            mode |= value << shift
    return mode

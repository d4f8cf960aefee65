"""The filter `name` of lists."""

from collections.abc import Callable
from contextlib import suppress

from compatd.engine.patterns import PatternError, finder


def name_matcher(values: list[str]) -> Callable[[str], bool]:
    """Whether a name is one of `values`, or one of them as a regular expression is found in it; an expression
    that is none finds nothing."""
    exact = set(values)
    finders = []
    for value in values:
        with suppress(PatternError):
            finders.append(finder(value))
    return lambda name: name in exact or any(found(name) for found in finders)

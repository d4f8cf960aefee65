"""The filter `name` of lists."""

import re
from collections.abc import Callable


def name_matcher(values: list[str]) -> Callable[[str], bool]:
    """Whether a name is one of `values`, or one of them as a regular expression is found in it; an expression
    that is none finds nothing."""
    patterns = []
    for value in values:
        try:
            patterns.append(re.compile(value))
        except re.error:
            continue
    exact = set(values)
    return lambda name: name in exact or any(pattern.search(name) for pattern in patterns)

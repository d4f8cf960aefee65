"""Regular expressions that callers give: Go's, for Go's syntax is RE2's, and in linear time.

Python's own would let one expression hold up everybody (`(a*)*b`). re2 is imported where one is used.
"""

from collections.abc import Callable

_GO = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
}
"""RE2's words → those of Go's regexp/syntax."""


class PatternError(ValueError):
    """Go's text, `error parsing regexp: …`."""


def finder(pattern: str) -> Callable[[str], bool]:
    """Whether the expression is found in a text. Raises PatternError."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(_bytes(pattern), options).search
    except re2.error as error:
        told = error.args[0].decode(errors="replace") if error.args else ""
        what, _, fragment = told.partition(": ")
        raise PatternError(f"error parsing regexp: {_GO.get(what, what)}: `{fragment}`") from None
    return lambda text: search(_bytes(text)) is not None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")

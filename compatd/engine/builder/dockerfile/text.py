"""Go's ways with text, which decide what a Dockerfile means and what errors and history say."""

import re
from collections.abc import Iterable

# What Go's unicode.IsSpace is true for.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"  # noqa: E501
BLANKS = re.compile(r"[\t\v\f\r ]+")  # what parts the words of an instruction

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"', "\\": "\\\\"}  # fmt: skip # noqa: E501
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}  # fmt: skip # noqa: E501
_DURATION = re.compile(r"(\d{0,19})(\.\d*)?([^\d.]*)", re.ASCII)


def quote(text: str) -> str:
    """`%q` of a string."""
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python's surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote_list(words: Iterable[str]) -> str:
    """`%q` of a list of strings: `["a" "b"]`."""
    return "[" + " ".join(map(quote, words)) + "]"


def show_list(words: Iterable[str]) -> str:
    """`%v` of a list of strings: `[a b]`."""
    return "[" + " ".join(words) + "]"


def parse_duration(text: str) -> int:
    """`1m30s` → nanoseconds. Raises ValueError with the text of Go's time.ParseDuration."""
    shown = quote(text)
    rest, sign = text, 1
    if rest[:1] in ("+", "-"):
        rest, sign = rest[1:], -1 if rest[0] == "-" else 1
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {shown}")
    total, position = 0, 0
    while position < len(rest):
        match = _DURATION.match(rest, position)
        if not match or not (match[1] or len(match[2] or "") > 1):
            raise ValueError(f"time: invalid duration {shown}")
        if not match[3]:
            raise ValueError(f"time: missing unit in duration {shown}")
        if match[3] not in _NANOSECONDS:
            raise ValueError(f"time: unknown unit {quote(match[3])} in duration {shown}")
        unit, fraction = _NANOSECONDS[match[3]], (match[2] or ".")[1:20]
        total += int(match[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        if total >= 1 << 63:
            raise ValueError(f"time: invalid duration {shown}")
        position = match.end()
    return sign * total


def show_duration(value: int) -> str:
    """Nanoseconds as Go's time.Duration prints them."""
    if value < 0:
        return "-" + show_duration(-value)
    if not value:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if value < size * 1000:
            return _decimal(value, size) + unit
    minutes, rest = divmod(value, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h" if hours else ""
    shown += f"{minutes}m" if hours or minutes else ""
    return shown + _decimal(rest, 10**9) + "s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = f"{rest:0{len(str(size)) - 1}}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def parse_unsigned(text: str, base: int) -> int:
    """An unsigned 32-bit number. Raises ValueError."""
    if not re.fullmatch(r"[0-7]{1,16}" if base == 8 else r"[0-9]{1,16}", text) or int(text, base) >= 1 << 32:
        raise ValueError(text)
    return int(text, base)


def csv_fields(text: str) -> list[str]:
    """One record of comma-separated values. Raises ValueError with the text of Go's encoding/csv."""
    fields: list[str] = []
    position = 0
    while True:
        if text[position : position + 1] != '"':
            end = text.find(",", position)
            field = text[position:] if end < 0 else text[position:end]
            if '"' in field:
                column = len(text[: position + field.index('"')].encode(errors="surrogateescape")) + 1
                raise ValueError(f'parse error on line 1, column {column}: bare " in non-quoted field')
            fields.append(field)
        else:
            field, end = _quoted_field(text, position + 1)
            fields.append(field)
            end = end if end < len(text) else -1
        if end < 0:
            return fields
        position = end + 1


def _quoted_field(text: str, position: int) -> tuple[str, int]:
    """What is within the quotes, and where its comma (or the end) is."""
    parts = []
    while True:
        end = text.find('"', position)
        if end < 0:
            column = len(text.encode(errors="surrogateescape")) + 1
            break
        parts.append(text[position:end])
        after = text[end + 1 : end + 2]
        if after in ("", ","):
            return "".join(parts), end + 1
        if after != '"':
            column = len(text[:end].encode(errors="surrogateescape")) + 1
            break
        parts.append('"')
        position = end + 2
    raise ValueError(f'parse error on line 1, column {column}: extraneous or missing " in quoted-field')


def clean(path: str) -> str:
    """The shortest name of the same path, as Go's path.Clean finds it."""
    rooted = path.startswith("/")
    kept: list[str] = []
    for part in path.split("/"):
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part not in ("", ".", "..") or (part == ".." and not rooted):
            kept.append(part)
    return ("/" if rooted else "") + "/".join(kept) or "."

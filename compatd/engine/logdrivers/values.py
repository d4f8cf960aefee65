"""Values of log options, read and refused as Go's standard library and go-units do it."""

import math
import re
from collections.abc import Callable

from compatd.engine.patterns import PatternError, finder


class LogOptionError(Exception):
    """An option's value is wrong; the text is Docker's."""


_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str, base: int = 1000) -> int:
    """`10k` → bytes, with a `base` of 1000 or 1024. Raises LogOptionError."""
    match = re.fullmatch(r"(.*[\d. ])([^\d. ]*)", text, re.DOTALL)
    if not match:
        raise LogOptionError(f"invalid size: '{text}'")
    digits, suffix = match[1].removesuffix(" "), match[2].lower()
    try:
        size = float(digits) if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", digits) else math.nan
    except ValueError:
        size = math.nan
    if math.isnan(size):
        raise LogOptionError(f'strconv.ParseFloat: parsing "{digits}": invalid syntax')
    if size < 0:
        raise LogOptionError(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return int(size)
    if suffix[0] not in _POWERS or suffix[1:] not in ("", "b", "ib"):
        raise LogOptionError(f"invalid suffix: '{suffix}'")
    return int(size * base ** _POWERS[suffix[0]])


def parse_bool(text: str) -> bool:
    """Raises LogOptionError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise LogOptionError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_int(text: str, function: str = "Atoi") -> int:
    """A decimal number; without a sign for `ParseUint`. Raises LogOptionError."""
    sign = "" if function == "ParseUint" else "[+-]?"
    if not re.fullmatch(sign + r"[0-9]+", text):
        raise LogOptionError(f'strconv.{function}: parsing "{text}": invalid syntax')
    number = int(text)
    if abs(number) >= 2 ** (32 if function == "ParseUint" else 63):
        raise LogOptionError(f'strconv.{function}: parsing "{text}": value out of range')
    return number


def parse_duration(text: str) -> float:
    """`1m30s` → seconds. Raises LogOptionError."""
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    negative = text.startswith("-")
    if rest == "0":
        return 0.0
    total, position = 0.0, 0
    while position < len(rest):
        match = _DURATION.match(rest, position)
        if not match:
            missing = re.fullmatch(r"[\d.]+", rest[position:])
            if missing and any(c.isdigit() for c in rest[position:]):
                raise LogOptionError(f'time: missing unit in duration "{text}"')
            raise LogOptionError(f'time: invalid duration "{text}"')
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not rest:
        raise LogOptionError(f'time: invalid duration "{text}"')
    return -total if negative else total


def compile_regex(pattern: str) -> Callable[[str], bool]:
    """Whether it is found in a text. Raises LogOptionError."""
    try:
        return finder(pattern)
    except PatternError as error:
        raise LogOptionError(str(error)) from None

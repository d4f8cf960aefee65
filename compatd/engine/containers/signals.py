"""Signal names and numbers, and detach keys, as Docker reads them."""

import signal

from compatd.engine.errors import InvalidParameter

_NUMBERS = {
    item.name.removeprefix("SIG"): int(item) for item in signal.Signals if item.name.startswith("SIG")
}
_NUMBERS |= {"CLD": 17, "POLL": 29, "IOT": 6, "STKFLT": 16, "UNUSED": 31}
_RTMIN, _RTMAX = 34, 64
_NUMBERS |= {f"RTMIN+{step}": _RTMIN + step for step in range(1, 16)}
_NUMBERS |= {f"RTMAX-{step}": _RTMAX - step for step in range(1, 15)}
_NUMBERS |= {"RTMIN": _RTMIN, "RTMAX": _RTMAX}
_VALID = set(_NUMBERS.values())

_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse_signal(text: str) -> int:
    """`KILL`, `SIGKILL` or `9` → number. Raises InvalidParameter; numbers pass unchecked."""
    try:
        number = int(text)
    except ValueError:
        found = _NUMBERS.get(text.upper().removeprefix("SIG"))
        if found is None:
            raise InvalidParameter(f"invalid signal: {text}") from None
        return found
    if number == 0:
        raise InvalidParameter(f"invalid signal: {text}")
    return number


def check_signal(number: int) -> None:
    """Raise InvalidParameter for a number that is no signal of Linux."""
    if number not in _VALID:
        raise InvalidParameter(f"the linux daemon does not support signal {number}")


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` → the bytes to look for. Raises ValueError for a key that has no name."""
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
        elif key == "DEL":
            keys.append(127)
        elif len(key) == 6 and key.startswith("ctrl-") and key[5] in _CONTROL:
            keys.append(_CONTROL.index(key[5]))
        else:
            raise ValueError(f"Unknown character: '{key}'")
    return bytes(keys)

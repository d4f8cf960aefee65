"""The detach keys: a sequence of bytes in a terminal's input that ends the attachment."""

from __future__ import annotations

#: ctrl-p, ctrl-q.
DEFAULT = b"\x10\x11"


class DetachKeys:
    """Filters input. As Docker Engine's, a byte that breaks a match is not looked at as a new start."""

    __slots__ = ("_keys", "_matched")

    def __init__(self, keys: bytes = b"") -> None:
        self._keys = keys or DEFAULT
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the keys are complete (what follows them is dropped).

        A started match is held back until the next byte decides it.
        """
        if not self._matched and self._keys[0] not in data:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(out), True
                continue
            out += self._keys[: self._matched]
            out.append(byte)
            self._matched = 0
        return bytes(out), False

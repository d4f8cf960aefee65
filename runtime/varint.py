"""Numbers as protobuf has them: base 128, lowest digits first. No I/O here."""

from __future__ import annotations

_MAX_SHIFT = 63


def encode(value: int) -> bytes:
    """An unsigned number below 2**64."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(number, place behind it). Raises ValueError where it is too long, IndexError at the end of data."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > _MAX_SHIFT:
            raise ValueError("varint overflow")

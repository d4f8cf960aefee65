"""The `local` log format: Docker Engine's LogEntry messages (protobuf) between two lengths. No I/O here.

A record is its length (4 bytes, big endian), the message, the length again. Fields: source 1, time_nano 2,
line 3, partial 4, partial_log_metadata 5 (last 1, id 2, ordinal 3), attrs 6 (key 1, value 2). What is zero or
empty is left out, as in all of proto3.
"""

from __future__ import annotations

from runtime.logs.messages import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.logs.messages import Message

_SOURCES = {stream: b"\x0a" + bytes((len(name),)) + name + b"\x10" for stream, name in NAMES.items()}


def varint(value: int) -> bytes:
    """A number in base 128, lowest digits first; none is negative here."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + varint(len(value)) + value if value else b""


def encode_attrs(attrs: dict[str, str]) -> bytes:
    """The end of every record of a container: labels and variables, sorted by name."""
    pairs = ((name.encode(), attrs[name].encode("utf-8", "surrogateescape")) for name in sorted(attrs))
    return b"".join(_bytes(6, _bytes(1, name) + _bytes(2, value)) for name, value in pairs)


def encode(message: Message, attrs: bytes = b"") -> bytes:
    """One record; `attrs` from `encode_attrs`."""
    line = message.line
    text = _SOURCES[message.stream] + varint(message.at) + _bytes(3, line)
    if message.partial is not None:
        identifier, ordinal, last = message.partial
        data = (b"\x08\x01" if last else b"") + _bytes(2, identifier.encode()) + b"\x18" + varint(ordinal)
        text += b"\x20\x01" + _bytes(5, data)
    text += attrs
    length = len(text).to_bytes(4, "big")
    return length + text + length


def encode_all(messages: list[Message], attrs: bytes = b"") -> list[bytes]:
    """The records of many; what those of one time and length have in common is made once."""
    ends: dict[tuple[int, int, int], tuple[bytes, bytes]] = {}
    found = []
    for message in messages:
        if message.partial is not None:
            found.append(encode(message, attrs))
            continue
        line = message.line
        key = (message.stream, message.at, len(line))
        both = ends.get(key)
        if both is None:
            record = encode(message, attrs)
            end = len(record) - 4 - len(attrs)
            both = ends[key] = (record[: end - len(line)], record[end:])
        found.append(both[0] + line + both[1])
    return found

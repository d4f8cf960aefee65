"""From records of a local log (`runtime.logs.local`) to what `docker logs` gets."""

from collections.abc import Iterator
from functools import lru_cache

from compatd.engine.containers.logentries import Converter
from compatd.engine.timestamps import rfc3339
from runtime import varint

_SOURCES = {b"stdout": b"out", b"stderr": b"err"}


class LocalConverter(Converter):
    """As Converter, for whole records."""

    def feed(self, lines: bytes) -> bytes:
        """`lines` are whole records."""
        out: list[bytes] = []
        for record in records(lines):
            try:
                entry = decode(record)
            except (IndexError, ValueError, KeyError):
                continue  # damaged
            if not self._take(out, *entry):
                break
        return b"".join(out)


def records(data: bytes) -> Iterator[bytes]:
    """The messages between the lengths."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 4 + size]
        position += size + 8


def decode(record: bytes) -> tuple[bytes, bytes, bytes, dict[str, str]]:
    """Stream (`out` or `err`), text with its newline, time as moment_key writes it, attributes.

    Raises IndexError, ValueError or KeyError for what is no record.
    """
    if record[8:9] == b"\x10" and record[18:19] == b"\x1a":
        # Nearly all: stream, a time of nine bytes, the line, and no more.
        size, start = varint.decode(record, 19)
        if start + size == len(record):
            return _SOURCES[record[2:8]], record[start:] + b"\n", _when(record[9:18]), {}
    source, at, line, cut = b"", 0, b"", False
    attrs: dict[str, str] = {}
    for field, value in _fields(record):
        if field == 1 and isinstance(value, bytes):
            source = value
        elif field == 2 and isinstance(value, int):
            at = value
        elif field == 3 and isinstance(value, bytes):
            line = value
        elif field == 4:
            cut = bool(value)
        elif field == 5 and isinstance(value, bytes):
            cut = not any(inner == 1 and last for inner, last in _fields(value))
        elif field == 6 and isinstance(value, bytes):
            pair = {inner: text for inner, text in _fields(value) if isinstance(text, bytes)}
            attrs[pair.get(1, b"").decode()] = pair.get(2, b"").decode("utf-8", "replace")
    return _SOURCES[source], line if cut else line + b"\n", _key(at), attrs


@lru_cache(maxsize=1024)
def _when(digits: bytes) -> bytes:
    # Entries that came in one read have one time.
    return _key(varint.decode(digits, 0)[0])


def _key(at: int) -> bytes:
    whole, _, fraction = rfc3339(at).removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}".encode()


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        key, position = varint.decode(data, position)
        if key & 7 == 0:
            number, position = varint.decode(data, position)
            yield key >> 3, number
        elif key & 7 == 2:
            size, position = varint.decode(data, position)
            if position + size > len(data):
                raise ValueError("cut off")
            yield key >> 3, data[position : position + size]
            position += size
        else:
            raise ValueError("unknown kind of field")

"""The little of MessagePack that fluentd's forward protocol needs (msgpack's spec.md)."""

from __future__ import annotations

import struct


def text(value: bytes) -> bytes:
    """A str."""
    size = len(value)
    if size < 32:
        return bytes((0xA0 | size,)) + value
    if size < 256:
        return b"\xd9" + bytes((size,)) + value
    if size < 65536:
        return b"\xda" + size.to_bytes(2, "big") + value
    return b"\xdb" + size.to_bytes(4, "big") + value


def mapping(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A map of strs."""
    count = len(pairs)
    head = bytes((0x80 | count,)) if count < 16 else b"\xde" + count.to_bytes(2, "big")
    return head + b"".join(text(name) + text(value) for name, value in pairs)


def seconds(at: int) -> bytes:
    """A time in whole seconds (`at`: ns)."""
    return struct.pack(">Bq", 0xD3, at // 1_000_000_000)


def event_time(at: int) -> bytes:
    """fluentd's EventTime: extension 0, seconds and nanoseconds of 32 bits each."""
    return struct.pack(">BBII", 0xD7, 0, *divmod(at, 1_000_000_000))


def acks(data: bytes) -> tuple[list[bytes], bytes]:
    """The IDs in whole `{"ack": ID}` answers, and the bytes that are left over."""
    found = []
    head = b"\x81\xa3ack"
    while data.startswith(head) and len(data) > len(head):
        kind, start = data[len(head)], len(head) + 1
        if kind & 0xE0 == 0xA0:
            size = kind & 0x1F
        elif kind == 0xD9 and len(data) > start:
            size, start = data[start], start + 1
        else:
            break
        if len(data) < start + size:
            break
        found.append(data[start : start + size])
        data = data[start + size :]
    return found, data

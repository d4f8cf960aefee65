"""The `json-file` log format, byte for byte as Docker Engine writes it. No I/O here.

One entry a line: `{"log":"text\\n","stream":"stdout","attrs":{…},"time":"2026-01-02T03:04:05.6Z"}`.
A line of output longer than 16 KiB becomes several entries, all but the last without its newline and
all with the time of the first; what follows the last newline when the stream ends is an entry without one.
"""

from __future__ import annotations

import codecs
import time

#: Bytes of one entry's text before escaping: the line buffer of the engine's copier.
MAX_LINE = 16384

#: Bytes that Go's encoder escapes, the newline aside, which every line ends with.
_ESCAPES = {bytes([byte]): f"\\u{byte:04x}".encode() for byte in (*range(0x20), *b"<>&") if byte != 0x0A}
_ESCAPES |= {b"\\": b"\\\\", b'"': b'\\"', b"\r": b"\\r"}
_PLAIN = bytes(byte for byte in range(256) if bytes([byte]) not in _ESCAPES)
#: U+2028 and U+2029 are newlines to JavaScript.
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def _one_byte(error: UnicodeError) -> tuple[str, int]:
    """Replace one byte at a time as Go's utf8.DecodeRune does; Python would take the longest prefix."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\\ufffd", error.start + 1


codecs.register_error("json-file", _one_byte)
# Look the codec up now: after a chroot nothing may be looked up any more.
b"\xff".decode("utf-8", "json-file").encode("utf-8")


def escape(text: bytes) -> bytes:
    """`text` as the inside of a JSON string, newlines left as they are."""
    # One pass tells which of the rare bytes occur at all; each then costs one replace.
    found = text.translate(None, _PLAIN)
    if found:
        if b"\\" in found:  # first, for the others bring backslashes
            text = text.replace(b"\\", b"\\\\")
        for value in set(found):
            byte = bytes((value,))
            if byte != b"\\":
                text = text.replace(byte, _ESCAPES[byte])
    if text.isascii():
        return text
    for raw, escaped in _SEPARATORS:
        text = text.replace(raw, escaped)
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        text = text.decode("utf-8", "json-file").encode("utf-8")
    return text


class Clock:
    """Times for entries, RFC 3339 with nanoseconds, never going back within one container."""

    __slots__ = ("_last", "_prefix", "_second")

    def __init__(self) -> None:
        self._last = 0
        self._second = -1
        self._prefix = ""

    def stamp(self, now: int | None = None) -> bytes:
        """`2026-01-02T03:04:05.000000001Z`: UTC, zeros at the fraction's end cut as Go does (`now`: ns)."""
        now = time.time_ns() if now is None else now
        now = max(now, self._last)
        self._last = now
        second, fraction = divmod(now, 1_000_000_000)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        if not fraction:
            return (self._prefix + "Z").encode()
        return (self._prefix + "." + f"{fraction:09d}".rstrip("0") + "Z").encode()


class Encoder:
    """Cuts one stream of one container into entries. Feed it chunks, write what it returns."""

    __slots__ = ("_clock", "_partial", "_rest", "_stream")

    def __init__(self, stream: str, clock: Clock, attrs: bytes = b"") -> None:
        """`stream`: `stdout` or `stderr`; `attrs`: an encoded JSON object or nothing."""
        self._clock = clock
        self._rest = b""
        self._partial = b""  # time of the first piece of a line that is being cut
        self._stream = b'","stream":"' + stream.encode() + b'",'
        if attrs:
            self._stream += b'"attrs":' + attrs + b","
        self._stream += b'"time":"'

    def feed(self, data: bytes) -> bytes:
        """Take output in any pieces; return the whole entries that it completes (possibly none)."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self._partial and len(data) <= MAX_LINE and data.endswith(b"\n"):
            return self._lines(data, self._clock.stamp())
        out = []
        start = position = 0  # `start` to `position`: whole lines not yet encoded
        end = len(data)
        now = b""
        while position < end:
            if not self._partial:
                cut = data.rfind(b"\n", position, position + MAX_LINE)
            else:
                cut = data.find(b"\n", position, position + MAX_LINE)
            if cut < 0 and end - position < MAX_LINE:
                break
            now = now or self._clock.stamp()
            if cut >= 0 and not self._partial:
                position = cut + 1
                continue
            if start < position:
                out.append(self._lines(data[start:position], now))
            cut = position + MAX_LINE if cut < 0 else cut + 1
            piece = data[position:cut]
            self._partial = self._partial or now
            out.append(self._entry(piece, self._partial))
            if piece.endswith(b"\n"):
                self._partial = b""
            start = position = cut
        if start < position:
            out.append(self._lines(data[start:position], now))
        self._rest = data[position:]
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        """The stream has ended: return the entry of an unterminated last line, or nothing."""
        rest, self._rest = self._rest, b""
        if not rest:
            return b""
        entry = self._entry(rest, self._partial or self._clock.stamp())
        self._partial = b""
        return entry

    def _lines(self, data: bytes, now: bytes) -> bytes:
        # Every newline but the last becomes the end of one entry and the head of the next.
        end = b"\\n" + self._stream + now + b'"}\n'
        return b"".join((b'{"log":"', escape(data[:-1]).replace(b"\n", end + b'{"log":"'), end))

    def _entry(self, piece: bytes, now: bytes) -> bytes:
        return b'{"log":"' + escape(piece).replace(b"\n", b"\\n") + self._stream + now + b'"}\n'

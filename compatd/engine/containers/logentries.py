"""From lines of a json-file log to what `docker logs` gets, many at a time.

A line is `{"log":"text\\n","stream":"stdout","attrs":{…},"time":"…"}`. Without a terminal an entry goes out
as one stdcopy frame: stream (1 or 2), three zeros, length (big endian), data.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import orjson

_ENTRY = re.compile(
    rb'\{"log":"([^"\\]*)((?:\\r)?\\n)?","stream":"std(out|err)","time":"([^"]*)"\}\n|([^\n]*)\n'
)
_ENDS = {b"": b"", b"\\n": b"\n", b"\\r\\n": b"\r\n"}
_NUMBERS = {b"out": 1, b"err": 2}


class _Heads(dict[int, bytes]):
    """Frame heads of one stream by length."""

    def __init__(self, stream: int) -> None:
        super().__init__()
        self._first = bytes((stream, 0, 0, 0))

    def __missing__(self, length: int) -> bytes:
        head = self._first + length.to_bytes(4, "big")
        if length < 65536:
            self[length] = head
        return head


_HEADS = {b"out": _Heads(1), b"err": _Heads(2)}


@dataclass(frozen=True)
class LogQuery:
    """What is asked of a log. Moments are ns since 1970, 0 for no limit; `tail` -1 is everything."""

    stdout: bool = True
    stderr: bool = True
    since: int = 0
    until: int = 0
    tail: int = -1
    timestamps: bool = False
    details: bool = False
    follow: bool = False


class Converter:
    """Turns whole lines into frames, or raw text for a terminal. `done` is set once `until` has passed."""

    def __init__(self, query: LogQuery, *, framed: bool) -> None:
        self.done = False
        self._query = query
        self._framed = framed
        self._plain = (
            query.stdout
            and query.stderr
            and not (query.since or query.until or query.timestamps or query.details)
        )
        self._since = moment_key(query.since) if query.since else b""
        self._until = moment_key(query.until) if query.until else b""

    def feed(self, lines: bytes) -> bytes:
        """`lines` ends with a newline."""
        return self._all(lines) if self._plain else self._some(lines)

    def _all(self, lines: bytes) -> bytes:
        out: list[bytes] = []
        add = out.append
        framed, heads, ends = self._framed, _HEADS, _ENDS
        for text, end, stream, _, odd in _ENTRY.findall(lines):
            if odd:
                entry = _parse(odd)
                if entry is None:
                    continue
                stream, text, end = entry[0], entry[1], b""
            elif not stream:
                continue  # an empty line
            end = ends[end]
            if framed:
                add(heads[stream][len(text) + len(end)])
            add(text)
            add(end)
        return b"".join(out)

    def _some(self, lines: bytes) -> bytes:
        out: list[bytes] = []
        for text, end, stream, when, odd in _ENTRY.findall(lines):
            attrs: dict[str, str] = {}
            if odd:
                entry = _parse(odd)
                if entry is None:
                    continue
                stream, text, when, attrs = entry
            elif not stream:
                continue
            else:
                text += _ENDS[end]
            if not self._take(out, stream, text, _padded(when), attrs):
                break
        return b"".join(out)

    def _take(self, out: list[bytes], stream: bytes, text: bytes, key: bytes, attrs: dict[str, str]) -> bool:
        """Add one entry of `out` or `err`, if it is asked for; False when no later one will be."""
        query = self._query
        if key < self._since:
            return True
        if self._until and key > self._until:
            self.done = True
            return False
        if not (query.stdout if stream == b"out" else query.stderr):
            return True
        if query.details:
            text = _attributes(attrs) + b" " + text
        if query.timestamps:
            text = key + b"Z " + text
        if self._framed:
            out.append(_HEADS[stream][len(text)])
        out.append(text)
        return True


def _parse(line: bytes) -> tuple[bytes, bytes, bytes, dict[str, str]] | None:
    """A line that has escapes or attributes: (out or err, text, time, attributes); None when damaged."""
    try:
        entry: Any = orjson.loads(line)
        stream = entry["stream"].removeprefix("std").encode()
        text: bytes = entry["log"].encode()
        when: bytes = entry["time"].encode()
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return (stream, text, when, entry.get("attrs") or {}) if stream in _NUMBERS else None


def _padded(when: bytes) -> bytes:
    """A log's time with nine digits and no zone, so that it compares as bytes."""
    whole, _, fraction = when.rstrip(b"Z").partition(b".")
    return whole + b"." + fraction.ljust(9, b"0")


def moment_key(moment: int) -> bytes:
    """A moment in ns as `_padded` writes it."""
    from compatd.engine.timestamps import rfc3339

    return _padded(rfc3339(max(moment, 0)).encode())


def _attributes(attrs: dict[str, str]) -> bytes:
    pairs = (f"{quote_plus(name)}={quote_plus(str(attrs[name]))}" for name in sorted(attrs))
    return ",".join(pairs).encode()

"""DNS messages as bytes (RFC 1035, 6891): what the resolver must understand of a query, and its answers.

Only the header, the question and an OPT record are looked at; everything else is passed on as it came. No
function follows compression pointers: a question has none, and other records are skipped over.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

A, PTR, MX, AAAA, SRV, OPT = 1, 12, 15, 28, 33, 41
CLASS_IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
#: What fits a datagram unless the query's OPT record says more.
LEAST_UDP = 512
MOST = 65535

_QR, _TC, _RD, _RA, _CD = 0x8000, 0x0200, 0x0100, 0x0080, 0x0010
_OPCODE = 0x7800
_NOTIFY = 4 << 11
_HEADER = struct.Struct("!HHHHHH")
_TYPE_CLASS = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
#: Points to the question's name, which follows the header.
_QUESTION_NAME = b"\xc0\x0c"


class Malformed(Exception):
    """No query that can be served. `answer` is what the client gets, None for silence."""

    def __init__(self, answer: bytes | None = None) -> None:
        super().__init__("malformed query")
        self.answer = answer


class Query:
    """One understood query; `raw` is all of it.

    `labels` are those of the name in lower case, `question` the bytes of the question with its name as it
    was spelled (clients compare), `size` how long an answer in a datagram may be.
    """

    __slots__ = ("flags", "kind", "labels", "question", "raw", "size")

    def __init__(
        self, raw: bytes, flags: int, labels: list[bytes], kind: int, question: bytes, size: int
    ) -> None:
        self.raw = raw
        self.flags = flags
        self.labels = labels
        self.kind = kind
        self.question = question
        self.size = size


def parse(raw: bytes) -> Query:
    """A query with one question. Raises Malformed, with the errors that dockerd's DNS library answers."""
    if len(raw) < 12:
        raise Malformed
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(raw)
    if flags & _QR:
        raise Malformed  # an answer: to answer that could go on for ever
    if flags & _OPCODE not in (0, _NOTIFY):
        raise Malformed(error(raw, NOTIMP))
    if questions != 1 or answers > 1 or authorities > 1 or additional > 2:
        raise Malformed(error(raw, FORMERR))
    try:
        labels, at = _name(raw)
        kind, _ = _TYPE_CLASS.unpack_from(raw, at)
        at += 4
        size = _udp_size(raw, at, answers + authorities + additional)
    except (IndexError, struct.error):
        raise Malformed(error(raw, FORMERR)) from None
    return Query(raw, flags, labels, kind, raw[12:at], size)


def _name(raw: bytes) -> tuple[list[bytes], int]:
    """The question's labels and where it ends. Raises IndexError."""
    labels = []
    at = 12
    while length := raw[at]:
        end = at + 1 + length
        if length > 63 or end - 12 > 254:  # over 63: a pointer, which could only lead into the header
            raise IndexError
        labels.append(raw[at + 1 : end].lower())
        at = end
    return labels, at + 1


def _udp_size(raw: bytes, at: int, records: int) -> int:
    size = LEAST_UDP
    for _ in range(records):
        at = _skip_name(raw, at)
        kind, value, _, length = _RECORD.unpack_from(raw, at)
        at += 10 + length
        if at > len(raw):
            raise IndexError
        if kind == OPT:
            size = max(size, value)
    return size


def _skip_name(raw: bytes, at: int) -> int:
    while length := raw[at]:
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise IndexError
        at += 1 + length
    return at + 1


def _answered(flags: int) -> int:
    """The header's second word of an answer: opcode, RD and CD are the query's."""
    kept = _OPCODE | _RD | _CD if not flags & _OPCODE else _OPCODE
    return _QR | flags & kept


def records(query: Query, answers: Sequence[bytes], *, limit: int) -> bytes:
    """A successful answer with the resource records that fit `limit`; TC is set when one does not."""
    room = (limit - 12 - len(query.question)) // max(map(len, answers), default=1)
    flags = _answered(query.flags) | _RA
    if len(answers) > room:
        answers = answers[:room]
        flags |= _TC
    head = _HEADER.pack(0, flags, 1, len(answers), 0, 0)
    return b"".join((query.raw[:2], head[2:], query.question, *answers))


def failure(query: Query, code: int) -> bytes:
    """An answer that says only how it failed. As dockerd's, without RA."""
    head = _HEADER.pack(0, _answered(query.flags) | code, 1, 0, 0, 0)
    return query.raw[:2] + head[2:] + query.question


def error(raw: bytes, code: int) -> bytes:
    """The answer to what is no proper query (at least a header): its ID and opcode, and the error."""
    flags = struct.unpack_from("!H", raw, 2)[0]
    return raw[:2] + struct.pack("!H", _QR | flags & (_OPCODE | _RD) | code) + bytes(8)


def resource(kind: int, ttl: int, data: bytes) -> bytes:
    """A resource record of the question's name."""
    return _QUESTION_NAME + _RECORD.pack(kind, CLASS_IN, ttl, len(data)) + data


def encode_name(name: str) -> bytes:
    """A domain name on the wire. Raises ValueError when it is none."""
    encoded = b""
    for label in name.rstrip(".").encode().split(b"."):
        if not 0 < len(label) < 64:
            raise ValueError(name)
        encoded += bytes((len(label),)) + label
    if len(encoded) > 254:
        raise ValueError(name)
    return encoded + b"\0"


def answers_to(query: Query, raw: bytes) -> bool:
    """Whether a server's message is the answer to the query: its ID and question."""
    if len(raw) < 12 or raw[:2] != query.raw[:2] or not raw[2] & 0x80:
        return False
    if not raw[4] and raw[5] == 0:
        return raw[3] & 15 not in (NOERROR, NXDOMAIN)  # some errors come without the question
    end = 12 + len(query.question)
    return raw[12:end].lower() == query.question.lower()


def code(raw: bytes) -> int:
    """The response code of a message."""
    return raw[3] & 15

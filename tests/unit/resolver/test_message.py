"""The wire format: what is understood, what is refused, and that nothing hostile does harm."""

import random
import struct

import pytest

from runtime.resolver import message
from tests.unit.resolver.dnskit import RD, query, read


def refusal(raw: bytes) -> bytes | None:
    with pytest.raises(message.Malformed) as error:
        message.parse(raw)
    return error.value.answer


def test_a_query() -> None:
    parsed = message.parse(query("Web.Example"))
    assert parsed.labels == [b"web", b"example"]
    assert (parsed.kind, parsed.size) == (message.A, 512)
    assert parsed.question == b"\x03Web\x07Example\0\0\x01\0\x01"
    assert message.parse(query("")).labels == []


@pytest.mark.parametrize(("told", "size"), [(4096, 4096), (1232, 1232), (100, 512)])
def test_the_size_of_datagrams_is_what_the_client_says(told: int, size: int) -> None:
    assert message.parse(query("web", size=told)).size == size


def test_other_records_are_skipped() -> None:
    raw = bytearray(query("web", size=1232))
    raw[11] = 2
    tsig = b"\x03key\xc0\x0c" + struct.pack("!HHIH", 250, 255, 0, 4) + b"abcd"
    opt = b"\0" + struct.pack("!HHIH", message.OPT, 1232, 0, 0)
    raw = raw[: -len(opt)] + tsig + opt
    assert message.parse(bytes(raw)).size == 1232


@pytest.mark.parametrize("raw", [b"", b"12345678901", query("web", flags=0x8000)])
def test_what_is_no_query_gets_no_answer(raw: bytes) -> None:
    assert refusal(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        query("web")[:-1],
        query("web")[:14],
        query("web")[:4] + b"\0\2" + query("web")[6:],  # two questions
        query("web")[:4] + b"\0\0" + query("web")[6:],  # none
        query("web")[:11] + b"\1" + query("web")[12:],  # an OPT record that is not there
        query("web")[:12] + b"\xc0\x0c\0\1\0\1",  # a pointer to itself
        query("web")[:12] + b"\xc0\x20\0\1\0\1",
        query("web")[:12] + b"\x80" + bytes(200),
        query("web")[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",  # a name over 255 bytes
        query("web")[:12] + b"\x3f" * 4000,
        query("web", size=512)[:-2] + b"\xff\xff",  # a record longer than the message
    ],
)
def test_a_malformed_query_is_told_so(raw: bytes) -> None:
    answer = refusal(raw)
    assert answer is not None
    got = read(answer)
    assert (got.id, got.code, got.flags & 0x8000) == (0x1234, message.FORMERR, 0x8000)


def test_other_operations_are_not_implemented() -> None:
    answer = read(refusal(query("web", flags=5 << 11)))
    assert answer.code == message.NOTIMP and answer.flags & 0x7800 == 5 << 11
    assert message.parse(query("web", flags=4 << 11)).labels == [b"web"]


def test_noise_raises_nothing_else() -> None:
    noise = random.Random(1)  # noqa: S311
    start = query("web.example", size=1232)
    for _ in range(20_000):
        raw = bytearray(start)
        for _ in range(noise.randint(1, 6)):
            raw[noise.randrange(len(raw))] = noise.randrange(256)
        try:
            parsed = message.parse(bytes(raw[: noise.randint(0, len(raw))]))
        except message.Malformed as error:
            assert error.answer is None or len(error.answer) == 12
        else:
            assert len(parsed.question) <= 255 + 4


def test_an_answer_has_the_clients_id_question_and_flags() -> None:
    raw = query("WeB", flags=RD | 0x0010)
    answer = read(message.records(message.parse(raw), [message.resource(1, 600, b"abcd")], limit=512))
    assert answer.id == 0x1234 and answer.question == message.parse(raw).question
    assert answer.flags == 0x8000 | RD | 0x0080 | 0x0010
    assert answer.records == [(1, 600, b"abcd")]


def test_what_does_not_fit_is_left_out_and_told() -> None:
    parsed = message.parse(query("web"))
    many = [message.resource(1, 600, bytes((0, 0, i >> 8, i & 255))) for i in range(200)]
    raw = message.records(parsed, many, limit=512)
    assert len(raw) <= 512 < len(raw) + 16
    assert read(raw).flags & 0x0200
    whole = read(message.records(parsed, many, limit=message.MOST))
    assert len(whole.records) == 200 and not whole.flags & 0x0200


def test_a_failure() -> None:
    answer = read(message.failure(message.parse(query("web")), message.SERVFAIL))
    assert answer.flags == 0x8000 | RD | message.SERVFAIL and not answer.records


def test_which_messages_answer_a_query() -> None:
    asked = message.parse(query("web"))
    good = bytearray(query("wEB", flags=0x8180))
    assert message.answers_to(asked, bytes(good))
    assert not message.answers_to(asked, query("web"))
    assert not message.answers_to(asked, query("web", id=1, flags=0x8180))
    assert not message.answers_to(asked, query("wab", flags=0x8180))
    assert not message.answers_to(asked, b"\x12\x34\x81")
    bare = struct.pack("!HHHHHH", 0x1234, 0x8182, 0, 0, 0, 0)
    assert message.answers_to(asked, bare)
    assert not message.answers_to(asked, bare[:3] + b"\x80" + bare[4:])


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_names_that_cannot_be_encoded(name: str) -> None:
    with pytest.raises(ValueError):
        message.encode_name(name)
    assert message.encode_name("a.bc.") == b"\1a\2bc\0"

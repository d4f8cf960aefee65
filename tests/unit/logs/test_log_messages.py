"""Output cut into messages, and messages as records of the local format."""

import pytest

from compatd.engine.containers import localentries
from runtime import varint
from runtime.logs import local
from runtime.logs.messages import MAX_LINE, Message, Now, Splitter


def cut(*pieces: bytes) -> list[Message]:
    splitter = Splitter(1, Now())
    found = [message for piece in pieces for message in splitter.feed(piece)]
    return found + splitter.finish()


def test_a_message_a_line() -> None:
    assert [(m.line, m.partial) for m in cut(b"a\nb", b"c\n\n")] == [(b"a", None), (b"bc", None), (b"", None)]


def test_an_unterminated_line_is_a_piece() -> None:
    (message,) = cut(b"abc")
    assert message.line == b"abc" and message.partial is not None
    assert message.partial[1:] == (1, False)


def test_long_lines_come_in_pieces_of_one_id_and_time() -> None:
    messages = cut(b"x" * (2 * MAX_LINE + 5) + b"\ny\n")
    assert [len(m.line) for m in messages] == [MAX_LINE, MAX_LINE, 5, 1]
    partials = [m.partial for m in messages[:3]]
    assert [p[1:] for p in partials if p] == [(1, False), (2, False), (3, True)]
    assert len({p[0] for p in partials if p}) == 1
    assert len({m.at for m in messages[:3]}) == 1
    assert messages[3].partial is None


def test_a_line_of_just_the_size_ends_in_an_empty_piece() -> None:
    messages = cut(b"x" * MAX_LINE + b"\n")
    assert [m.line for m in messages] == [b"x" * MAX_LINE, b""]
    assert messages[1].partial and messages[1].partial[2]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 60])
def test_varints(value: int) -> None:
    data = local.varint(value)
    assert varint.decode(data, 0) == (value, len(data))


def test_known_record() -> None:
    message = Message(2, b"hi", 1_000_000_000)
    text = b"\x0a\x06stderr\x10\x80\x94\xeb\xdc\x03\x1a\x02hi\x32\x06\x0a\x01k\x12\x01v"
    size = len(text).to_bytes(4, "big")
    assert local.encode(message, local.encode_attrs({"k": "v"})) == size + text + size


def test_records_of_many_are_the_same() -> None:
    lines = [b"", b"a", b"b", b"x" * 200, b"y" * 200, b"c"]
    messages = [Message(stream, line, at) for at in (5, 500) for stream in (1, 2) for line in lines]
    messages.insert(3, Message(1, b"z", 5, ("ab", 1, False)))
    for attrs in (b"", local.encode_attrs({"k": "v"})):
        assert local.encode_all(messages, attrs) == [local.encode(message, attrs) for message in messages]


def test_pieces_of_any_size_make_the_same_messages() -> None:
    data = b"a\n" + b"x" * (MAX_LINE - 1) + b"\n" + b"y" * (MAX_LINE + 1) + b"\n\nb"
    expected = [(m.line, m.partial and m.partial[1:]) for m in cut(data)]
    for size in (1000, MAX_LINE, MAX_LINE + 1):
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [(m.line, m.partial and m.partial[1:]) for m in cut(*pieces)] == expected


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message(1, b"x", 5), b"x\n"),
        (Message(1, b"x" * 300, 5), b"x" * 300 + b"\n"),
        (Message(1, b"", 5), b"\n"),
        (Message(2, b"x", 5, ("ab", 1, False)), b"x"),
        (Message(2, b"y", 5, ("ab", 300, True)), b"y\n"),
    ],
)
def test_records_are_read_back(message: Message, text: bytes) -> None:
    (record,) = localentries.records(local.encode(message, local.encode_attrs({"b": "2", "a": "ä"})))
    stream, found, key, attrs = localentries.decode(record)
    assert (stream, found) == ({1: b"out", 2: b"err"}[message.stream], text)
    assert key == b"1970-01-01T00:00:00.000000005"
    assert attrs == {"a": "ä", "b": "2"}


@pytest.mark.parametrize("line", [b"", b"x", b"x" * 200])
def test_plain_records_of_today_are_read_back(line: bytes) -> None:
    """The short road of most records leads to the same as the long one."""
    at = 1_795_806_341_025_963_001
    message = Message(2, line, at)
    (record,) = localentries.records(local.encode(message))
    (other,) = localentries.records(local.encode(message, local.encode_attrs({"k": "v"})))
    assert localentries.decode(record) == (b"err", line + b"\n", b"2026-11-27T19:05:41.025963001", {})
    assert localentries.decode(other)[:3] == localentries.decode(record)[:3]

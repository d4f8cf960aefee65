"""The json-file format against a byte-by-byte model of the engine's copier and encoder."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.logs.file import LogFile
from runtime.logs.jsonfile import MAX_LINE, Clock, Encoder, escape


def model_escape(text: bytes) -> bytes:
    out = b""
    position = 0
    while position < len(text):
        byte = text[position]
        if byte < 0x80:
            special = {0x5C: b"\\\\", 0x22: b'\\"', 0x0D: b"\\r", 0x0A: b"\n"}
            if byte in special:
                out += special[byte]
            elif byte < 0x20 or byte in b"<>&":
                out += b"\\u%04x" % byte
            else:
                out += bytes([byte])
            position += 1
            continue
        for length in (2, 3, 4):
            piece = text[position : position + length]
            try:
                character = piece.decode()
            except UnicodeDecodeError:
                continue
            out += {"\u2028": b"\\u2028", "\u2029": b"\\u2029"}.get(character, piece)
            position += length
            break
        else:
            out += b"\\ufffd"
            position += 1
    return out


_RAW = [
    b"\\",
    b'"',
    b"<",
    b">",
    b"&",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x7f",
    b"\x1b",
    b"\xe2",
    b"\x80",
    b"\xa8",
]
_BROKEN = [b"\xed\xa0\x80", b"\xf0\x9f", b"\xc0\xaf", b"\xff", b"\xf4\x90\x80\x80"]
_CHARACTERS = [character.encode() for character in "a\u2028\u2029é😀\ufffd"]
_NASTY = st.lists(st.sampled_from([*_RAW, *_BROKEN, *_CHARACTERS]), max_size=40).map(b"".join)


@given(_NASTY)
def test_escapes_as_go_does(text: bytes) -> None:
    assert escape(text) == model_escape(text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (b"a\tb", b"a\\u0009b"),
        (b"<a&b>", b"\\u003ca\\u0026b\\u003e"),
        (b'say "\\n"\r', b'say \\"\\\\n\\"\\r'),
        (b"\x7f", b"\x7f"),
        (b"\xe2\x80x", b"\\ufffd\\ufffdx"),
        ("\u2028".encode(), b"\\u2028"),
    ],
)
def test_known_escapes(text: bytes, escaped: bytes) -> None:
    assert escape(text) == escaped


class Frozen(Clock):
    """A clock that counts its stamps."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def stamp(self, now: int | None = None) -> bytes:
        self.count += 1
        return b"T%d" % self.count


def texts(entries: bytes) -> list[str]:
    return [json.loads(line)["log"] for line in entries.splitlines()]


def test_one_entry_is_exact() -> None:
    encoder = Encoder("stderr", Frozen(), b'{"tag":"x"}')
    assert encoder.feed(b"hi\n") == b'{"log":"hi\\n","stream":"stderr","attrs":{"tag":"x"},"time":"T1"}\n'


def test_a_line_waits_for_its_newline() -> None:
    encoder = Encoder("stdout", Frozen())
    assert encoder.feed(b"one\ntw") == b'{"log":"one\\n","stream":"stdout","time":"T1"}\n'
    assert encoder.feed(b"o") == b""
    assert texts(encoder.feed(b"\n\n")) == ["two\n", "\n"]


def test_the_last_line_needs_none() -> None:
    encoder = Encoder("stdout", Frozen())
    assert encoder.feed(b"end") == b""
    assert encoder.finish() == b'{"log":"end","stream":"stdout","time":"T1"}\n'
    assert encoder.finish() == b""


def test_long_lines_are_cut_and_keep_the_first_time() -> None:
    encoder = Encoder("stdout", Frozen())
    entries = encoder.feed(b"x" * (2 * MAX_LINE))
    entries += encoder.feed(b"")
    entries += encoder.feed(b"\nnext\n")
    assert [len(text) for text in texts(entries)] == [MAX_LINE, MAX_LINE, 1, 5]
    assert [json.loads(line)["time"] for line in entries.splitlines()] == ["T1", "T1", "T1", "T2"]


def test_a_newline_just_in_time() -> None:
    encoder = Encoder("stdout", Frozen())
    assert texts(encoder.feed(b"x" * (MAX_LINE - 1) + b"\n")) == ["x" * (MAX_LINE - 1) + "\n"]


def model_lines(data: bytes) -> list[bytes]:
    out = []
    for line in data.splitlines(keepends=True) if b"\r" not in data else [data]:
        rest = line
        while len(rest) > MAX_LINE or (len(rest) == MAX_LINE and not rest.endswith(b"\n")):
            out.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        if rest:
            out.append(rest)
    return out


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 7, 100, MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 40000]), max_size=6),
    st.booleans(),
    st.lists(st.integers(1, 50000), min_size=1, max_size=5),
)
def test_pieces_do_not_matter(lengths: list[int], ended: bool, sizes: list[int]) -> None:
    data = b"\n".join(b"y" * length for length in lengths) + (b"\n" if ended else b"")
    encoder = Encoder("stdout", Clock())
    entries = b""
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        entries += encoder.feed(data[position : position + size])
        position += size
        turn += 1
    entries += encoder.finish()
    assert [text.encode() for text in texts(entries)] == model_lines(data)


def test_times_are_as_go_writes_them_and_never_go_back() -> None:
    clock = Clock()
    second = 1_795_800_587
    assert clock.stamp(second * 10**9) == b"2026-11-27T17:29:47Z"
    assert clock.stamp(second * 10**9 + 120_000_000) == b"2026-11-27T17:29:47.12Z"
    assert clock.stamp(second * 10**9 + 5) == b"2026-11-27T17:29:47.12Z"
    assert clock.stamp(second * 10**9 + 120_000_001) == b"2026-11-27T17:29:47.120000001Z"


def entry(number: int) -> bytes:
    return b'{"log":"%04d"}\n' % number


def test_rotation_keeps_whole_entries(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(str(path), max_size=3 * len(entry(0)), max_file=3)
    log.write(b"".join(entry(number) for number in range(4)))
    for number in range(4, 8):
        log.write(entry(number))
    log.close()
    assert path.read_bytes() == entry(6) + entry(7)
    assert (tmp_path / "x.log.1").read_bytes() == entry(3) + entry(4) + entry(5)
    assert (tmp_path / "x.log.2").read_bytes() == entry(0) + entry(1) + entry(2)
    assert len(list(tmp_path.iterdir())) == 3


def test_rotation_drops_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(str(path), max_size=1, max_file=2)
    for number in range(5):
        log.write(entry(number))
    assert path.read_bytes() == entry(4)
    assert (tmp_path / "x.log.1").read_bytes() == entry(3)
    assert len(list(tmp_path.iterdir())) == 2


def test_rotation_with_one_file_starts_anew_and_leaves_readers_theirs(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(str(path), max_size=1)
    log.write(entry(0))
    with path.open("rb") as reader:
        log.write(entry(1))
        assert reader.read() == entry(0)
    assert path.read_bytes() == entry(1)


def test_a_restart_appends_and_counts_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    first = LogFile(str(path), max_size=2 * len(entry(0)), max_file=2)
    first.write(entry(0))
    first.close()
    second = LogFile(str(path), max_size=2 * len(entry(0)), max_file=2)
    second.write(entry(1) + entry(2))
    assert path.read_bytes() == entry(2)
    assert (tmp_path / "x.log.1").read_bytes() == entry(0) + entry(1)
    assert path.stat().st_mode & 0o777 == 0o640


def test_compressed_rotation(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "x.log"
    log = LogFile(str(path), max_size=1, max_file=3, compress=True)
    for number in range(3):
        log.write(entry(number))
    log.close()  # waits for what is being compressed
    assert gzip.decompress((tmp_path / "x.log.1.gz").read_bytes()) == entry(1)
    assert gzip.decompress((tmp_path / "x.log.2.gz").read_bytes()) == entry(0)
    assert path.read_bytes() == entry(2)

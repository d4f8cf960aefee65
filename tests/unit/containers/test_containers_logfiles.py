"""Following a log over rotations, and the local form of it."""

from pathlib import Path

import pytest

from compatd.engine.containers.localentries import LocalConverter
from compatd.engine.containers.logentries import LogQuery
from compatd.engine.containers.logfiles import Form, Lines, LogReader, Records
from runtime.logs import local
from runtime.logs.file import LogFile
from runtime.logs.messages import Message

_TIMES = iter(range(1, 1_000_000_000))


def json_line(text: str) -> bytes:
    when = f"2026-01-01T00:00:00.{next(_TIMES):09}Z"
    return f'{{"log":"{text}\\n","stream":"stdout","time":"{when}"}}\n'.encode()


def record(text: str) -> bytes:
    return local.encode(Message(1, text.encode(), next(_TIMES)))


def read_all(reader: LogReader) -> bytes:
    return b"".join(iter(reader.read, b""))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("form", [Lines(), Records()])
@pytest.mark.parametrize("between", [1, 3, 7])
def test_no_entry_is_missed_or_told_twice_over_rotations(
    form: Form, compress: bool, between: int, tmp_path: Path
) -> None:
    """A follower that looks only now and then, while files are rotated several times."""
    path = tmp_path / "log"
    log = LogFile(str(path), max_size=300, max_file=10, compress=compress)
    make = json_line if isinstance(form, Lines) else record
    reader = LogReader(path, -1, form)
    written = found = b""
    for number in range(60):
        entry = make(f"{number:04} {'x' * 40}")
        written += entry
        log.write_records([entry])
        if number % between == 0:
            found += read_all(reader)
            assert written == found
    log.close()
    found += read_all(reader)
    assert found == written
    reader.close()


def test_with_one_file_the_newest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), max_size=1, max_file=1)
    reader = LogReader(path)
    entries = [json_line(str(number)) for number in range(5)]
    log.write(entries[0])
    assert read_all(reader) == entries[0]
    for entry in entries[1:]:
        log.write(entry)
    assert read_all(reader) == entries[-1]
    log.close()
    reader.close()


def test_a_log_that_begins_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = LogReader(path)
    assert read_all(reader) == b""
    path.write_bytes(b"1\n")
    assert read_all(reader) == b"1\n"
    reader.close()


def test_records_in_the_writing_wait(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one, two = record("one"), record("two")
    path.write_bytes(one + two[:-1])
    for tail, expected in ((-1, one), (1, one), (0, b"")):
        reader = LogReader(path, tail, Records())
        assert read_all(reader) == expected
        with path.open("ab") as file:
            file.write(two[-1:])
        if tail:
            assert read_all(reader) == two
        reader.close()
        path.write_bytes(one + two[:-1])


@pytest.mark.parametrize("tail", [1, 2, 3, 99])
def test_tail_of_records(tail: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    entries = [record(str(number)) for number in range(3)]
    path.write_bytes(b"".join(entries))
    reader = LogReader(path, tail, Records())
    assert read_all(reader) == b"".join(entries[-tail:])
    reader.close()


def test_damaged_records_are_left_out() -> None:
    bad = (4).to_bytes(4, "big") + b"\xff\xff\xff\xff" + (4).to_bytes(4, "big")
    data = record("a") + bad + record("b")
    assert LocalConverter(LogQuery(), framed=False).feed(data) == b"a\nb\n"


def test_queries_of_records() -> None:
    data = b"".join(
        local.encode(Message(stream, text, at), local.encode_attrs({"k": "v"}))
        for stream, text, at in ((1, b"a", 10), (2, b"b", 20), (1, b"c", 30))
    )

    def convert(framed: bool = False, **query: object) -> bytes:
        return LocalConverter(LogQuery(**query), framed=framed).feed(data)  # type: ignore[arg-type]

    assert convert(stdout=False) == b"b\n"
    assert convert(since=20) == b"b\nc\n"
    assert convert(until=20) == b"a\nb\n"
    assert convert(details=True, since=30) == b"k=v c\n"
    assert convert(timestamps=True, since=30) == b"1970-01-01T00:00:00.000000030Z c\n"
    assert convert(framed=True, since=20) == b"\2\0\0\0\0\0\0\2b\n\1\0\0\0\0\0\0\2c\n"


@pytest.mark.parametrize(("tail", "expected"), [(-1, b"a\nb\n"), (1, b"b\n"), (0, b"")])
def test_without_following_only_what_was_there_is_read(tmp_path: Path, tail: int, expected: bytes) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(b"a\nb\n")
    reader = LogReader(path, tail, follow=False)
    with path.open("ab") as writer:
        writer.write(b"c\n")
    found = b""
    while data := reader.read():
        found += data
    reader.close()
    assert found == expected

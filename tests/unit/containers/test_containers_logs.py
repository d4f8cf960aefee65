"""Reading json-file logs: formats, tails, rotation."""

import gzip
from pathlib import Path

import pytest

from compatd.engine.containers.logentries import Converter, LogQuery, moment_key
from compatd.engine.containers.logfiles import LogReader
from compatd.engine.timestamps import from_rfc3339

TIME = "2026-11-27T18:14:58.{}Z"


def line(text: str, stream: str = "stdout", fraction: str = "5", attrs: str = "") -> bytes:
    return f'{{"log":"{text}","stream":"{stream}",{attrs}"time":"{TIME.format(fraction)}"}}\n'.encode()


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def convert(lines: bytes, query: LogQuery | None = None, *, framed: bool = True) -> bytes:
    return Converter(query or LogQuery(), framed=framed).feed(lines)


def test_each_entry_is_a_frame() -> None:
    lines = line("a\\n") + line("b", "stderr") + line("\\r\\n")
    assert convert(lines) == frame(1, b"a\n") + frame(2, b"b") + frame(1, b"\r\n")


def test_terminals_get_plain_text() -> None:
    assert convert(line("a\\r\\n") + line("b"), framed=False) == b"a\r\nb"


def test_escapes_and_attributes() -> None:
    lines = line('q\\"\\u003c\\t\\u00e4\\n') + line("x\\n", attrs='"attrs":{"k":"v"},')
    assert convert(lines) == frame(1, 'q"<\tä\n'.encode()) + frame(1, b"x\n")


def test_damaged_lines_are_left_out() -> None:
    assert convert(line("a") + b'{"log":"bro\n' + b"\0\0\0\n" + b"\n" + line("b")) == frame(1, b"a") + frame(
        1, b"b"
    )


def test_one_stream() -> None:
    lines = line("a") + line("b", "stderr")
    assert convert(lines, LogQuery(stdout=False)) == frame(2, b"b")
    assert convert(lines, LogQuery(stderr=False)) == frame(1, b"a")


def test_timestamps_have_nine_digits() -> None:
    found = convert(
        line("a\\n", fraction="12") + line('"', fraction="123456789").replace(b'"""', b'"\\""'),
        LogQuery(timestamps=True),
        framed=False,
    )
    assert found == b'2026-11-27T18:14:58.120000000Z a\n2026-11-27T18:14:58.123456789Z "'


def test_details() -> None:
    lines = line("x\\n", attrs='"attrs":{"b":"1 2","a":"v"},') + line("y\\n")
    assert convert(lines, LogQuery(details=True), framed=False) == b"a=v,b=1+2 x\n y\n"


def test_since_and_until() -> None:
    lines = b"".join(line(str(number), fraction=f"{number}00") for number in range(1, 6))
    middle = from_rfc3339(TIME.format("3"))
    assert convert(lines, LogQuery(since=middle), framed=False) == b"345"
    converter = Converter(LogQuery(until=middle), framed=False)
    assert converter.feed(lines) == b"123"
    assert converter.done


def test_moment_key() -> None:
    assert moment_key(from_rfc3339("2026-01-02T03:04:05Z")) == b"2026-01-02T03:04:05.000000000"


def read_all(reader: LogReader) -> bytes:
    found = b""
    while data := reader.read():
        found += data
    return found


def test_reader_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    reader = LogReader(path)
    assert read_all(reader) == b"one\n"
    with path.open("ab") as file:
        file.write(b"o\n")
    assert read_all(reader) == b"two\n"
    reader.close()


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (-1, b"1\n2\n3\n4\n5\n"),
        (0, b""),
        (1, b"5\n"),
        (2, b"4\n5\n"),
        (3, b"3\n4\n5\n"),
        (99, b"1\n2\n3\n4\n5\n"),
    ],
)
def test_tail_over_rotated_files(tmp_path: Path, tail: int, expected: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"4\n5\n")
    Path(f"{path}.1").write_bytes(b"3\n")
    Path(f"{path}.2.gz").write_bytes(gzip.compress(b"1\n2\n"))
    reader = LogReader(path, tail)
    assert read_all(reader) == expected
    reader.close()


def test_tail_over_blocks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"%d %s\n" % (number, b"x" * 997) for number in range(300)]
    path.write_bytes(b"".join(lines))
    for tail in (1, 65, 66, 200, 300, 301):
        reader = LogReader(path, tail)
        assert read_all(reader) == b"".join(lines[-tail:])
        reader.close()


def test_rotation_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n")
    reader = LogReader(path)
    assert read_all(reader) == b"1\n"
    with path.open("ab") as file:
        file.write(b"2\n")
    path.rename(f"{path}.1")
    path.write_bytes(b"3\n")
    assert read_all(reader) == b"2\n3\n"
    reader.close()


def test_no_log_yet(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "none", 5)
    assert read_all(reader) == b""
    (tmp_path / "none").write_bytes(b"1\n")
    assert read_all(reader) == b"1\n"
    reader.close()

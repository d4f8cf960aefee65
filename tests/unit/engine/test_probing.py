"""A probe's output: demultiplexed, limited, made text as Go's JSON would."""

import struct

import pytest

from compatd.engine.probing import LimitedOutput


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


@pytest.mark.parametrize("step", [1, 3, 8, 1000])
def test_frames_cut_anywhere(step: int) -> None:
    data = frame(1, b"out") + frame(2, b"") + frame(2, b" err\n")
    output = LimitedOutput()
    for start in range(0, len(data), step):
        output.feed(data[start : start + step])
    assert output.text() == "out err\n"


def test_limit() -> None:
    output = LimitedOutput()
    output.feed(frame(1, b"x" * 4096))
    assert output.text() == "x" * 4096
    output.feed(frame(2, b"y"))
    assert output.text() == "x" * 4096 + "..."


def test_bytes_that_are_no_text() -> None:
    output = LimitedOutput(5)
    output.feed(frame(1, b"\xff\xfea" + "é€".encode()))
    assert output.text() == "\ufffd\ufffdaé..."
    output = LimitedOutput(2)
    output.feed(frame(1, "€".encode()))
    assert output.text() == "\ufffd\ufffd..."

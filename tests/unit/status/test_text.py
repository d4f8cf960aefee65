"""Prometheus' text, held against what dockerd 26.1 wrote."""

import asyncio

import pytest

from compatd.engine.metrics import Counter, Histogram, timed
from compatd.status import text
from compatd.status.metrics import of_process


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (20000, "20000"),
        (0.093764859, "0.093764859"),
        (6.827100000000001e-05, "6.827100000000001e-05"),
        (25276514304, "2.5276514304e+10"),
        (1 << 64, "1.8446744073709552e+19"),
        (1.79581679472e09, "1.79581679472e+09"),
        (999999, "999999"),
        (1000000, "1e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-1.5, "-1.5"),
        (1234567.5, "1.2345675e+06"),
        (100.25, "100.25"),
        (-2000000.5, "-2.0000005e+06"),
    ],
)
def test_numbers_as_go_writes_them(value: float, shown: str) -> None:
    assert text.number(value) == shown


def test_labels_cannot_break_out() -> None:
    assert text.labelled("x", {"b": 'a"\n\\', "a": "1"}) == 'x{a="1",b="a\\"\\n\\\\"}'


def test_a_histogram_adds_up() -> None:
    histogram = Histogram()
    for seconds in (0.001, 0.005, 0.3, 11):
        histogram.observe("start", seconds)
    lines = text.histogram("h", "about", "action", histogram)
    assert lines[:2] == ["# HELP h about", "# TYPE h histogram"]
    buckets = [line.rpartition(" ")[2] for line in lines if "_bucket" in line]
    assert buckets == ["2", "2", "2", "2", "2", "2", "3", "3", "3", "3", "3", "4"]
    assert lines[2] == 'h_bucket{action="start",le="0.005"} 2'
    assert 'h_bucket{action="start",le="+Inf"} 4' in lines
    assert lines[-1] == 'h_count{action="start"} 4'


def test_an_unlabelled_histogram_is_there_from_the_start() -> None:
    histogram = Histogram()
    histogram.declare("")
    assert "h_count 0" in text.histogram("h", "about", "", histogram)
    counter = Counter()
    counter.add()
    assert text.counter("c", "about", counter)[-1] == "c 1"


def test_only_what_succeeds_is_timed() -> None:
    histogram = Histogram()

    @timed(histogram, "x")
    async def work(fail: bool) -> int:
        if fail:
            raise ValueError
        return 7

    assert asyncio.run(work(False)) == 7
    with pytest.raises(ValueError):
        asyncio.run(work(True))
    assert sum(histogram.series["x"][:-1]) == 1


def test_the_process() -> None:
    lines = of_process()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    assert values["process_resident_memory_bytes"] > 1 << 20
    assert values["process_open_fds"] >= 3
    assert values["process_start_time_seconds"] > 1.5e9
    assert len(values) == 9

"""Times of history entries: those that dockerd 26.1 gave for the same steps."""

import pytest

from compatd.engine.builder.finishing import filled, known_times


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([0], [0]),
        ([5, 0], [5, 5]),  # nothing but metadata: the base's
        ([5, 10, 20, 0, 30, 40], [5, 10, 20, 30, 30, 40]),  # the first takes the time of the layer after it
        ([5, 0, 10, 0, 20, 0], [5, 10, 10, 10, 20, 20]),  # the others that of the layer before
        ([0, 0], [0, 0]),
    ],
)
def test_entries_without_a_layer(times: list[int], expected: list[int]) -> None:
    assert filled(times) == expected


def test_times_of_a_base() -> None:
    history = [{"created": "2026-11-28T00:00:01.5Z"}, {}, {"created": "no time"}]
    assert known_times({"history": history}) == (1795824001500000000, 0, 0)
    assert known_times({}) == ()

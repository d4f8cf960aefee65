"""Times in the API's forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compatd.engine.timestamps import from_rfc3339, parse_timestamp, rfc3339


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_454_383_724_760_697, "2026-11-23T17:19:43.724760697Z"),
        (1_795_454_383_700_000_000, "2026-11-23T17:19:43.7Z"),
    ],
)
def test_rfc3339(nanoseconds: int, text: str) -> None:
    assert rfc3339(nanoseconds) == text
    assert from_rfc3339(text) == nanoseconds


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_round_trip(nanoseconds: int) -> None:
    assert from_rfc3339(rfc3339(nanoseconds)) == nanoseconds


def test_zone() -> None:
    assert from_rfc3339("1970-01-01T01:00:00.5+01:00") == 500_000_000
    with pytest.raises(ValueError, match="not an RFC 3339 time"):
        from_rfc3339("yesterday")


def test_seconds() -> None:
    assert parse_timestamp("12") == 12_000_000_000
    assert parse_timestamp("12.5") == 12_500_000_000
    assert parse_timestamp("12.000000001") == 12_000_000_001
    with pytest.raises(ValueError, match='invalid timestamp "abc": invalid seconds "abc": invalid syntax'):
        parse_timestamp("abc")
    with pytest.raises(ValueError, match="invalid nanoseconds"):
        parse_timestamp("1.x")

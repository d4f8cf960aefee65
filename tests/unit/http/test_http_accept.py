"""Accept: which form of a JSON stream a client asks for."""

import pytest

from compatd.http.accept import JSON_STREAMS, named


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/*", ""),
        ("application/json", ""),
        ("application/json-seq", "application/json-seq"),
        ("text/html, application/x-ndjson", "application/x-ndjson"),
        ("application/json-seq, application/jsonl", "application/jsonl"),
        ("application/jsonl;q=0.5, application/json-seq;q=0.9", "application/json-seq"),
        ("application/jsonl;q=0", ""),
        ("application/jsonl;q=odd", ""),
        ("Application/JSON-Seq ; q=1", "application/json-seq"),
    ],
)
def test_named(header: str, chosen: str) -> None:
    assert named(header, JSON_STREAMS) == chosen

"""The Accept header (RFC 9110, 12.5.1), as far as the API goes by it."""

from __future__ import annotations

from collections.abc import Sequence

JSON_LINES = "application/jsonl"
NDJSON = "application/x-ndjson"
JSON_SEQUENCE = "application/json-seq"

JSON_STREAMS = (JSON_LINES, NDJSON, JSON_SEQUENCE)
"""The forms of a stream of JSON objects; in the last one each begins with RECORD_SEPARATOR (RFC 7464)."""

RECORD_SEPARATOR = b"\x1e"


def named(accept: str, offers: Sequence[str]) -> str:
    """The offer that the header names with the highest weight, "" for none; wildcards do not count."""
    best, best_weight = "", 0.0
    weights = dict(reversed([_entry(part) for part in accept.split(",")]))
    for offer in offers:
        weight = weights.get(offer, 0.0)
        if weight > best_weight:
            best, best_weight = offer, weight
    return best


def _entry(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return kind.lower(), weight

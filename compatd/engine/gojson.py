"""JSON as Go's encoding/json writes it, where the bytes matter: an image's ID is the digest of its config."""

import json
from typing import Any

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_TABLE = str.maketrans(_ESCAPES)


def dumps(value: Any) -> bytes:
    """Compact, keys in the given order, HTML's signs escaped.

    Python writes \\b and \\f as two signs where Go (before 1.22) writes \\u0008 and \\u000c.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).translate(_TABLE)
    return text.encode("utf-8", "replace")


def indented(value: Any) -> bytes:
    """As `dumps`, two spaces a level: what Go's MarshalIndent writes for manifests."""
    text = json.dumps(value, indent=2, ensure_ascii=False).translate(_TABLE)
    return text.encode("utf-8", "replace")

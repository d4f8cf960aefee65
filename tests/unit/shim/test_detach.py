"""Detach keys, as the engine's escape proxy treats them."""

import pytest

from runtime.shim.detach import DetachKeys


@pytest.mark.parametrize(
    ("keys", "chunks", "out", "detached"),
    [
        (b"", [b"ls\n"], b"ls\n", False),
        (b"", [b"a\x10\x11b"], b"a", True),
        (b"", [b"a\x10", b"\x11"], b"a", True),
        (b"", [b"a\x10", b"b"], b"a\x10b", False),
        (b"", [b"a\x10"], b"a", False),
        # The byte that breaks a match is no new start.
        (b"", [b"\x10\x10\x11"], b"\x10\x10\x11", False),
        (b"x", [b"abx"], b"ab", True),
        (b"abc", [b"ab", b"d", b"abc"], b"abd", True),
    ],
)
def test_keys(keys: bytes, chunks: list[bytes], out: bytes, detached: bool) -> None:
    filtered = DetachKeys(keys)
    passed = b""
    found = False
    for chunk in chunks:
        data, found = filtered.feed(chunk)
        passed += data
    assert (passed, found) == (out, detached)

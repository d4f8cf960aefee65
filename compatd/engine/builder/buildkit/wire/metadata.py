"""gRPC's metadata and timeouts as HTTP/2 headers."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from compatd.engine.builder.buildkit.wire.status import unpadded
from compatd.engine.builder.buildkit.wire.streams import Headers

Metadata = Mapping[str, Sequence[str]]
"""Lower-case names and their values in order; of names that end in `-bin` the bytes, as Latin-1 text."""

_RESERVED = frozenset(("content-type", "te", "user-agent"))
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])\Z")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def received(headers: Headers) -> dict[str, list[str]]:
    """The metadata in a head or in trailers, gRPC's own fields among them."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name[:1] == ":" or name in _RESERVED:
            continue
        if name.endswith("-bin") and name != "grpc-status-details-bin":
            for part in value.split(","):
                try:
                    found.setdefault(name, []).append(unpadded(part).decode("latin-1"))
                except ValueError:
                    continue
        else:
            found.setdefault(name, []).append(value)
    return found


def sent(metadata: Mapping[str, str | Sequence[str]] | None) -> Headers:
    """Headers for metadata; a text alone is one value."""
    headers: Headers = []
    for name, values in (metadata or {}).items():
        name = name.lower()
        for value in (values,) if isinstance(values, str) else values:
            if name.endswith("-bin"):
                value = base64.b64encode(value.encode("latin-1")).rstrip(b"=").decode()
            headers.append((name, value))
    return headers


def first(metadata: Metadata, name: str, default: str = "") -> str:
    """A name's first value."""
    return next(iter(metadata.get(name, ())), default)


def timeout_text(seconds: float) -> str:
    """A grpc-timeout."""
    for unit in ("n", "u", "m", "S", "M", "H"):
        count = max(0, int(seconds / _UNITS[unit]))
        if count < 100_000_000:
            return f"{count}{unit}"
    return "99999999H"


def timeout_seconds(text: str) -> float | None:
    """The other way. Raises ValueError; None when there is none."""
    if not text:
        return None
    found = _TIMEOUT.match(text)
    if found is None:
        raise ValueError(f"malformed grpc-timeout: {text!r}")
    return int(found[1]) * _UNITS[found[2]]

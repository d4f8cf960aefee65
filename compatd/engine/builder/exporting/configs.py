"""An image's config, changed after the build: with an inline cache, other layers, earlier times.

The names at the top are in order, what is below them stays as it came: so BuildKit writes it.
Source: moby/buildkit exporter/containerimage/writer.go (patchImageConfig).
"""

import base64
import json
from collections.abc import Sequence
from typing import Any

from compatd.engine import gojson, timestamps

Json = dict[str, Any]

INLINE_CACHE = "moby.buildkit.cache.v0"


def patched(
    config: bytes,
    *,
    diff_ids: Sequence[str] | None = None,
    inline_cache: bytes | None = None,
    epoch: int | None = None,
    base_history: Sequence[Json] = (),
) -> bytes:
    """The config with these layers, that cache, and no time after `epoch` (s), but for the base's own."""
    document: Json = json.loads(config)
    if diff_ids is not None:
        document["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
    if inline_cache is not None:
        document[INLINE_CACHE] = base64.b64encode(inline_cache).decode()
    if epoch is not None:
        _clamp(document, epoch, base_history)
    return gojson.dumps(dict(sorted(document.items())))


def _clamp(document: Json, epoch: int, base_history: Sequence[Json]) -> None:
    last = timestamps.rfc3339(epoch * 1_000_000_000)
    own = False
    history = []
    for at, item in enumerate(document.get("history") or []):
        # What the base says of its own layers stays as long as it is the base
        own = own or at >= len(base_history) or item != base_history[at]
        history.append(_earlier(item, last) if own else item)
    if history:
        document["history"] = history
    if "created" in document:
        document["created"] = _earlier({"created": document["created"]}, last)["created"]


def _earlier(item: Json, last: str) -> Json:
    created = item.get("created")
    if created and timestamps.from_rfc3339(str(created)) <= timestamps.from_rfc3339(last):
        return item
    rest = {name: value for name, value in item.items() if name != "created"}
    return {"created": last, **rest}

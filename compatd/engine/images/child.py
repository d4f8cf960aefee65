"""The document of an image that is made of another and one step: of a commit, of the classic builder's.

Source: moby image (NewChildImage), images saved by a real engine (fields and their order).
"""

from collections.abc import Mapping
from typing import Any

from compatd import VERSION
from compatd.engine import gojson

Json = dict[str, Any]


def document(
    parent: Mapping[str, Any],
    entry: Json,
    config: Json,
    *,
    author: str,
    container: str,
    container_config: Json,
    diff_id: str | None,
    architecture: str = "",
) -> bytes:
    """The JSON. `parent` is that of the image before (for none: its platform alone).

    `entry`: the step's in the history, with the image's time; `diff_id`: of its layer, None where it made
    none; `architecture`: where the parent has none.
    """
    diff_ids = list((parent.get("rootfs") or {}).get("diff_ids") or [])
    if diff_id is None:
        entry = {**entry, "empty_layer": True}
    else:
        diff_ids.append(diff_id)
    found: Json = {
        "architecture": parent.get("architecture") or architecture,
        "author": author,
        "config": config,
        "container": container,
        "container_config": container_config,
        "created": entry["created"],
        "docker_version": VERSION,
        "history": [*(parent.get("history") or []), entry],
        "os": parent.get("os") or "linux",
        "os.version": parent.get("os.version"),
        "os.features": parent.get("os.features"),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "variant": parent.get("variant"),
    }
    return gojson.dumps({key: value for key, value in found.items() if value or key == "architecture"})

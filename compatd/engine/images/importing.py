"""`docker import`: a root file system's tar becomes an image of one layer."""

import os
import time
from collections.abc import AsyncIterator
from typing import Any

from compatd import VERSION
from compatd.engine import gojson, timestamps
from compatd.engine.errors import InvalidParameter
from compatd.engine.images import changes as dockerfile
from compatd.engine.images.index import Index
from compatd.engine.images.layers import Layers
from compatd.engine.images.model import Image
from compatd.engine.images.platform import Platform

Json = dict[str, Any]


def image_config(diff_id: str, platform: Platform, config: Json, comment: str, created: int) -> bytes:
    """The config JSON that the engine writes for an imported image, byte for byte; `created` in ns."""
    moment = timestamps.rfc3339(created)
    document: Json = {"architecture": platform.architecture}
    if comment:
        document["comment"] = comment
    document["config"] = config
    document["container_config"] = dockerfile.empty_config()
    document["created"] = moment
    document["docker_version"] = VERSION
    entry = {"created": moment}
    if comment:
        entry["comment"] = comment
    document["history"] = [entry]
    document["os"] = platform.os
    document["rootfs"] = {"type": "layers", "diff_ids": [diff_id]}
    if platform.variant:
        document["variant"] = platform.variant
    return gojson.dumps(document)


async def import_image(
    index: Index,
    layers: Layers,
    chunks: AsyncIterator[bytes],
    *,
    message: str,
    changes: list[str],
    platform: Platform,
) -> Image:
    """Make the image; raises InvalidParameter for bad changes, EngineError for a bad archive."""
    if platform.os != os.uname().sysname.lower():
        raise InvalidParameter(f'operating system is not supported: "{platform.os}"')
    config = dockerfile.apply(dockerfile.empty_config(), changes)
    with index.pinned() as pins:
        layer = await layers.from_stream(chunks, pins)
        raw = image_config(layer.diff_id, platform, config, message, time.time_ns())
        return index.create(raw)

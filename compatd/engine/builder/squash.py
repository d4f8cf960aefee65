"""`docker build --squash`: all layers of a build as one, on top of the base. Source: moby daemon/images."""

import time
from typing import TYPE_CHECKING, Any

from compatd.engine import gojson, timestamps
from compatd.engine.errors import EngineError
from compatd.engine.images.index import Pins
from compatd.engine.images.model import Image
from runtime.client.types import WorkerError

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]

SQUASH = "runtime.storage.squashing:run"


async def squash(builder: "Builder", image: Image, parent: Image | None, pins: Pins) -> Image:
    """The image with the layers above `parent` (None: all of them) as one. Raises EngineError."""
    below = list(parent.chain_ids) if parent else []
    document: Json = dict(image.config)
    layer = await _layer(builder, image.chain_ids[len(below) :], below, pins)
    known = len(parent.config.get("history") or ()) if parent else 0
    history = [dict(entry) for entry in document.get("history") or ()]
    for entry in history[known:]:
        entry["empty_layer"] = True
    now = timestamps.rfc3339(time.time_ns())
    told = f"merge {image.id} to {parent.id}" if parent else f"create new from {image.id}"
    document["history"] = [*history, {"created": now, "comment": told}]
    document["created"] = now
    diff_ids = [builder.engine.images.index.layers[chain].diff_id for chain in below]
    document["rootfs"] = {"type": "layers", "diff_ids": [*diff_ids, layer.diff_id]}
    return builder.engine.images.index.create(gojson.dumps(document))


async def _layer(builder: "Builder", above: list[str], below: list[str], pins: Pins) -> Any:
    storage = builder.engine.storage
    prepared = storage.prepare_layer()
    arguments = {
        "target": str(prepared / "diff"),
        "layers": [str(storage.layer_path(chain) / "diff") for chain in reversed(above)],
        "below": [str(storage.layer_path(chain) / "diff") for chain in reversed(below)],
    }
    try:
        answer = await builder.engine.runtime.worker(SQUASH, arguments)
        if answer.get("error"):
            raise EngineError(f"error squashing image: {answer['error']}")
        result = await builder.snapshots.seal(prepared)
        parent = below[-1] if below else ""
        return builder.engine.images.layers.from_folder(prepared, parent, result, pins)
    except WorkerError as error:
        raise EngineError(str(error)) from error
    finally:
        storage.discard(prepared)

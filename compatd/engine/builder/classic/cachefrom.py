"""`cachefrom` of the classic builder: images whose steps need not be done again, whoever has made them.

Source: moby daemon/builder (image cache): rules, and what an image made up from another's history holds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from compatd.engine import gojson, timestamps
from compatd.engine.builder.classic.documents import child, config_of
from compatd.engine.errors import InvalidParameter, NotFound
from compatd.engine.images import Images
from compatd.engine.images.model import Image

Json = dict[str, Any]


class CacheFrom:
    """The images of one build; those that are not here are left out. One that has fitted is the only one."""

    def __init__(self, images: Images, names: Sequence[str]) -> None:
        self._index = images.index
        self._targets: list[Image] = []
        for name in names:
            try:
                self._targets.append(images.resolve(name))
            except (NotFound, InvalidParameter):
                continue

    def holds(self, image: Image) -> bool:
        """Whether one of them is that image, or was made from it."""
        for target in self._targets:
            found: Image | None = target
            while found is not None:
                if found.id == image.id:
                    return True
                found = self._index.images.get(found.parent)
        return False

    def find(self, parent: Image | None, created_by: str, config: Mapping[str, Any]) -> Image | None:
        """The image after a step on `parent` (None: scratch) that one of them has in its history.

        `config` is that after the step. It may have to be made: of that history and of the target's layers.
        """
        for target in self._targets:
            at = len(_history(parent))
            history = _history(target)
            if _continues(target, parent) and history[at].get("created_by", "") == created_by:
                self._targets = [target]
                return self._made(parent, target, at, config)
        return None

    def _made(self, parent: Image | None, target: Image, at: int, config: Mapping[str, Any]) -> Image:
        history = _history(target)
        own = _plain(config_of(config, ""))
        if len(history) == at + 1 and _plain(target.config.get("config") or {}) == own:
            if parent and not target.parent:
                self._index.tie(target, parent)
            return target
        entry = history[at]
        diff_id = None
        if not entry.get("empty_layer"):
            place = sum(not one.get("empty_layer") for one in history[:at])
            diff_id = target.config["rootfs"]["diff_ids"][place]
        below = parent.config if parent else target.config | {"history": [], "rootfs": {}}
        raw = child(
            below,
            config,
            created_by=str(entry.get("created_by", "")),
            created=_moment(entry),
            parent_id=parent.id if parent else "",
            author=str(entry.get("author", "")),
            diff_id=diff_id,
        )
        document: Json = json.loads(raw)
        document["history"][-1] = entry  # the same again, or the next step would not fit
        return self._index.create(gojson.dumps(document), parent.id if parent else "")


def _plain(config: Mapping[str, Any]) -> Json:
    """What matters of a config; what is empty is not there."""
    return {key: value for key, value in config.items() if value and key not in ("Image", "Hostname")}


def _moment(entry: Json) -> int:
    try:
        return timestamps.from_rfc3339(str(entry.get("created")))
    except ValueError:
        return 0


def _history(image: Image | None) -> list[Json]:
    return (image.config.get("history") or []) if image else []


def _continues(target: Image, parent: Image | None) -> bool:
    """Whether the target's history and layers are the parent's, and more."""
    own, others = _history(target), _history(parent)
    diff_ids = target.config["rootfs"].get("diff_ids") or []
    below = (parent.config["rootfs"].get("diff_ids") or []) if parent else []
    layers = sum(not one.get("empty_layer") for one in own)
    return (
        len(own) > len(others)
        and own[: len(others)] == others
        and diff_ids[: len(below)] == below
        and layers <= len(diff_ids)
    )

"""`docker commit`: a container's changes become a layer, its configuration an image's."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compatd.engine import metrics, timestamps
from compatd.engine.containers import stop
from compatd.engine.containers.merge import CONFIG_DEFAULTS, merge_config
from compatd.engine.containers.model import Container
from compatd.engine.errors import Conflict, EngineError, NotFound
from compatd.engine.images import changes as dockerfile
from compatd.engine.images.child import document
from compatd.engine.images.reference import Reference
from compatd.engine.metrics import timed

if TYPE_CHECKING:
    from compatd.engine.containers.service import Containers

Json = dict[str, Any]

_EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The diff ID of a tar of nothing: two zero blocks."""

_OMITTED = (
    "ExposedPorts",
    "Healthcheck",
    "ArgsEscaped",
    "NetworkDisabled",
    "MacAddress",
    "StopSignal",
    "StopTimeout",
    "Shell",
)
"""Fields that Go leaves out when they are not set."""


@timed(metrics.container_actions, "commit")
async def commit(
    containers: "Containers",
    reference: str,
    body: Json,
    *,
    target: Reference | None,
    comment: str = "",
    author: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> str:
    """Make an image of the container, and let `target` mean it; gives its ID.

    `body` is a container.Config: what it says wins over the container's own; `changes` are Dockerfile
    instructions on top of both. With `pause` a running container stands still meanwhile.
    Raises NotFound, Conflict, InvalidParameter, EngineError.
    """
    container = containers.find(reference)
    if container.state.dead:
        raise Conflict(f"You cannot commit container {container.id} which is Dead")
    if container.state.removing:
        raise Conflict(f"You cannot commit container {container.id} which is being removed")
    parent = containers.images.get(container.image_id) if container.image_id else None
    if container.image_id and parent is None:
        raise NotFound(f"No such image: {container.image_id}")
    config = new_config(container.config, body, changes)
    paused = pause and container.state.running and await _pause(containers, container)
    try:
        image = await _make(containers, container, parent, config, comment, author)
        images = containers.images
        images.emit(image, "create", image.id)
        if target:
            images.tag(image, target)
        attributes = {
            "comment": comment,
            "imageID": image.id,
            "imageRef": target.tagged().familiar if target else "",
        }
        containers.emit(container, "commit", attributes)
    finally:
        if paused:
            await _unpause(containers, container)
    return str(image.id)


async def _pause(containers: "Containers", container: Container) -> bool:
    try:
        await stop.pause(containers, container)
    except EngineError:
        return False  # it has just ended, or is paused already: as good
    return True


async def _unpause(containers: "Containers", container: Container) -> None:
    try:
        await stop.unpause(containers, container)
    except EngineError:
        pass  # it was killed, or somebody else did it


async def _make(
    containers: "Containers", container: Container, parent: Any, config: Json, comment: str, author: str
) -> Any:
    images = containers.images
    index = images.index
    with index.pinned() as pins:
        for chain_id in container.chain_ids:
            pins.add(chain_id)
        layer = await images.layers.from_worker(
            *containers.storage.layer_work(container.id),
            pins,
            parent=container.chain_ids[-1] if container.chain_ids else "",
        )
        raw = image_config(
            parent.config if parent else {},
            container,
            config,
            diff_id=layer.diff_id,
            comment=comment,
            author=author,
            created=time.time_ns(),
        )
        return index.create(raw, container.image_id)


def new_config(own: Json, body: Json, changes: Sequence[str]) -> Json:
    """The image's Config, keys in Docker's order. Raises InvalidParameter for changes that are none."""
    given = {key: value for key, value in body.items() if value is not None}
    if not given:
        config = dict(own)
        return tidy(dockerfile.apply(config, list(changes)))
    # Changes are made to what was given, and only then it is completed from the container
    config = dockerfile.apply({**CONFIG_DEFAULTS, "OnBuild": None, **given}, list(changes))
    words = (config["Entrypoint"], config["Cmd"])
    merge_config(config, own)
    if words[0] == [""]:
        config["Entrypoint"] = words[0]
    return tidy(dockerfile.ordered(config))


def tidy(config: Json) -> Json:
    """A Config as Go's JSON has it: absent where nothing is set."""
    result = {
        key: value
        for key, value in config.items()
        if key not in _OMITTED or value not in (None, "", {}, [], False)
    }
    result.setdefault("OnBuild", None)
    if not result.get("Volumes"):
        result["Volumes"] = None
    if result.get("ExposedPorts"):
        result["ExposedPorts"] = dict(sorted(result["ExposedPorts"].items()))
    result["Labels"] = dict(sorted((result.get("Labels") or {}).items()))
    return dockerfile.ordered(result)


def image_config(
    parent: Json,
    container: Container,
    config: Json,
    *,
    diff_id: str,
    comment: str,
    author: str,
    created: int,
) -> bytes:
    """The config JSON of the new image, as the engine writes it; `created` in ns."""
    entry: Json = {"created": timestamps.rfc3339(created)}
    if author:
        entry["author"] = author
    created_by = " ".join(container.config.get("Cmd") or [])
    if created_by:
        entry["created_by"] = created_by
    if comment:
        entry["comment"] = comment
    return document(
        parent,
        entry,
        config,
        author=author,
        container=container.id,
        container_config=tidy(container.config),
        diff_id=None if diff_id == _EMPTY else diff_id,
        architecture=container.platform.get("architecture") or "",
    )

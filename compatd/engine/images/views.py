"""What the API shows of images, in its newest shape (1.56; older versions are made from it by apispec)."""

from collections.abc import Iterable
from typing import Any

from compatd.engine import timestamps
from compatd.engine.errors import EngineError
from compatd.engine.images.index import Index
from compatd.engine.images.model import Image

Json = dict[str, Any]

_CONFIG_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
    "ArgsEscaped", "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip


def inspect(index: Index, image: Image) -> Json:
    """`GET /images/{name}/json`: image.InspectResponse of an engine with a graph driver."""
    config = image.config
    inner = config.get("config") or {}
    history = config.get("history") or []
    found: Json = {
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
    }
    _add(found, "Comment", config.get("comment") or (history[-1].get("comment") if history else ""))
    _add(found, "Created", config.get("created"))
    _add(found, "Author", config.get("author"))
    found["Config"] = {name: inner[name] for name in _CONFIG_FIELDS if inner.get(name)}
    found["Architecture"] = config.get("architecture") or ""
    _add(found, "Variant", config.get("variant"))
    found["Os"] = config.get("os") or "linux"
    _add(found, "OsVersion", config.get("os.version"))
    found["Size"] = image.size
    found["GraphDriver"] = {
        "Name": index.overlay.name,
        "Data": index.overlay.image_graph_data(image.chain_ids),
    }
    found["RootFS"] = {"Type": config["rootfs"].get("type") or "layers"}
    _add(found["RootFS"], "Layers", config["rootfs"].get("diff_ids"))
    found["Metadata"] = {
        "LastTagTime": timestamps.rfc3339(image.last_tagged) if image.last_tagged else timestamps.ZERO
    }
    _add(found, "Parent", image.parent)
    _add(found, "DockerVersion", config.get("docker_version"))
    # Clients before 1.45 are shown these; apispec takes them out for all others
    found["Container"] = config.get("container") or ""
    found["ContainerConfig"] = config.get("container_config")
    return found


def _add(document: Json, name: str, value: Any) -> None:
    """Put what is not empty, as Go's omitempty does."""
    if value:
        document[name] = value


def summary(image: Image, containers: int) -> Json:
    """One line of `GET /images/json`."""
    return {
        "Containers": containers,
        "Created": image.created // 1_000_000_000,
        "Id": image.id,
        "Labels": image.labels,
        "ParentId": image.parent,
        "RepoDigests": image.repo_digests,
        "RepoTags": image.repo_tags,
        "SharedSize": -1,
        "Size": image.size,
    }


def shared_size(index: Index, image: Image, counts: dict[str, int]) -> int:
    """Bytes of the layers that other images have, too; `counts` says how many images have each."""
    return sum(index.layers[chain].size for chain in image.chain_ids if counts[chain] > 1)


def history(index: Index, image: Image) -> list[Json]:
    """`GET /images/{name}/history`, newest first. Raises EngineError for a config that contradicts itself."""
    rows: list[Json] = []
    position = 0
    for item in image.config.get("history") or []:
        size = 0
        if not item.get("empty_layer"):
            if position >= len(image.chain_ids):
                raise EngineError("too many non-empty layers in History section")
            size = index.layers[image.chain_ids[position]].size
            position += 1
        rows.append(
            {
                "Comment": item.get("comment") or "",
                "Created": _seconds(item.get("created")),
                "CreatedBy": item.get("created_by") or "",
                "Id": "<missing>",
                "Size": size,
                "Tags": None,
            }
        )
    rows.reverse()
    owner: Image | None = image
    for row in rows:
        if owner is None:
            break
        row["Id"] = owner.id
        row["Tags"] = owner.repo_tags or None
        owner = index.images.get(owner.parent)
    return rows


def _seconds(text: Any) -> int:
    try:
        return timestamps.from_rfc3339(str(text)) // 1_000_000_000
    except ValueError:
        return 0


def layer_counts(images: Iterable[Image]) -> dict[str, int]:
    """How many of the images have each layer."""
    counts: dict[str, int] = {}
    for image in images:
        for chain in image.chain_ids:
            counts[chain] = counts.get(chain, 0) + 1
    return counts

"""How much disk space images, containers, volumes and the build cache take (API: SystemDataUsage)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compatd.engine.containers import Containers
from compatd.engine.errors import InvalidParameter
from compatd.engine.foldersize import folder_size
from compatd.engine.images import Images
from compatd.engine.volumes import Volumes

if TYPE_CHECKING:
    from compatd.engine.builder.service import Builder

Json = dict[str, Any]

KINDS = ("image", "container", "volume", "build-cache")
_UNKNOWN = -1
"""The size of a volume whose folder is not there; then it counts neither as used nor as idle."""
_ACTIVE = ("running", "paused", "restarting")


class Usage:
    """Counts on demand; who asks while a count is under way gets its result."""

    def __init__(self, images: Images, containers: Containers, volumes: Volumes, builder: "Builder") -> None:
        self._images, self._containers, self._volumes = images, containers, volumes
        self._builder = builder
        self._counting: dict[str, asyncio.Task[Json]] = {}

    async def disk_usage(self, kinds: Collection[str] = ()) -> Json:
        """The answer in both its shapes (API: DiskUsage), with `kinds` (of KINDS; none: all) only.

        Raises InvalidParameter for an unknown kind.
        """
        for kind in kinds:
            if kind not in KINDS:
                raise InvalidParameter(f"unknown object type: {kind}")
        counts: dict[str, Callable[[], Awaitable[Json]]] = {
            "image": self._count_images,
            "container": self._count_containers,
            "volume": self._count_volumes,
        }
        wanted = [kind for kind in counts if not kinds or kind in kinds]
        found = await asyncio.gather(*(self._shared(kind, counts[kind]) for kind in wanted))
        answer: Json = {}
        for part in found:
            answer.update(part)
        if not kinds or "build-cache" in kinds:
            answer |= self._count_build_cache()
        return answer

    def _count_build_cache(self) -> Json:
        records = self._builder.disk_usage()
        active = sum(record["InUse"] for record in records)
        unused = sum(record["Size"] for record in records if not record["InUse"] and not record["Shared"])
        total = sum(record["Size"] for record in records)
        return {"BuildCacheUsage": _usage(active, records, total, unused), "BuildCache": records}

    async def _shared(self, kind: str, count: Callable[[], Awaitable[Json]]) -> Json:
        task = self._counting.get(kind)
        if task is None:
            task = self._counting[kind] = asyncio.ensure_future(count())
            task.add_done_callback(lambda _: self._counting.pop(kind))
        return await asyncio.shield(task)

    async def _count_images(self) -> Json:
        images = self._images.list({}, shared_size=True)
        index, cached = self._images.index, set(self._builder.cache.held())
        cached.difference_update(*(image.chain_ids for image in index.images.values()))
        total = sum(layer.size for chain_id, layer in index.layers.items() if chain_id not in cached)
        unused = sum(image["Size"] - image["SharedSize"] for image in images if not image["Containers"])
        active = sum(1 for image in images if image["Containers"])
        answer: Json = {"ImageUsage": _usage(active, images, total, unused), "Images": images}
        return {"LayersSize": total, **answer} if total else answer

    async def _count_containers(self) -> Json:
        containers = await self._containers.list(all=True, size=True)
        for container in containers:
            container.pop("ImageManifestDescriptor", None)
        idle = [container for container in containers if container["State"] not in _ACTIVE]
        usage = _usage(len(containers) - len(idle), containers, _sum(containers), _sum(idle))
        return {"ContainerUsage": usage, "Containers": containers}

    async def _count_volumes(self) -> Json:
        """Volumes with options are somebody else's folders: they are not counted."""
        found = [volume for volume in self._volumes.find_all() if not volume["Options"]]
        sizes = await asyncio.to_thread(lambda: [_size(volume["Mountpoint"]) for volume in found])
        volumes = [
            {**volume, "UsageData": {"RefCount": len(self._volumes.users(volume["Name"])), "Size": size}}
            for volume, size in zip(found, sizes, strict=True)
        ]
        known = [volume["UsageData"] for volume in volumes if volume["UsageData"]["Size"] != _UNKNOWN]
        idle = [data for data in known if not data["RefCount"]]
        unused = sum(data["Size"] for data in idle)
        usage = _usage(len(volumes) - len(idle), volumes, sum(data["Size"] for data in known), unused)
        return {"VolumeUsage": usage, "Volumes": volumes}


def _size(folder: str) -> int:
    return folder_size(folder) if Path(folder).is_dir() else _UNKNOWN


def _sum(containers: list[Json]) -> int:
    return sum(container["SizeRw"] for container in containers)


def _usage(active: int, items: list[Json], total: int, reclaimable: int) -> Json:
    """The newer shape of one kind; what is zero or empty is left out."""
    found = {
        "ActiveCount": active,
        "Items": items,
        "Reclaimable": reclaimable,
        "TotalCount": len(items),
        "TotalSize": total,
    }
    return {name: value for name, value in found.items() if value}

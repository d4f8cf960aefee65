"""How much space things take, in both shapes."""

import asyncio
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compatd.engine.errors import InvalidParameter
from compatd.engine.foldersize import folder_size
from compatd.engine.usage import Usage

Json = dict[str, Any]


class Images:
    def __init__(self) -> None:
        layers = {name: SimpleNamespace(size=size) for name, size in (("a", 100), ("b", 20), ("c", 7))}
        images = {"1": SimpleNamespace(chain_ids=["a"])}  # `b` is below a container, `c` only in the cache
        self.index = SimpleNamespace(layers=layers, images=images)

    def list(self, filters: Json, *, shared_size: bool) -> list[Json]:
        assert shared_size
        return [
            {"Id": "1", "Containers": 2, "Size": 100, "SharedSize": 100},
            {"Id": "2", "Containers": 0, "Size": 120, "SharedSize": 100},
        ]


class Containers:
    counts = 0

    async def list(self, *, all: bool, size: bool) -> list[Json]:
        assert all
        assert size
        Containers.counts += 1
        await asyncio.sleep(0)
        return [
            {"Id": "1", "State": "running", "SizeRw": 5, "ImageManifestDescriptor": {}},
            {"Id": "2", "State": "exited", "SizeRw": 7},
        ]


class Builder:
    cache = SimpleNamespace(held=lambda: ["a", "c"])

    def disk_usage(self) -> list[Json]:
        return [
            {"ID": "1", "InUse": True, "Shared": False, "Size": 5},
            {"ID": "2", "InUse": False, "Shared": True, "Size": 10},
            {"ID": "3", "InUse": False, "Shared": False, "Size": 20},
        ]


class Volumes:
    def __init__(self, root: Path) -> None:
        self.root = root

    def find_all(self) -> list[Json]:
        return [
            {"Name": name, "Mountpoint": str(self.root / name), "Options": options}
            for name, options in (("used", None), ("idle", None), ("nfs", {"type": "nfs"}))
        ]

    def users(self, name: str) -> set[str]:
        return {"c"} if name == "used" else set()


def usage(root: Path) -> Usage:
    for name, size in (("used", 30), ("idle", 12)):
        (root / name).mkdir(exist_ok=True)
        (root / name / "file").write_bytes(b"x" * size)
    neighbours: Any = (Images(), Containers(), Volumes(root), Builder())
    return Usage(*neighbours)


def test_all(tmp_path: Path) -> None:
    found = asyncio.run(usage(tmp_path).disk_usage())
    assert found["LayersSize"] == 120
    image, container, volume = found["ImageUsage"], found["ContainerUsage"], found["VolumeUsage"]
    assert (image["ActiveCount"], image["TotalCount"], image["TotalSize"], image["Reclaimable"]) == (1, 2, 120, 20)  # fmt: skip # noqa: E501
    assert container == {
        "ActiveCount": 1,
        "TotalCount": 2,
        "TotalSize": 12,
        "Reclaimable": 7,
        "Items": [{"Id": "1", "State": "running", "SizeRw": 5}, {"Id": "2", "State": "exited", "SizeRw": 7}],
    }
    assert [one["UsageData"] for one in found["Volumes"]] == [
        {"RefCount": 1, "Size": 30},
        {"RefCount": 0, "Size": 12},
    ]
    assert (volume["ActiveCount"], volume["TotalSize"], volume["Reclaimable"]) == (1, 42, 12)
    cache = found["BuildCacheUsage"]
    assert cache["Items"] == found["BuildCache"] and len(found["BuildCache"]) == 3
    assert [cache[key] for key in ("ActiveCount", "TotalCount", "TotalSize", "Reclaimable")] == [1, 3, 35, 20]


def test_some_kinds(tmp_path: Path) -> None:
    found = asyncio.run(usage(tmp_path).disk_usage(["volume", "build-cache"]))
    assert set(found) == {"VolumeUsage", "Volumes", "BuildCacheUsage", "BuildCache"}
    with pytest.raises(InvalidParameter, match="unknown object type: bogus"):
        asyncio.run(usage(tmp_path).disk_usage(["image", "bogus"]))


def test_who_asks_meanwhile_gets_the_same(tmp_path: Path) -> None:
    async def both() -> None:
        counter = usage(tmp_path)
        Containers.counts = 0
        await asyncio.gather(counter.disk_usage(["container"]), counter.disk_usage(["container"]))
        assert Containers.counts == 1
        await counter.disk_usage(["container"])
        assert Containers.counts == 2

    asyncio.run(both())


def test_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_bytes(b"x" * 10)
    os_link = tmp_path / "hard"
    os_link.hardlink_to(tmp_path / "sub/file")
    (tmp_path / "to-file").symlink_to("sub/file")
    (tmp_path / "to-folder").symlink_to("sub")
    assert folder_size(str(tmp_path)) == 10 + len("sub/file") + len("sub")
    assert folder_size(str(tmp_path / "missing")) == 0


def test_size_of_a_deep_folder(tmp_path: Path) -> None:
    """Deeper than a path can be long (4,096 bytes)."""
    name, here = "a" * 200, os.open(tmp_path, os.O_RDONLY)
    for _ in range(50):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.symlink("x" * 100, "link", dir_fd=here)
    os.close(here)
    try:
        assert folder_size(str(tmp_path)) == 100
    finally:
        shutil.rmtree(tmp_path / name)

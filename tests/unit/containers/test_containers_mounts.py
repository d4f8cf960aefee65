"""What becomes of mount points in the spec: read-only trees, images, paths in volumes."""

from pathlib import Path
from typing import Any

import pytest

from apispec import Version
from compatd.api.create_compat import adapt
from compatd.engine.containers import mountspec
from compatd.engine.containers.runtimes import find_runtime, why_not_recursive
from compatd.engine.containers.spec.mounts import _bound
from compatd.engine.errors import EngineError, InvalidParameter, NotFound

Json = dict[str, Any]


class Around:
    """The part of the surroundings that mounts need."""

    def __init__(self, why: str = "") -> None:
        self.recursive_readonly = why

    @staticmethod
    def layers_of(chain_ids: list[str]) -> list[str]:
        return [f"/l/{chain}" for chain in reversed(chain_ids)]


def bound(point: Json, why: str = "") -> Json:
    return _bound(point, Around(why))  # type: ignore[arg-type]


def bind(**options: bool) -> Json:
    mount = {"Type": "bind", "Source": "/s", "Target": "/m", "BindOptions": options, "ReadOnly": True}
    return mountspec.mount_point(mount)


def test_read_only_is_for_the_tree_where_the_runtime_can() -> None:
    assert bound(bind())["options"] == ["rbind", "rro", "rprivate"]
    assert bound(bind(), "no")["options"] == ["rbind", "ro", "rprivate"]
    assert bound(bind(ReadOnlyNonRecursive=True))["options"] == ["rbind", "ro", "rprivate"]
    assert bound(bind(NonRecursive=True))["options"] == ["bind", "rro", "rprivate"]
    with pytest.raises(EngineError, match="no way"):
        bound(bind(ReadOnlyForceRecursive=True), "no way")


def test_an_image_is_mounted_from_its_layers() -> None:
    point = mountspec.mount_point({"Type": "image", "Source": "i", "Target": "/m"})
    point |= {"ImageId": "sha256:1", "ChainIds": ["base", "top"], "RW": False}
    assert bound(point) == {
        "destination": "/m",
        "type": "image",
        "source": "sha256:1",
        "options": ["rbind", "rro", "rprivate"],
        "lower": ["/l/top", "/l/base"],
        "subpath": "",
    }


def test_a_path_in_a_volume(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "in").symlink_to("a")
    (tmp_path / "out").symlink_to("/")
    root = str(tmp_path.resolve())

    def mounted(path: str) -> Json:
        options = {"Subpath": path}
        point = mountspec.mount_point(
            {"Type": "volume", "Source": "v", "Target": "/m", "VolumeOptions": options}
        )
        return bound({**point, "Source": str(tmp_path)})

    assert mounted("in/b")["source"] == f"{root}/a/b"
    assert f"x-compat.within={root}" in mounted("in/b")["options"]
    with pytest.raises(InvalidParameter, match="path concatenation escapes the base directory"):
        mounted("out")
    with pytest.raises(NotFound, match="cannot access path"):
        mounted("nope")


def test_runtimes_are_asked_for_their_features(tmp_path: Path) -> None:
    assert why_not_recursive("compatd", None) == ""
    for name, script, why in (
        ("new", 'echo \'{"mountOptions": ["ro", "rro"]}\'', ""),
        ("old", 'echo \'{"mountOptions": ["ro"]}\'', 'rro is not supported by runtime "old"'),
        (
            "none",
            "exit 1",
            'rro is not supported by runtime "none": OCI features struct is not available',
        ),
    ):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        assert why_not_recursive(name, {"path": str(path), "args": []}) == why


def test_runtimes_by_name_and_type() -> None:
    configured: dict[str, Json] = {
        "path": {"path": "/bin/sh", "runtimeArgs": ["--x"]},
        "type": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/bin/sh"}},
        "alien": {"runtimeType": "io.containerd.alien.v1", "options": {"BinaryName": "/bin/sh"}},
    }
    assert find_runtime("path", configured) == {"path": "/bin/sh", "args": ["--x"]}
    assert find_runtime("type", configured) == {"path": "/bin/sh", "args": []}
    assert find_runtime("compatd", configured) is None
    for name in ("alien", "nobody"):
        with pytest.raises(InvalidParameter) as error:
            find_runtime(name, configured)
        assert error.value.message == f"unknown or invalid runtime name: {name}"


def test_the_containers_volume_driver_is_not_that_of_mounts() -> None:
    def told(asked: str, **mount: Any) -> list[str]:
        body = {"Image": "i", "HostConfig": {"VolumeDriver": "local", "Mounts": [{"Target": "/m", **mount}]}}
        return adapt(body, Version(asked))

    (warning,) = told("1.48", Type="volume")
    assert warning.startswith("WARNING: the container-wide volume-driver configuration is ignored")
    assert told("1.47", Type="volume") == []
    assert told("1.48", Type="tmpfs") == []
    assert told("1.48", Type="volume", VolumeOptions={"DriverConfig": {"Name": "local"}}) == []

# ruff: noqa: PTH115, PTH211
"""A new volume gets what the image has at its mount point."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runtime.storage.overlay import Overlay
from tests.integration.test_storage_untar import rich_tree, snapshot
from tests.unit.images.imagekit import ProcessWorker

pytestmark = pytest.mark.root

LOWER, UPPER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    overlay = Overlay(tmp_path / "storage")
    overlay.open()
    for chain in (LOWER, UPPER):
        overlay.commit_layer(overlay.prepare_layer(), chain)
    return overlay


def diff(overlay: Overlay, chain: str) -> Path:
    return overlay.layer_path(chain) / "diff"


def copy(overlay: Overlay, path: str, target: Path) -> dict[str, Any]:
    plan = overlay.root_plan("container", [LOWER, UPPER])
    mount = overlay.tmp / "mount"
    mount.mkdir(exist_ok=True)
    target.mkdir(exist_ok=True)
    fd = os.open(target, os.O_RDONLY)
    try:
        answer: dict[str, Any] = asyncio.run(
            ProcessWorker().worker(
                "runtime.storage.copyup:run",
                {"overlay": plan["overlay"], "path": path, "mount": str(mount), "target_fd": 0},
                [fd],
            )
        )
    finally:
        os.close(fd)
    mount.rmdir()  # nothing is left mounted here
    return answer


def test_everything_is_copied_as_it_is(overlay: Overlay, tmp_path: Path) -> None:
    source = diff(overlay, LOWER) / "data"
    source.mkdir()
    rich_tree(source)
    source.chmod(0o1770)
    os.chown(source, 7, 8)
    answer = copy(overlay, "/data", tmp_path / "volume")
    assert answer["copied"] is True
    wanted, found = snapshot(source), snapshot(tmp_path / "volume")
    assert found == wanted
    info = (tmp_path / "volume").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o1770, 7, 8)


def test_it_is_the_merged_view(overlay: Overlay, tmp_path: Path) -> None:
    for chain in (LOWER, UPPER):
        (diff(overlay, chain) / "data").mkdir()
    (diff(overlay, LOWER) / "data/low").write_text("1")
    (diff(overlay, LOWER) / "data/gone").write_text("1")
    os.mknod(diff(overlay, UPPER) / "data/gone", stat.S_IFCHR, 0)
    (diff(overlay, UPPER) / "data/up").write_text("2")
    assert copy(overlay, "data/", tmp_path / "volume")["entries"] == 2
    assert sorted(path.name for path in (tmp_path / "volume").iterdir()) == ["low", "up"]


def test_links_lead_around_inside_the_image_only(overlay: Overlay, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("s")
    root = diff(overlay, LOWER)
    (root / "real").mkdir()
    (root / "real/file").write_text("1")
    os.symlink("/real", root / "link")
    os.symlink("../" * 20 + str(tmp_path / "secret").lstrip("/"), root / "out")
    assert copy(overlay, "/link", tmp_path / "one")["copied"] is True
    assert (tmp_path / "one/file").read_text() == "1"
    assert copy(overlay, "/out", tmp_path / "two")["copied"] is False
    assert list((tmp_path / "two").iterdir()) == []


def test_a_volume_with_content_stays_as_it_is(overlay: Overlay, tmp_path: Path) -> None:
    (diff(overlay, LOWER) / "data").mkdir()
    (diff(overlay, LOWER) / "data/file").write_text("1")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/mine").write_text("m")
    assert copy(overlay, "/data", tmp_path / "volume") == {"copied": False}
    assert copy(overlay, "/nowhere", tmp_path / "empty") == {"copied": False, "folder": False}


def test_a_file_is_no_folder(overlay: Overlay, tmp_path: Path) -> None:
    (diff(overlay, LOWER) / "file").write_text("1")
    assert copy(overlay, "/file", tmp_path / "volume") == {"copied": False, "folder": False, "file": True}


def test_the_init_layer_keeps_the_images_folders_and_hides_its_files(overlay: Overlay) -> None:
    etc = diff(overlay, LOWER) / "etc"
    etc.mkdir()
    etc.chmod(0o750)
    os.chown(etc, 3, 4)
    (etc / "hosts").write_text("image's")
    os.symlink("/tmp", diff(overlay, UPPER) / "proc")
    lower = overlay.lower([LOWER, UPPER])
    init = lower[0].resolve()
    assert [path.resolve() for path in lower[1:]] == [diff(overlay, UPPER), diff(overlay, LOWER)]
    info = (init / "etc").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o750, 3, 4)
    assert (init / "etc/hosts").read_bytes() == b""
    assert os.readlink(init / "etc/mtab") == "/proc/mounts"
    for folder in ("dev/pts", "dev/shm", "proc", "sys"):
        assert (init / folder).is_dir()
    for file in (".dockerenv", "dev/console", "etc/hostname", "etc/resolv.conf"):
        assert (init / file).is_file()


def test_128_layers_can_be_mounted(overlay: Overlay, tmp_path: Path) -> None:
    chains = [f"sha256:{number:03x}{'0' * 61}" for number in range(128)]
    for chain in chains:
        prepared = overlay.prepare_layer()
        (prepared / "diff" / "data").mkdir()
        (prepared / "diff" / "data" / chain[7:10]).write_text(chain)
        overlay.commit_layer(prepared, chain)
    plan = overlay.root_plan("container", chains)
    mount = tmp_path / "mount"
    volume = tmp_path / "volume"
    mount.mkdir()
    volume.mkdir()
    fd = os.open(volume, os.O_RDONLY)
    try:
        arguments = {"overlay": plan["overlay"], "path": "/data", "mount": str(mount)}
        answer = asyncio.run(ProcessWorker().worker("runtime.storage.copyup:run", arguments, [fd]))
    finally:
        os.close(fd)
    assert answer == {"copied": True, "entries": 128}

"""Trees of the vfs driver: merging, and what has changed since, without root."""

import os
import shutil
from pathlib import Path

import pytest

from runtime.storage import flat
from runtime.storage.base import BASE
from runtime.storage.drivers import DRIVERS, open_storage
from runtime.storage.overlay import Overlay
from runtime.storage.vfs import Vfs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A merged tree of two layers in tmp_path/"rw"/"diff", with its base beside it."""
    lower, upper, target = tmp_path / "lower", tmp_path / "upper", tmp_path / "rw/diff"
    for folder in (lower / "d", upper / "d", target):
        folder.mkdir(parents=True)
    (lower / "d/below").write_text("below")
    (lower / "d/both").write_text("old")
    (upper / "d/both").write_text("new!")
    os.link(upper / "d/both", upper / "d/hard")
    (upper / "link").symlink_to("d/both")
    arguments = {
        "lower": [str(upper), str(lower)], "target": str(target), "base": str(tmp_path / "rw" / BASE),
    }  # fmt: skip
    assert flat.fill(arguments, []) == {}
    return target


def changes(tree: Path) -> list[tuple[str, int]]:
    arguments = {"flat": str(tree), "base": str(tree.parent / BASE)}
    return [(path, kind) for path, kind in flat.diff(arguments, [])["changes"]]


def test_upper_layers_win_and_hard_links_stay(tree: Path) -> None:
    assert (tree / "d/below").read_text() == "below"
    assert (tree / "d/both").read_text() == "new!"
    assert (tree / "d/both").stat().st_ino == (tree / "d/hard").stat().st_ino
    assert (tree / "link").readlink() == Path("d/both")
    assert changes(tree) == []


def test_changes_are_found(tree: Path) -> None:
    (tree / "d/below").unlink()
    (tree / "d/more").mkdir()
    (tree / "d/more/file").write_text("12345")
    (tree / "d/hard").write_text("changed")
    os.utime(tree / "link", ns=(5, 5), follow_symlinks=False)
    assert changes(tree) == [
        ("/d", 0), ("/d/below", 2), ("/d/both", 0), ("/d/hard", 0), ("/d/more", 1), ("/d/more/file", 1),
        ("/link", 0),
    ]  # fmt: skip
    arguments = {"flat": str(tree), "base": str(tree.parent / BASE)}
    assert flat.size(arguments, [])["size"] == len("changed") + 5 + len("d/both")


def test_a_folder_that_became_a_file(tree: Path) -> None:
    for name in ("below", "both", "hard"):
        (tree / "d" / name).unlink()
    (tree / "d").rmdir()
    (tree / "d").write_text("file")
    assert changes(tree) == [("/d", 0)]


def in_a_layer(tree: Path) -> list[tuple[bytes, int]]:
    """What has changed, as a layer says it."""
    base = tree.parent / BASE
    folder = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return flat.compare(folder, flat.read_base(str(base)), b"", base.stat().st_mtime_ns)
    finally:
        os.close(folder)


def test_a_folder_in_the_place_of_another_is_opaque(tree: Path, tmp_path: Path) -> None:
    """As in an overlay; but one that only lost and got something is not."""
    clock = tmp_path / "clock"
    clock.touch()
    while clock.stat().st_mtime_ns <= (tree.parent / BASE).stat().st_mtime_ns:
        clock.touch()  # clocks of file systems are coarse
    (tree / "d/below").unlink()
    (tree / "d/more").mkdir()
    assert in_a_layer(tree) == [(b"/d", 0), (b"/d/below", 2), (b"/d/more", 1)]
    shutil.rmtree(tree / "d")
    (tree / "d").mkdir()
    (tree / "d/new").mkdir()
    (tree / "link").unlink()
    (tree / "link").mkdir()
    opaque = flat.OPAQUE
    assert in_a_layer(tree) == [
        (b"/d", 0), (b"/d", opaque), (b"/d/new", 1), (b"/link", 0), (b"/link", opaque),
    ]  # fmt: skip
    assert changes(tree) == [
        ("/d", 0), ("/d/below", 2), ("/d/both", 2), ("/d/hard", 2), ("/d/new", 1), ("/link", 0),
    ]  # fmt: skip


def test_names_of_any_bytes(tmp_path: Path) -> None:
    target = tmp_path / "rw/diff"
    target.mkdir(parents=True)
    odd = os.fsdecode(b"a b\n\xff")
    (target / odd).write_text("x")
    base = tmp_path / "rw" / BASE
    flat.fill({"lower": [], "target": str(target), "base": str(base)}, [])
    assert changes(target) == []
    (target / odd).unlink()
    assert changes(target) == [("/" + odd, 2)]


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
        file.truncate(3 << 20)
    one, other = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
    flat._copy_sparse(one, other, 3 << 20)
    os.close(one)
    os.close(other)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks <= source.stat().st_blocks


def test_drivers_by_name(tmp_path: Path) -> None:
    assert isinstance(open_storage("vfs", tmp_path), Vfs)
    assert isinstance(open_storage("overlay2", tmp_path), Overlay)
    assert {driver.name for driver in DRIVERS.values()} == {"overlay2", "vfs"}


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_each_container_keeps_its_form(tmp_path: Path, driver: str) -> None:
    storage = open_storage(driver, tmp_path / "root")
    storage.open()
    storage.create_rw("c")
    for other in (open_storage("overlay2", tmp_path / "root"), open_storage("vfs", tmp_path / "root")):
        plan = other.root_plan("c", [])["overlay"]
        assert ("flat" in plan) is (driver == "vfs")
        assert ("upper" in plan) is (driver == "overlay2")
        assert other.layer_work("c")[0] == f"runtime.storage.{'flat' if driver == 'vfs' else 'changes'}:layer"
        assert (other.graph_data("c", []) is None) is (driver == "vfs")
    with pytest.raises(FileExistsError):
        storage.create_rw("c")
    storage.remove_rw("c")
    storage.settle()
    assert list(storage.rw.iterdir()) == []

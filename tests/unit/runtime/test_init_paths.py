"""Targets are made and found inside the root, whatever links lie there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.init import lookup, paths
from runtime.init.errors import StepError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_PATH)
    yield fd
    os.close(fd)


def real(fd: int) -> str:
    path = str(Path(f"/proc/self/fd/{fd}").readlink())
    os.close(fd)
    return path


def test_folders_and_files_are_made(tree: Path, root: int) -> None:
    assert real(paths.ensure(root, "/a/b/c", folder=True)) == str(tree / "a/b/c")
    assert real(paths.ensure(root, "/a/file", folder=False)) == str(tree / "a/file")
    assert (tree / "a/b/c").is_dir()
    assert (tree / "a/file").read_bytes() == b""
    assert stat.S_IMODE((tree / "a/b").stat().st_mode) & 0o700 == 0o700


def test_what_is_there_is_taken(tree: Path, root: int) -> None:
    (tree / "x").write_text("kept")
    assert real(paths.ensure(root, "x", folder=False)) == str(tree / "x")
    assert (tree / "x").read_text() == "kept"


@pytest.mark.parametrize("path", ["/..", "../../x", "/a/../../../x", "link/x", "abs/x", "deep/link2/y"])
def test_cve_2021_30465_nothing_is_made_outside(tree: Path, root: int, path: str) -> None:
    (tree / "link").symlink_to("../outside")
    (tree / "abs").symlink_to(str(tree.parent / "outside"))
    (tree / "deep").mkdir()
    (tree / "deep/link2").symlink_to("../../outside")
    try:
        fd = paths.ensure(root, path, folder=True)
    except OSError:
        pass
    else:
        assert (real(fd) + "/").startswith(f"{tree}/")
    assert list((tree.parent / "outside").iterdir()) == []
    assert sorted(entry.name for entry in tree.parent.iterdir()) == ["outside", "root"]


def test_a_link_to_nothing_is_made_true(tree: Path, root: int) -> None:
    (tree / "var").mkdir()
    (tree / "var/run").symlink_to("/run/now")
    assert real(paths.ensure(root, "/var/run/app", folder=True)) == str(tree / "run/now/app")


def test_links_in_a_ring(tree: Path, root: int) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        paths.ensure(root, "a/c", folder=True)


def test_strictly_no_link(tree: Path, root: int) -> None:
    (tree / "elsewhere").mkdir()
    (tree / "dev").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        paths.ensure(root, "/dev", folder=True, follow=False)
    with pytest.raises(OSError, match="symbolic links"):
        paths.ensure(root, "/dev/shm", folder=True, follow=False)
    assert list((tree / "elsewhere").iterdir()) == []


class TestLookup:
    @pytest.fixture
    def bin(self, tmp_path: Path) -> Path:
        for name, mode in (("tool", 0o755), ("text", 0o644)):
            (tmp_path / name).write_text("")
            (tmp_path / name).chmod(mode)
        (tmp_path / "folder").mkdir()
        return tmp_path

    def text(self, name: str, path: str) -> str:
        with pytest.raises(StepError) as caught:
            lookup.find(name, path)
        return str(caught.value)

    def test_found(self, bin: Path) -> None:
        assert lookup.find("tool", f"/nowhere:{bin}") == f"{bin}/tool"
        assert lookup.find(f"{bin}/tool", "") == f"{bin}/tool"

    def test_errors_are_runcs(self, bin: Path) -> None:
        assert self.text("nope", str(bin)) == 'exec: "nope": executable file not found in $PATH'
        assert self.text("text", str(bin)) == 'exec: "text": executable file not found in $PATH'
        assert self.text("", str(bin)) == 'exec: "": executable file not found in $PATH'
        missing = f"{bin}/nope"
        assert self.text(missing, "") == f'exec: "{missing}": stat {missing}: no such file or directory'
        assert self.text(f"{bin}/text", "") == f'exec: "{bin}/text": permission denied'
        assert self.text(f"{bin}/folder", "") == f'exec: "{bin}/folder": is a directory'
        below = f"{bin}/tool/x"
        assert self.text(below, "") == f'exec: "{below}": stat {below}: not a directory'

    def test_the_last_path_of_the_environment_counts(self) -> None:
        assert lookup.search_path(["PATH=/a", "X=1", "PATH=/b"]) == "/b"
        assert lookup.search_path(["X=1"]) == ""


def test_what_is_made_is_told_as_it_was_reached(tree: Path, root: int) -> None:
    (tree / "there").mkdir()
    (tree / "link").symlink_to("/there/x/y")
    made: list[str] = []
    os.close(paths.ensure(root, "/link/z", folder=False, made=made))
    assert made == [str(tree / name) for name in ("there/x", "there/x/y", "there/x/y/z")]
    made.clear()
    os.close(paths.ensure(root, "/there/x", folder=True, made=made))
    assert made == []

"""What a path in a container means, and how its mode is told; what has changed in a folder."""

import os
import stat
from pathlib import Path

import pytest

from runtime.storage import changes
from runtime.storage.archive import absolute, base, describe, find, follow, go_mode
from runtime.storage.changes import ADDED, MODIFIED


@pytest.mark.parametrize(
    ("path", "whole", "name"),
    [
        ("/d", "/d", "d"),
        ("d", "/d", "d"),
        ("/d/", "/d/", "d"),
        ("/d/.", "/d/.", "."),
        ("//d//./e", "/d/e", "e"),
        ("/d/..", "/", "/"),
        ("/../../etc", "/etc", "etc"),
        ("/", "/", "/"),
        (".", "/.", "."),
        ("/.", "/.", "."),
    ],
)
def test_paths(path: str, whole: str, name: str) -> None:
    assert absolute(path.encode()) == whole.encode() and base(whole.encode()) == name.encode()


def test_modes_are_gos() -> None:
    assert go_mode(stat.S_IFREG | 0o4755) == 1 << 23 | 0o755
    assert go_mode(stat.S_IFDIR | 0o1777) == 1 << 31 | 1 << 20 | 0o777
    assert go_mode(stat.S_IFDIR | 0o2750) == 1 << 31 | 1 << 22 | 0o750
    assert go_mode(stat.S_IFLNK | 0o777) == 1 << 27 | 0o777
    assert go_mode(stat.S_IFCHR | 0o600) == 1 << 26 | 1 << 21 | 0o600
    assert go_mode(stat.S_IFBLK) == 1 << 26 and go_mode(stat.S_IFIFO) == 1 << 25
    assert go_mode(stat.S_IFSOCK) == 1 << 24


@pytest.fixture
def root(tmp_path: Path) -> int:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("x")
    (tmp_path / "d/up").symlink_to("../../../d/f")
    (tmp_path / "dl").symlink_to("/d")
    (tmp_path / "broken").symlink_to("/nope/../x/y")
    (tmp_path / "loop").symlink_to("loop")
    return os.open(tmp_path, os.O_RDONLY)


def test_links_are_followed_in_the_root_only(root: int) -> None:
    assert follow(root, b"/d/up") == b"/d/f" == follow(root, b"/dl/up")
    assert follow(root, b"/broken") == b"/x/y" and follow(root, b"/nope/x") == b"/nope/x"
    with pytest.raises(OSError, match="Too many levels"):
        follow(root, b"/loop")


def test_a_link_at_the_end_is_followed_with_a_slash_only(root: int) -> None:
    assert stat.S_ISLNK(find(root, b"/dl").info.st_mode)
    found = find(root, b"/dl/")
    assert found.name is None and stat.S_ISDIR(found.info.st_mode)
    assert find(root, b"/dl/f").info.st_size == 1
    with pytest.raises(NotADirectoryError):
        find(root, b"/d/f/")
    told = describe(root, b"/d/up", find(root, b"/d/up").info)
    assert (told["name"], told["linkTarget"]) == ("up", "/d/f") and told["mode"] >> 27 == 1


def test_what_differs(tmp_path: Path) -> None:
    """Without what needs root to be made: see the conformance suite for what is deleted."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for folder in (upper, lower):
        (folder / "same").mkdir(parents=True)
        (folder / "held/in").mkdir(parents=True)
        for name in ("copied", "rewritten", "held/in/file"):
            (folder / name).write_text("x")
            os.utime(folder / name, ns=(0, 5 * 10**9))
    os.utime(upper / "copied", ns=(0, 5 * 10**9 + 7))  # an archive cuts the fraction
    (upper / "rewritten").write_text("y")
    (upper / "held/in/file").chmod(0o700)
    (upper / "new/in").mkdir(parents=True)
    found = changes.compare(os.open(upper, os.O_RDONLY), os.open(lower, os.O_RDONLY), b"")
    assert found == [
        (b"/held", MODIFIED),
        (b"/held/in", MODIFIED),
        (b"/held/in/file", MODIFIED),
        (b"/new", ADDED),
        (b"/new/in", ADDED),
        (b"/rewritten", MODIFIED),
    ]
